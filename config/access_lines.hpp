// What pg_hba.conf and pg_ident.conf have in common: lines of fields, a field being a list of
// tokens between commas; quotes, comments, a backslash that continues a line, `@file` and `include
// file`. Read as PostgreSQL's next_token() and tokenize_auth_file() do, with the column of
// everything.
//
// Knows no disk: files come through a function. Pure apart from that, any thread.
// Tests: tests/config/access_lines_test.cpp; tests/fuzz/hba.
#pragma once

#include "config/problem.hpp"

#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace pgweir::config {

struct access_token {
    std::string text;
    bool quoted = false; // from its beginning: then it is no keyword
    position at;         // of a token from `@file`: where the @ stands

    [[nodiscard]] bool is(std::string_view keyword) const { return !quoted && text == keyword; }
};

struct access_field {
    std::vector<access_token> tokens; // of `@file` with nothing in it: none
    position at;
};

struct access_line {
    std::string file; // as its includer named it, beginning at the outermost one's folder
    position at;      // of the first field
    position end;     // behind the last one: where something is missing
    std::string text; // as it stands there, continued lines joined
    std::vector<access_field> fields;
};

struct access_lines {
    std::vector<access_line> lines;
    std::vector<problem> problems; // `file` is set, in the order they were met
};

/// A file by its path; nothing: it cannot be read.
using access_files = std::function<std::optional<std::string>(const std::string& path)>;

inline constexpr std::size_t largest_access_bytes = 4'194'304; // of all files together
inline constexpr std::size_t most_access_tokens = 200'000;     // of all lines, @files unfolded
inline constexpr int deepest_access_file = 10;

/// `file`: where `text` is from; files that it names begin at that one's folder.
[[nodiscard]] access_lines read_access_lines(std::string_view text, const std::string& file,
                                             const access_files& files);

} // namespace pgweir::config
