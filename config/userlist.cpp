// See userlist.hpp.
#include "config/userlist.hpp"
#include "config/settings.hpp"
#include "config/text.hpp"

#include <unordered_map>

namespace pgweir::config {
namespace {

constexpr std::string_view blanks = " \t\r";

/// Reads one line; `at` moves along it.
class line_reader {
public:
    explicit line_reader(std::string_view line)
        : line_(line) {}

    void skip_blanks() { at_ = std::min(line_.find_first_not_of(blanks, at_), line_.size()); }
    [[nodiscard]] bool at_end() const { return at_ == line_.size(); }
    [[nodiscard]] bool at_comment() const { return line_[at_] == ';' || line_[at_] == '#'; }
    [[nodiscard]] std::size_t column_bytes() const { return at_; }

    /// What stands between two quotes; what is wrong goes into `refusal`.
    std::string quoted(std::string_view what, std::string& refusal) {
        if (at_end() || line_[at_] != '"') {
            refusal = concat({what, " must stand in double quotes"});
            return {};
        }
        std::string value;
        for (auto i = at_ + 1; i < line_.size(); ++i) {
            if (line_[i] != '"') {
                value += line_[i];
            } else if (i + 1 < line_.size() && line_[i + 1] == '"') {
                value += '"';
                ++i;
            } else {
                at_ = i + 1;
                return value;
            }
        }
        refusal = concat({"the closing quote of ", what, " is missing"});
        return {};
    }

private:
    std::string_view line_;
    std::size_t at_ = 0;
};

/// A user's name is bound as every name is.
std::string wrong_with_name(std::string_view name) {
    if (name.empty()) {
        return "the user name must not be empty";
    }
    if (name.size() > 63) {
        return "the user name must not be longer than 63 bytes";
    }
    return has_control_character(name) ? "the user name must not hold control characters" : "";
}

std::string wrong_with_secret(std::string_view name, const std::string& text, user& into) {
    const auto& row = *find_setting("users.<name>.password");
    auto refused = assign(row, &into, text);
    if (!refused && form_of(text) == secret_form::broken_scram) {
        refused = "begins like a SCRAM verifier but is none";
    }
    return refused ? concat({"the secret of user '", name, "' ", *refused}) : "";
}

} // namespace

userlist parse_userlist(std::string_view text) {
    userlist result;
    if (text.size() > largest_userlist_bytes) {
        result.problems.push_back(
            {.at = {},
             .message = concat(
                 {"the file is larger than ", std::to_string(largest_userlist_bytes), " bytes"})});
        return result;
    }
    text = without_byte_order_mark(text);
    if (auto bad = check_text(text)) {
        result.problems.push_back(*bad);
        return result;
    }
    std::unordered_map<std::string, std::size_t> first_line;
    std::size_t line_number = 0;
    for (std::size_t start = 0; start < text.size() && result.problems.size() < most_problems;) {
        const auto end = std::min(text.find('\n', start), text.size());
        const auto line = text.substr(start, end - start);
        start = end + 1;
        ++line_number;

        line_reader reader(line);
        reader.skip_blanks();
        if (reader.at_end() || reader.at_comment()) {
            continue;
        }
        const auto complain = [&](std::size_t column_bytes, std::string message) {
            result.problems.push_back(
                {.at = {.line = line_number, .column = position_of(line, column_bytes).column},
                 .message = std::move(message)});
        };
        const auto name_at = reader.column_bytes();
        std::string refusal;
        const auto name = reader.quoted("the user name", refusal);
        if (refusal.empty()) {
            refusal = wrong_with_name(name);
        }
        if (!refusal.empty()) {
            complain(name_at, refusal);
            continue;
        }
        reader.skip_blanks();
        const auto secret_at = reader.column_bytes();
        const auto text_of_secret = reader.quoted("the secret", refusal);
        listed_user listed{
            .who = {.name = name, .password = {}, .from_file = true, .session_state = {}},
            .at = {.line = line_number, .column = position_of(line, name_at).column}};
        if (refusal.empty()) {
            refusal = wrong_with_secret(name, text_of_secret, listed.who);
        }
        if (!refusal.empty()) {
            complain(secret_at, refusal);
            continue;
        }
        const auto [known, is_new] = first_line.emplace(name, line_number);
        if (!is_new) {
            complain(name_at, concat({"user '", name, "' is listed twice, first on line ",
                                      std::to_string(known->second)}));
            continue;
        }
        result.users.push_back(std::move(listed));
    }
    return result;
}

} // namespace pgweir::config
