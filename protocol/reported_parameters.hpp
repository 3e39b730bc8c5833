// What a server has reported of its settings (ParameterStatus), each name once. PostgreSQL reports
// some fifteen, an extension may add a few; what a server may have us keep is bounded.
//
// Owner: a server's login, then the server connection. Sans-io.
// Tests: tests/protocol/reported_parameters_test.cpp.
#pragma once

#include <cstddef>
#include <map>
#include <string>
#include <string_view>

namespace pgweir::protocol {

using reported_parameters = std::map<std::string, std::string>;

inline constexpr std::size_t most_parameters = 1'000;
inline constexpr std::size_t most_parameter_bytes = 1'048'576; // of names and values

/// False: it is more than that, and the server is not to be listened to any longer.
[[nodiscard]] bool note_parameter(reported_parameters& known, std::string_view name,
                                  std::string_view value);

} // namespace pgweir::protocol
