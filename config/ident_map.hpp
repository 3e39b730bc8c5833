// PostgreSQL's pg_ident.conf: which users somebody may be here whom the system (peer) or a
// certificate (cert) names otherwise. A line is a map's name, the system's name or `/pattern`, and
// the user, in which `\1` stands for what the pattern's first ( ) has matched.
//
// Pure, any thread. Tests: tests/config/ident_map_test.cpp; tests/fuzz/hba.
#pragma once

#include "config/access_lines.hpp"
#include "config/name_pattern.hpp"
#include "config/problem.hpp"

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace pgweir::config {

struct ident_line {
    std::string map;
    std::string system_name;             // where there is no pattern
    std::optional<name_pattern> pattern; // not bound to the whole name, unless it says ^ and $
    std::string user;
    bool any_user = false; // PostgreSQL 16's `all`
    bool operator==(const ident_line&) const = default;
};

struct ident_result {
    std::vector<ident_line> lines; // of no use where there are problems
    std::vector<problem> problems;
};
[[nodiscard]] ident_result parse_ident(std::string_view text, const std::string& file,
                                       const access_files& files);

/// May somebody with that name of the system's be that user? Without a map: if both are the same.
[[nodiscard]] bool may_be(const std::vector<ident_line>& lines, std::string_view map,
                          std::string_view system_name, std::string_view user);

} // namespace pgweir::config
