// The `options` startup parameter: command-line switches for the server process, of which a client
// of ours may use those that make settings ("-c name=value", "--name=value").
// Tests: tests/protocol/startup_options_test.cpp.
// Source: PostgreSQL documentation, "libpq Connect: options"; pg_split_opts() in postinit.c.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace pgweir::protocol {

struct parsed_options {
    std::vector<std::pair<std::string, std::string>> settings;
    /// The first switch that makes no setting; nothing when all did.
    std::optional<std::string> refused;
};

/// Splits at white space (a backslash takes the next byte literally) and reads each switch. In
/// names, `-` stands for `_`, as PostgreSQL has it for the `--` form. Linear in the input.
[[nodiscard]] parsed_options parse_startup_options(std::string_view options);

/// A name a setting can have: letters, digits, `_`, `$` and dots. (Anything else is not sent on.)
[[nodiscard]] bool valid_setting_name(std::string_view name);

} // namespace pgweir::protocol
