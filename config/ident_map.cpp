// See ident_map.hpp.
#include "config/ident_map.hpp"
#include "config/text.hpp"
#include "config/userlist.hpp"

#include <algorithm>

namespace pgweir::config {
namespace {

constexpr std::string_view group_reference = "\\1";

std::string wrong_with_user(const access_token& user, const ident_line& line, bool has_group) {
    if (!user.quoted && (user.text.starts_with('+') || user.text.starts_with('/'))) {
        return "a user must be a name or all; put it in quotes if the name begins like that";
    }
    if (line.pattern && !has_group && user.text.find(group_reference) != std::string::npos) {
        return "\\1 needs a pattern with ( )";
    }
    return {};
}

/// What is wrong with a line, and where; an empty message: nothing.
problem read_line(const access_line& line, ident_line& into) {
    problem result{.file = line.file, .at = line.end, .message = {}};
    if (line.fields.size() < 3) {
        result.message = "a map, a name of the system's and a user are needed";
        return result;
    }
    for (std::size_t i = 0; i < 3; ++i) {
        if (line.fields[i].tokens.size() != 1) {
            result.at = line.fields[i].at;
            result.message = "one word is needed here, not a list";
            return result;
        }
    }
    const auto& system = line.fields[1].tokens[0];
    const auto& user = line.fields[2].tokens[0];
    into.map = line.fields[0].tokens[0].text;
    into.system_name = system.text;
    into.user = user.text;
    into.any_user = user.is("all");
    if (system.text.starts_with('/')) {
        into.system_name.clear();
        into.pattern = name_pattern::make(system.text.substr(1), result.message);
        if (!into.pattern) {
            result.at = system.at;
            result.message = concat({"the pattern is refused: ", result.message});
            return result;
        }
    }
    result.at = user.at;
    result.message = wrong_with_user(user, into, system.text.find('(') != std::string::npos);
    return result;
}

bool is_user(const ident_line& line, const name_pattern::found& match, std::string_view user) {
    if (line.any_user) {
        return true;
    }
    const auto at = line.user.find(group_reference);
    if (at == std::string::npos) {
        return line.user == user;
    }
    // The group may have taken no part in the match: then nobody is meant.
    return match.first_group && concat({line.user.substr(0, at), *match.first_group,
                                        line.user.substr(at + group_reference.size())}) == user;
}

} // namespace

ident_result parse_ident(std::string_view text, const std::string& file,
                         const access_files& files) {
    auto read = read_access_lines(text, file, files);
    ident_result result{.lines = {}, .problems = std::move(read.problems)};
    for (const auto& line : read.lines) {
        if (result.problems.size() >= most_problems) {
            break;
        }
        ident_line made;
        if (auto wrong = read_line(line, made); !wrong.message.empty()) {
            result.problems.push_back(std::move(wrong));
        } else {
            result.lines.push_back(std::move(made));
        }
    }
    return result;
}

bool may_be(const std::vector<ident_line>& lines, std::string_view map,
            std::string_view system_name, std::string_view user) {
    if (map.empty()) {
        return system_name == user;
    }
    return std::any_of(lines.begin(), lines.end(), [&](const ident_line& line) {
        if (line.map != map) {
            return false;
        }
        if (!line.pattern) {
            return line.system_name == system_name && (line.any_user || line.user == user);
        }
        const auto match = line.pattern->find_in(system_name);
        return match && is_user(line, *match, user);
    });
}

} // namespace pgweir::config
