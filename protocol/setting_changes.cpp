#include "protocol/setting_changes.hpp"

#include "protocol/double_byte_text.hpp"
#include "protocol/dynamic_sql.hpp"
#include "protocol/name_effects.hpp"
#include "protocol/sql_lexer.hpp"
#include "protocol/startup_options.hpp"
#include "protocol/unicode_escapes.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <deque>
#include <set>
#include <span>
#include <utility>
#include <vector>

namespace pgweir::protocol {

namespace {

using how = setting_changes::how;
using tokens = std::span<const sql_token>;

bool is_word(const sql_token& token, std::string_view expected) {
    return token.is == sql_token::kind::word && same_word(token.text, expected);
}

bool begins(tokens statement, std::initializer_list<std::string_view> words) {
    return statement.size() >= words.size() &&
           std::equal(
               words.begin(), words.end(), statement.begin(),
               [](std::string_view word, const auto& token) { return is_word(token, word); });
}

bool is_symbol(tokens statement, char symbol) {
    return !statement.empty() && statement[0].is == sql_token::kind::symbol &&
           statement[0].text[0] == symbol;
}

// a.b."C" at the front, taken off; empty where there is no name. Settings are told apart without
// regard to case.
std::string take_name(tokens& statement) {
    std::string name;
    while (!statement.empty()) {
        const auto& token = statement[0];
        if (token.is != sql_token::kind::word && token.is != sql_token::kind::quoted_identifier) {
            return {};
        }
        name += lower_case(token.text);
        statement = statement.subspan(1);
        if (!is_symbol(statement, '.')) {
            return name;
        }
        name += '.';
        statement = statement.subspan(1);
    }
    return {};
}

constexpr unsigned max_depth = 4; // of code in strings

// In code, these stand in front of a statement.
bool begins_statement(const sql_token& token) {
    return is_word(token, "begin") || is_word(token, "then") || is_word(token, "else") ||
           is_word(token, "loop");
}

class reader {
public:
    reader(setting_changes& into, const name_effects* names)
        : into_(into)
        , names_(names) {}

    // `depth`: 0 for a client's text, more for code. `cut`: something unknown may follow.
    void read(std::string_view sql, unsigned depth, bool cut = false) {
        if (depth > max_depth) {
            into_.unknown = true;
            return;
        }
        sql_lexer lexer(sql);
        std::vector<sql_token> statement;
        std::deque<std::string> unescaped; // texts of tokens in `statement`
        const auto joining = depth == 0 ? put_together() : read_joining(sql);
        for (;;) {
            auto token = lexer.next();
            if (token.unicode_escapes) {
                auto escaped = take_unescaped(token, lexer);
                into_.unknown = into_.unknown || !escaped;
                token.text = unescaped.emplace_back(std::move(escaped).value_or(""));
            }
            const bool end = token.is == sql_token::kind::end;
            const bool block = depth != 0 && begins_statement(token);
            if (end || block || (token.is == sql_token::kind::symbol && token.text == ";")) {
                if (end && cut && !is_at_most_a_word(sql)) {
                    statement.push_back(open_end(sql));
                }
                this->statement(statement, depth, joining);
                statement.clear();
            } else {
                statement.push_back(token);
            }
            if (end) {
                break;
            }
        }
        if (lexer.backslash_seen()) {
            into_.unknown = true; // where strings end depends on a setting
        }
        encoding_matters_ = encoding_matters_ || lexer.encoding_matters();
    }

    [[nodiscard]] bool encoding_matters() const { return encoding_matters_; }

private:
    // What code puts together.
    struct put_together {
        dynamic_sql about;
        std::set<const char*> beginnings; // literals that statements may begin with

        // It may be executed together with what nobody knows.
        [[nodiscard]] bool may_cut(const sql_token& literal, bool is_joined) const {
            const bool begins = beginnings.contains(literal.text.data()) || literal.unicode_escapes;
            return literal.is == sql_token::kind::string && begins && about.executes() &&
                   (is_joined || about.grows());
        }
    };
    static put_together read_joining(std::string_view code) {
        put_together result;
        sql_lexer lexer(code);
        for (auto token = lexer.next(); token.is != sql_token::kind::end; token = lexer.next()) {
            result.about.take(token);
            if (result.about.begins()) {
                result.beginnings.insert(token.text.data());
            }
        }
        return result;
    }

