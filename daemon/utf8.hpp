// Names and statements come from clients in whatever encoding they like; a scrape, a JSON line and
// an HTML page must be UTF-8 all the same. One invalid byte in a label would fail the whole scrape.
//
// Pure functions. Tests: tests/daemon/ops/utf8_test.cpp.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace pgweir::daemon {

/// Length in bytes of the valid UTF-8 sequence `text` begins with (1 to 4), or 0 when it begins
/// with none (RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF).
[[nodiscard]] std::size_t utf8_sequence(std::string_view text);

/// `text` with each byte that is not part of valid UTF-8 written as `\xNN`, so that two different
/// names stay different.
[[nodiscard]] std::string to_valid_utf8(std::string_view text);

/// The longest beginning of `text` of at most `max_bytes` that does not cut a sequence.
[[nodiscard]] std::string_view utf8_prefix(std::string_view text, std::size_t max_bytes);

} // namespace pgweir::daemon
