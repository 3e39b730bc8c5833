// The pre-filter of the statement scan: nearly every text can be seen to be harmless, from its
// first word and a few compares per 16 bytes, without being split into tokens.
//
// Pure. Tests: tests/protocol/statement_scan_test.cpp (it must agree with the close look).
#pragma once

#include <string_view>

namespace pgweir::protocol {

/// True only when nothing in the text can leave anything behind in the session. False says nothing.
[[nodiscard]] bool plainly_harmless(std::string_view sql);

} // namespace pgweir::protocol
