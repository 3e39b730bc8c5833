// SQL text in an encoding whose characters' second byte may be an ASCII one: SJIS, BIG5, GBK, UHC,
// GB18030. PostgreSQL has them for clients only, and converts a text before it looks for strings in
// it, so that the backslash in the second byte of a character escapes nothing, and the like. Which
// encoding a text is in is not known where it is read: what a client sends may be behind a SET of
// its own. Where it matters (sql_lexer::encoding_matters()), the text is read in these ways as
// well.
//
// Pure. Tests: tests/protocol/double_byte_text_test.cpp.
// Source: PostgreSQL documentation, "Character Set Support"; src/common/wchar.c.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace pgweir::protocol {

/// Is this the first half of a character in any of them, and what may be the second half one that
/// is of its own in ASCII? (GB18030 has digits there as well, which end nothing.)
[[nodiscard]] constexpr bool may_be_halves(char first, char second) {
    return static_cast<unsigned char>(first) >= 0x80 && second >= 0x40 && second <= 0x7e;
}

/// The text as it would be in these encodings, with other bytes, none of them ASCII's, for their
/// characters, each where it was: for sql_lexer. None where that makes no difference, or it cannot
/// be in any of them, so that PostgreSQL would refuse it.
[[nodiscard]] std::vector<std::string> double_byte_readings(std::string_view sql);

} // namespace pgweir::protocol
