// See ident_map.hpp.
#include "config/ident_map.hpp"
#include "config/text.hpp"
#include "config/userlist.hpp"

#include <algorithm>

namespace pgweir::config {
namespace {

constexpr std::string_view group_reference = "\\1";

bool has_reference(const ident_line& line) {
    return line.pattern && line.user.find(group_reference) != std::string::npos;
}

std::string wrong_with_user(const access_token& user, const ident_line& line) {
    if (!user.quoted && (user.text.starts_with('+') || user.text.starts_with('/'))) {
        return "a user must be a name or all; put it in quotes if the name begins like that";
    }
    if (has_reference(line) && !line.pattern->why_no_reference().empty()) {
        return concat({group_reference, " ", line.pattern->why_no_reference()});
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
    result.message = wrong_with_user(user, into);
    return result;
}

bool allows(const ident_line& line, std::string_view system_name, std::string_view user) {
    if (!has_reference(line)) {
        const bool is_meant =
            line.pattern ? line.pattern->matches(system_name) : line.system_name == system_name;
        return is_meant && (line.any_user || line.user == user);
    }
    const auto group = line.pattern->first_group_in(system_name);
    const auto at = line.user.find(group_reference);
    return group && concat({line.user.substr(0, at), *group,
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
        return line.map == map && allows(line, system_name, user);
    });
}

} // namespace pgweir::config