    void statement(tokens text, unsigned depth, const put_together& joining) {
        if (begins(text, {"set"})) {
            set(text.subspan(1), depth);
        } else if (begins(text, {"reset"})) {
            reset(text.subspan(1), depth);
        } else if (begins(text, {"discard", "all"})) {
            into_.all_reset = true;
            into_.note("role", how::reset);
            into_.note("session_authorization", how::reset);
        }
        calls(text);
        updates(text);
        if (depth != 0 || holds_code(text)) {
            inside_strings(text, depth, joining);
        }
    }

    static bool joins(tokens text) {
        const auto is_operator = [](const auto& a, const auto& b) {
            return is_symbol({&a, 1}, '|') && is_symbol({&b, 1}, '|');
        };
        return std::adjacent_find(text.begin(), text.end(), is_operator) != text.end() ||
               std::any_of(text.begin(), text.end(),
                           [](const auto& token) { return is_word(token, "concat"); });
    }

    static bool holds_code(tokens text) {
        if (!begins(text, {"create"})) {
            return begins(text, {"do"}) || begins(text, {"alter"});
        }
        text = text.subspan(begins(text, {"create", "or", "replace"}) ? 3 : 1);
        return begins(text, {"function"}) || begins(text, {"procedure"});
    }

    void inside_strings(tokens text, unsigned depth, const put_together& joining) {
        const bool is_joined = joins(text);
        for (const auto& token : text) {
            const bool quoted = token.is == sql_token::kind::string ||
                                token.is == sql_token::kind::quoted_identifier;
            if (quoted) {
                read(token.text, depth + 1, joining.may_cut(token, is_joined));
            }
        }
    }

    // What it means that nothing stands behind the words that name a setting.
    enum class ends : std::uint8_t { as_reset, as_set, open };

    // Names that grammar has words of its own for.
    struct special {
        std::initializer_list<std::string_view> words;
        std::initializer_list<std::string_view> settings;
    };

    // Of code, what stands in front of the first piece that nobody knows, without the word that it
    // may belong to. `cut`: there is one.
    static tokens shown(tokens text, unsigned depth, bool& cut) {
        const auto open =
            depth == 0 ? text.end() : std::find_if(text.begin(), text.end(), stands_for_anything);
        cut = open != text.end();
        auto known = text.first(static_cast<std::size_t>(open - text.begin()));
        if (cut && !known.empty() &&
            known.back().text.data() + known.back().text.size() == open->text.data()) {
            known = known.first(known.size() - 1);
        }
        return known;
    }

    void set(tokens text, unsigned depth) {
        bool cut = false;
        text = shown(text, depth, cut);
        if (begins(text, {"local"}) || begins(text, {"transaction"}) ||
            begins(text, {"constraints"})) {
            return; // gone with the transaction
        }
        if (begins(text, {"session", "characteristics"})) {
            for (const auto* const name :
                 {"default_transaction_isolation", "default_transaction_read_only",
                  "default_transaction_deferrable"}) {
                into_.note(name, how::set);
            }
            return;
        }
        if (begins(text, {"session"}) && !begins(text, {"session", "authorization"})) {
            text = text.subspan(1);
        }
        const bool names = depth == 0 && text.size() == 1; // SET NAMES may end there
        if (known_words(text, cut ? ends::open : names ? ends::as_reset : ends::as_set)) {
            return;
        }
        auto rest = text;
        auto name = take_name(rest);
        if (cut && !assigns(rest)) {
            into_.unknown = true; // it may be the beginning of another name
        } else {
            note(std::move(name), !cut && to_default(rest) ? how::reset : how::set);
        }
    }

    // SET's forms without a name, and RESET's.
    bool known_words(tokens text, ends at) {
        static const std::array<special, 6> specials = {{
            {{"time", "zone"}, {"timezone"}},
            {{"session", "authorization"}, {"session_authorization", "role"}},
            {{"xml", "option"}, {"xmloption"}},
            {{"schema"}, {"search_path"}},
            {{"names"}, {"client_encoding"}},
            {{"role"}, {"role"}},
        }};
        for (const auto& [words, settings] : specials) {
            // SET schema = 1 would be of a setting with that name.
            const auto rest = begins(text, words) ? text.subspan(words.size()) : tokens{};
            if (!begins(text, words) || is_symbol(rest, '=') || begins(rest, {"to"})) {
                continue;
            }
            const bool default_value =
                begins(rest, {"default"}) || (words.size() == 2 && begins(rest, {"local"}));
            const bool resets =
                rest.empty() ? at == ends::as_reset : at != ends::open && default_value;
            for (const auto name : settings) {
                into_.note(std::string(name), resets ? how::reset : how::set);
            }
            return true;
        }
        return false;
    }

