// What is wrong in a configuration file, and where. Holds no secret: whoever makes one sees to it.
#pragma once

#include <compare>
#include <cstddef>
#include <string>
#include <string_view>

namespace pgweir::config {

/// Line and column count from 1; a column is a character (code point), not a byte.
struct position {
    std::size_t line = 1;
    std::size_t column = 1;
    auto operator<=>(const position&) const = default;
};

struct problem {
    std::string file = {}; // as the configuration names it; empty: the configuration file itself
    position at;
    std::string message = {}; // a sentence
    bool operator==(const problem&) const = default;
};

/// "pgweir.yaml:3:5: unknown key 'maxcon', did you mean 'maxconn'?"
[[nodiscard]] std::string to_string(const problem& what, std::string_view configuration_file);

} // namespace pgweir::config
