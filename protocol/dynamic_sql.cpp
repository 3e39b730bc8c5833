#include "protocol/dynamic_sql.hpp"

#include "protocol/session_state.hpp"

#include <algorithm>
#include <array>
#include <utility>

namespace pgweir::protocol {

namespace {

using kind = sql_token::kind;

bool is_word(const sql_token& token, std::string_view expected) {
    return token.is == kind::word && same_word(token.text, expected);
}
bool is_symbol(const sql_token& token, char symbol) {
    return token.is == kind::symbol && token.text[0] == symbol;
}
bool is_name(const sql_token& token) {
    return token.is == kind::word || token.is == kind::quoted_identifier;
}

bool same_name(std::string_view a, std::string_view b) {
    return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin(), [](char x, char y) {
               return lower_case(x) == lower_case(y);
           });
}

bool is_among(std::string_view name, const std::vector<std::string_view>& list) {
    return std::any_of(list.begin(), list.end(),
                       [name](std::string_view other) { return same_name(name, other); });
}

// The literal shows which statement it is: its first word is there, and ends there.
bool shows_statement(std::string_view literal) {
    sql_lexer lexer(literal);
    const auto first = lexer.next();
    return first.is == kind::word &&
           first.text.data() + first.text.size() != literal.data() + literal.size();
}

// Ends with the beginnings of names that would have been noticed had they been whole.
effect_bits of_names_begun(std::string_view literal) {
    constexpr auto bit = [](pin_reason reason) { return static_cast<effect_bits>(reason); };
    constexpr std::array<std::pair<std::string_view, effect_bits>, 8> names = {
        {{"pg_temp", bit(pin_reason::temporary_object)},
         {"pg_advisory_lock_shared", bit(pin_reason::advisory_lock)},
         {"pg_advisory_unlock_shared", gives_up_lock},
         {"pg_try_advisory_lock_shared", bit(pin_reason::advisory_lock)},
         {"set_config", bit(pin_reason::setting)},
         {"setseed", bit(pin_reason::random_seed)},
         {"lastval", reads_sequences},
         {"currval", reads_sequences}}};
    constexpr std::size_t shortest = 3;
    std::size_t length = 0;
    while (length < literal.size()) {
        const char c = literal[literal.size() - 1 - length];
        const bool part = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
        if (!part) {
            break;
        }
        ++length;
    }
    const auto end = literal.substr(literal.size() - length);
    effect_bits effects = 0;
    for (const auto& [name, effect] : names) {
        const bool begun = length >= shortest && end.size() < name.size() &&
                           same_word(end, name.substr(0, end.size()));
        effects |= begun ? effect : effect_bits{0};
    }
    return effects;
}

} // namespace

// What is expected has been seen.
void dynamic_sql::settle(bool known) {
    if (expected_ == expected::command) {
        anything_ = anything_ || !known;
    } else if (expected_ == expected::assignment) {
        (known ? literal_ : unseen_).push_back(assigned_);
    }
    expected_ = expected::nothing;
    after_format_ = false;
}

void dynamic_sql::first_piece(const sql_token& token) {
    if (is_symbol(token, '(')) {
        return; // of format(…), or around everything
    }
    if (token.is == kind::string) {
        settle(shows_statement(token.text));
    } else if (expected_ == expected::target) {
        if (is_name(token) && !is_word(token, "strict")) {
            unseen_.push_back(token.text);
        }
        if (!is_word(token, "strict")) {
            settle(true);
        }
    } else if (!after_format_ && (is_word(token, "format") || is_word(token, "concat"))) {
        after_format_ = true;
    } else if (expected_ == expected::command) {
        const bool is_no_command = is_word(token, "function") || is_word(token, "procedure") ||
                                   is_word(token, "on"); // of a trigger; GRANT EXECUTE ON
        const bool variable = !after_format_ && is_name(token) && !is_no_command;
        if (variable) {
            executed_.push_back(token.text);
        }
        settle(variable || is_no_command);
    } else {
        // v := v || … is as much known as it was.
        settle(is_name(token) && same_name(token.text, assigned_) && is_among(assigned_, literal_));
    }
}

// A literal that something is put behind.
void dynamic_sql::may_be_cut(const sql_token& token) {
    if (last_.is == kind::string && is_symbol(token, '|')) {
        cut_ |= of_names_begun(last_.text);
        // Nobody knows which setting.
        anything_ = anything_ || (cut_ & static_cast<effect_bits>(pin_reason::setting)) != 0;
    }
}

void dynamic_sql::take(const sql_token& token) {
    may_be_cut(token);
    if (expected_ != expected::nothing) {
        first_piece(token);
    } else if (is_word(token, "execute")) {
        expected_ = expected::command;
    } else if (is_word(token, "into") && !is_word(last_, "insert") && !is_word(last_, "merge")) {
        expected_ = expected::target;
    } else if (is_symbol(token, '=') && is_symbol(last_, ':') && is_name(before_)) {
        expected_ = expected::assignment;
        assigned_ = before_.text;
    }
    before_ = last_;
    last_ = token;
}

bool dynamic_sql::may_do_anything() const {
    return anything_ || std::any_of(executed_.begin(), executed_.end(), [&](std::string_view name) {
               return !is_among(name, literal_) || is_among(name, unseen_);
           });
}

} // namespace pgweir::protocol