    static bool to_default(tokens rest) {
        return assigns(rest) && rest.size() == 2 && is_word(rest[1], "default");
    }
    static bool assigns(tokens rest) { return is_symbol(rest, '=') || begins(rest, {"to"}); }

    void reset(tokens text, unsigned depth) {
        bool cut = false;
        text = shown(text, depth, cut);
        if (begins(text, {"all"})) {
            into_.all_reset = true;
        } else if (!begins(text, {"transaction"}) && !known_words(text, ends::as_reset)) {
            cut ? void(into_.unknown = true) : note(take_name(text), how::reset);
        }
    }

    void note(std::string name, how what) {
        if (name == "seed") {
            return; // is shown as "unavailable"; what it does is setseed()'s
        }
        if (name == "session_authorization") {
            into_.note("role", what); // it ends the role that was set
        }
        if (valid_setting_name(name)) {
            into_.note(std::move(name), what);
        } else {
            into_.unknown = true;
        }
    }

    // set_config('name', …) wherever it stands.
    void calls(tokens text) {
        for (; !text.empty(); text = text.subspan(1)) {
            hidden_by(text[0]);
            const bool named =
                is_word(text[0], "set_config") ||
                (text[0].is == sql_token::kind::quoted_identifier && text[0].text == "set_config");
            if (!named) {
                continue;
            }
            const auto arguments = text.subspan(1);
            const bool literal = is_symbol(arguments, '(') && arguments.size() > 2 &&
                                 arguments[1].is == sql_token::kind::string;
            auto behind = literal ? arguments.subspan(2) : tokens{};
            if (behind.size() > 2 && is_symbol(behind, ':') && is_word(behind[2], "text")) {
                behind = behind.subspan(3); // 'name'::text, as PostgreSQL writes it
            }
            const bool plain = is_symbol(behind, ',');
            if (plain && valid_setting_name(arguments[1].text)) {
                note(lower_case(arguments[1].text), how::set);
            } else {
                into_.unknown = true;
            }
        }
    }

    // UPDATE pg_settings, wherever it stands: which rows, nobody knows; but of those that it has.
    void updates(tokens text) {
        const auto is_update = [](const auto& token) { return is_word(token, "update"); };
        const auto is_view = [](const auto& token) {
            return is_word(token, "pg_settings") ||
                   (token.is == sql_token::kind::quoted_identifier && token.text == "pg_settings");
        };
        const auto update = std::find_if(text.begin(), text.end(), is_update);
        if (std::any_of(update, text.end(), is_view)) {
            into_.some_listed = true;
        }
    }

    void hidden_by(const sql_token& token) {
        const bool name =
            token.is == sql_token::kind::word || token.is == sql_token::kind::quoted_identifier;
        if (names_ == nullptr || !name) {
            return;
        }
        if (const auto* const hidden = names_->find(token.text); hidden != nullptr) {
            into_.add(hidden->always.settings);
            into_.add(hidden->on_write.settings);
        }
    }

    setting_changes& into_;
    const name_effects* names_;
    bool encoding_matters_ = false;
};

} // namespace

void setting_changes::note(std::string name, how what) {
    const auto [at, is_new] = names.try_emplace(std::move(name), what);
    if (!is_new && at->second != what) {
        at->second = what == how::set ? what : how::set_then_reset;
    }
}

void setting_changes::add(const setting_changes& more) {
    for (const auto& [name, what] : more.names) {
        note(name, what);
    }
    all_reset = all_reset || more.all_reset;
    some_listed = some_listed || more.some_listed;
    unknown = unknown || more.unknown;
    hidden_reset = hidden_reset || more.hidden_reset;
    failed = failed || more.failed;
}

setting_changes read_setting_changes(std::string_view sql, const name_effects* names) {
    setting_changes changes;
    reader from(changes, names);
    from.read(sql, 0);
    // … or on an encoding.
    changes.unknown =
        changes.unknown || (from.encoding_matters() && !double_byte_readings(sql).empty());
    if (names != nullptr) {
        changes.add(names->of_all().settings);
    }
    return changes;
}

setting_changes read_setting_changes_in_code(std::string_view code) {
    setting_changes changes;
    reader(changes, nullptr).read(code, 1);
    return changes;
}

} // namespace pgweir::protocol
