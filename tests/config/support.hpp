// What the tests of config/ share.
#pragma once

#include "config/parse.hpp"

#include <doctest/doctest.h>

#include <fstream>
#include <iterator>
#include <map>
#include <ostream>
#include <string>
#include <vector>

namespace pgweir::config::testing {

/// An environment and a disk made of two maps.
struct world {
    std::map<std::string, std::string> environment, files, credentials = {};

    [[nodiscard]] parse_options options(std::string directory = {}) const {
        const auto look_up = [](const std::map<std::string, std::string>& in) {
            return [&in](const std::string& name) -> std::optional<std::string> {
                const auto found = in.find(name);
                return found == in.end() ? std::nullopt : std::optional(found->second);
            };
        };
        return {.read_environment = look_up(environment),
                .read_file = look_up(files),
                .read_secret_file = look_up(files),
                .read_credential = look_up(credentials),
                .directory = std::move(directory)};
    }
};

/// "3:5: message" of each, the file's name before it where it is another one.
inline std::vector<std::string> lines(const std::vector<problem>& problems) {
    std::vector<std::string> result;
    for (const auto& each : problems) {
        const auto line = to_string(each, "");
        result.push_back(each.file.empty() ? line.substr(1) : line);
    }
    return result;
}

inline std::string joined(const std::vector<std::string>& of) {
    std::string result;
    for (const auto& line : of) {
        result += line + "\n";
    }
    return result;
}

/// All errors, a line each; "" when there are none.
inline std::string errors_of(std::string_view text, const world& in = {}) {
    return joined(lines(parse(text, in.options()).errors()));
}

/// What has to be there for a file to be right, after what a test is about.
inline const std::string rest = "\ndatabases: { shop: }\nusers: { app: { password: x } }\n";

/// The configuration of a file that is right.
inline configuration good(std::string_view text, const world& in = {}) {
    const auto result = parse(text, in.options());
    INFO(joined(lines(result.errors())));
    REQUIRE(result);
    return result.value();
}

/// A file of the source tree.
inline std::string source_file(const std::string& path) {
    const std::string here = __FILE__;
    const auto root = here.substr(0, here.rfind("tests/config/"));
    std::ifstream file(root + path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
}
inline std::string source_path(const std::string& path) {
    const std::string here = __FILE__;
    return here.substr(0, here.rfind("tests/config/")) + path;
}

} // namespace pgweir::config::testing
