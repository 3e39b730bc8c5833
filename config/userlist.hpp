// A userlist file as PgBouncer has it: one user per line, `"name" "secret"`, a quote inside written
// twice, the rest of the line ignored. Empty lines, and lines that begin with ';' or '#', too.
//
// Pure, any thread. Tests: tests/config/userlist_test.cpp.
#pragma once

#include "config/configuration.hpp"
#include "config/problem.hpp"

#include <string_view>
#include <vector>

namespace pgweir::config {

struct listed_user {
    user who;
    position at;
};

struct userlist {
    std::vector<listed_user> users;
    std::vector<problem> problems; // in the order of the file; `file` is left empty
};

inline constexpr std::size_t largest_userlist_bytes = 67'108'864;
/// Nobody reads more, and somebody has to keep them.
inline constexpr std::size_t most_problems = 100;

[[nodiscard]] userlist parse_userlist(std::string_view text);

} // namespace pgweir::config
