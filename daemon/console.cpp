#include "daemon/console.hpp"

#include "daemon/console_result.hpp"
#include "protocol/sql_lexer.hpp"

#include <algorithm>
#include <utility>

namespace pgweir::daemon {

namespace {

using protocol::error;
using protocol::sql_token;

constexpr std::string_view where_to_look = "SHOW HELP lists the commands.";
/// No command has more.
constexpr std::size_t most_words = 16;

char upper(char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c; }

bool same_word(std::string_view left, std::string_view right) {
    return std::ranges::equal(left, right, [](char a, char b) { return upper(a) == upper(b); });
}

struct query_word {
    std::string text;
    bool is_name = false; // may be part of a command: a number or a 'string' may not
};

struct words_of_query {
    std::vector<query_word> words; // none: nothing was asked
    std::string problem;           // empty: none
};

/// Doubled quotes stand for one.
std::string undoubled(std::string_view quoted) {
    std::string text;
    for (std::size_t i = 0; i < quoted.size(); ++i) {
        text += quoted[i];
        i += quoted.substr(i, 2) == "\"\"" ? 1 : 0;
    }
    return text;
}

words_of_query read_words(std::string_view query) {
    words_of_query result;
    protocol::sql_lexer lexer(query);
    bool ended = false; // the first command, by a semicolon
    for (auto token = lexer.next(); token.is != sql_token::kind::end; token = lexer.next()) {
        if (token.is == sql_token::kind::symbol && token.text == ";") {
            ended = !result.words.empty();
            continue;
        }
        const bool quoted_name = token.is == sql_token::kind::quoted_identifier;
        const bool quoted = quoted_name || token.is == sql_token::kind::string;
        if (quoted && token.text.data() + token.text.size() == query.data() + query.size()) {
            result.problem = "unterminated quoted text";
            return result;
        }
        if (ended) {
            result.problem = "the console takes one command at a time";
            return result;
        }
        if (result.words.size() == most_words) {
            result.problem = "too many words";
            return result;
        }
        result.words.push_back({quoted_name ? undoubled(token.text) : std::string(token.text),
                                quoted_name || token.is == sql_token::kind::word});
    }
    return result;
}

/// How many words `words` begins with are the command's own; 0: it is another command.
std::size_t matching_words(const console_command& command, const std::vector<query_word>& words) {
    std::size_t count = 0;
    for (auto rest = command.words; !rest.empty(); ++count) {
        const auto end = std::min(rest.find(' '), rest.size());
        if (count == words.size() || !words[count].is_name ||
            !same_word(words[count].text, rest.substr(0, end))) {
            return 0;
        }
        rest.remove_prefix(std::min(end + 1, rest.size()));
    }
    return count;
}

console_privilege privilege_of(const config::configuration& config, std::string_view user) {
    const auto listed = [user](const std::vector<std::string>& list) {
        return std::ranges::find(list, user) != list.end();
    };
    return listed(config.admin_users)   ? console_privilege::admin
           : listed(config.stats_users) ? console_privilege::stats
                                        : console_privilege::none;
}

std::string refused(std::string message, std::string_view hint = {}) {
    return console_answer::failed(
        error::console_privilege,
        {.message = std::move(message), .detail = {}, .hint = std::string(hint)});
}

std::string not_understood(std::string message) {
    return console_answer::failed(
        error::console_syntax,
        {.message = std::move(message), .detail = {}, .hint = std::string(where_to_look)});
}

std::string joined(const std::vector<query_word>& words) {
    std::string text;
    for (const auto& word : words) {
        text += text.empty() ? "" : " ";
        text += word.text;
    }
    return text;
}

} // namespace

console::console(console_source& source)
    : source_(source)
    , history_(source.started_at()) {}

void console::tick() {
    const auto now = source_.now();
    if (history_.due(now)) {
        history_.add(now, totals_of(source_.pools()));
    }
}

void console::execute(std::string_view user, std::string_view query, console_reply reply) {
    const auto caller = privilege_of(*source_.configuration(), user);
    if (caller == console_privilege::none) {
        reply(refused("permission denied for user \"" + quotable(user) + "\""));
        return;
    }
    auto [words, problem] = read_words(query);
    if (!problem.empty()) {
        reply(not_understood(std::move(problem)));
        return;
    }
    if (words.empty()) {
        reply(console_answer::empty_query());
        return;
    }
    const console_command* command = nullptr;
    std::size_t own_words = 0;
    for (const auto& row : console_commands()) {
        if (const auto count = matching_words(row, words); count > own_words) {
            command = &row;
            own_words = count;
        }
    }
    if (command == nullptr) {
        reply(not_understood("unknown command: " + quotable(joined(words))));
        return;
    }
    if (caller < command->needs) {
        reply(refused("permission denied for " + std::string(command->words),
                      "It takes a user of console.admin_users."));
        return;
    }
    if (words.size() > own_words && command->argument.empty()) {
        reply(not_understood(std::string(command->words) +
                             " takes nothing more: " + quotable(words[own_words].text)));
        return;
    }
    std::vector<std::string> arguments;
    for (auto at = own_words; at < words.size(); ++at) {
        arguments.push_back(std::move(words[at].text));
    }
    command->run({.command = *command,
                  .source = source_,
                  .history = history_,
                  .caller = caller,
                  .arguments = std::move(arguments),
                  .reply = std::move(reply)});
}

} // namespace pgweir::daemon
