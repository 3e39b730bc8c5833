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

// The literal shows which statements it has: their first words are there, and end there.
bool shows_statement(std::string_view literal) {
    const auto shown = [literal](const sql_token& first) {
        return first.is == kind::word &&
               first.text.data() + first.text.size() != literal.data() + literal.size();
    };
    sql_lexer lexer(literal);
    auto token = lexer.next();
    if (!shown(token)) {
        return false;
    }
    if (literal.find(';') == std::string_view::npos) {
        return true;
    }
    bool all = true;
    for (bool first = false; token.is != kind::end; token = lexer.next()) {
        const bool ends = is_symbol(token, ';');
        all = all && (!first || ends || shown(token));
        first = ends;
    }
    return all;
}

// Without blanks at its end, also as E'\n' has them.
std::string_view without_blanks(std::string_view literal) {
    constexpr std::string_view blanks = " \t\r\n\f", escaped = "trnf";
    for (;;) {
        const auto size = literal.size();
        if (size != 0 && blanks.find(literal.back()) != std::string_view::npos) {
            literal.remove_suffix(1);
        } else if (size > 1 && literal[size - 2] == '\\' &&
                   escaped.find(literal.back()) != std::string_view::npos) {
            literal.remove_suffix(2);
        } else {
            return literal;
        }
    }
}
bool is_blank(std::string_view literal) { return without_blanks(literal).empty(); }

// Joins statements, or blanks: '\n', chr(10).
bool goes_on(const sql_token& token) {
    constexpr std::string_view symbols = "|,)";
    if (token.is == kind::symbol) {
        return symbols.find(token.text[0]) != std::string_view::npos;
    }
    if (token.is == kind::number) {
        return token.text == "9" || token.text == "10" || token.text == "13" || token.text == "32";
    }
    return is_word(token, "chr") || (token.is == kind::string && is_blank(token.text));
}

// A statement begins behind it.
bool ends_statement(std::string_view literal) { return without_blanks(literal).ends_with(';'); }

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
        building_ = expected_;
    } else if (expected_ == expected::assignment) {
        building_ = expected_;
        (known ? literal_ : unseen_).push_back(assigned_);
    }
    expected_ = expected::nothing;
    after_format_ = false;
}

void dynamic_sql::first_piece(const sql_token& token) {
    if (is_symbol(token, '(') || (building_ == expected_ && goes_on(token))) {
        return; // of format(…), or around everything; nothing behind the end of a statement
    }
    if (token.is == kind::string) {
        settle(shows_statement(token.text));
    } else if (expected_ == expected::targets) {
        target(token);
    } else if (!after_format_ && (is_word(token, "format") || is_word(token, "concat"))) {
        after_format_ = true;
        concatenates_ = concatenates_ || is_word(token, "concat");
    } else if (expected_ == expected::command) {
        const bool is_no_command = is_word(token, "function") || is_word(token, "procedure") ||
                                   is_word(token, "on"); // of a trigger; GRANT EXECUTE ON
        const bool variable = !after_format_ && is_name(token) && !is_no_command;
        if (variable) {
            executed_.push_back(token.text);
            if (!is_among(token.text, declared_)) {
                unseen_.push_back(token.text);
            }
            at_boundary_ = is_among(token.text, ended_);
        }
        settle(variable || is_no_command);
    } else if (!after_format_ && is_word(token, "null")) {
        forget_end();
        expected_ = expected::nothing; // and so is whatever is joined to it
    } else {
        // v := v || … is as much known as it was.
        const bool itself = is_name(token) && same_name(token.text, assigned_);
        grows_ = grows_ || itself;
        at_boundary_ = itself && is_among(assigned_, ended_);
        if (!itself) {
            forget_end();
        }
        settle(itself && is_among(assigned_, literal_));
    }
}

// INTO [STRICT] v, block.w; FOR v, w IN; FOREACH v IN; OPEN c FOR EXECUTE.
void dynamic_sql::target(const sql_token& token) {
    constexpr std::string_view goes_on = ",.";
    const bool first = is_word(last_, "into") || is_word(last_, "strict") ||
                       is_word(last_, "for") || is_word(last_, "foreach");
    const bool separates =
        token.is == kind::symbol && goes_on.find(token.text[0]) != std::string_view::npos;
    if (is_word(token, "execute") || !(is_name(token) || separates)) {
        settle(true);
    } else if (!separates && !first && !is_symbol(last_, ',') && !is_symbol(last_, '.')) {
        settle(true);
    } else if (!separates && !is_word(token, "strict")) {
        unseen_.push_back(token.text);
    }
    if (expected_ == expected::nothing && token.is == kind::word) {
        word(token);
    }
}

bool dynamic_sql::begins_statement(const sql_token& token) const {
    const bool branches = is_word(token, "then") || is_word(token, "else");
    return is_word(token, "begin") || is_word(token, "loop") ||
           (branches && building_ != expected::command) || // or of CASE
           (is_symbol(token, '>') && is_symbol(last_, '>'));
}

// name [CONSTANT] type [NOT NULL] {:= | = | DEFAULT} value
void dynamic_sql::declares(const sql_token& token) {
    if (is_word(token, "begin")) {
        place_ = place::start;
    } else if (place_ == place::declaration && is_name(token) && !is_word(token, "declare")) {
        declared_.push_back(token.text);
        variable_ = token.text;
        place_ = place::type;
    } else if (place_ == place::type && is_word(token, "alias")) {
        unseen_.push_back(variable_); // FOR tells of the other name
        place_ = place::value;
    } else if (place_ == place::type && is_word(token, "cursor")) {
        place_ = place::value;
    }
}

// What follows is what `variable_` is set to.
bool dynamic_sql::sets(const sql_token& token) {
    const bool equals = is_symbol(token, '=');
    const bool in_declarations = place_ >= place::declaration;
    if (is_symbol(token, ';')) {
        place_ = in_declarations ? place::declaration : place::start;
        return false;
    }
    if (in_declarations) {
        const bool set = place_ == place::type && (equals || is_word(token, "default"));
        declares(token);
        place_ = set ? place::value : place_;
        return set;
    }
    const bool after_option = // #variable_conflict use_column
        is_word(before_, "variable_conflict") || is_word(before_, "print_strict_params");
    if (begins_statement(token)) {
        place_ = place::start;
    } else if (is_word(token, "declare") && (place_ == place::start || after_option)) {
        place_ = place::declaration;
    } else if (place_ == place::start) {
        variable_ = token.text;
        place_ = is_word(token, "call") ? place::call
                 : is_name(token)       ? place::left
                                        : place::inside;
    } else if (is_word(token, "diagnostics")) {
        place_ = place::diagnostics;
    } else if (place_ == place::call && (is_symbol(token, ',') || is_symbol(token, ')'))) {
        constexpr std::string_view in_front = "(,.>"; // of an argument that is just a variable
        const bool alone =
            before_.is == kind::symbol && in_front.find(before_.text[0]) != std::string_view::npos;
        if (alone && is_name(last_)) {
            unseen_.push_back(last_.text);
        }
    } else if (place_ == place::diagnostics && equals) {
        variable_ = is_name(last_) ? last_.text : before_.text; // =, or :=
        return true;
    } else if (place_ == place::left) {
        const bool name = is_name(token) && is_symbol(last_, '.');
        variable_ = name ? token.text : variable_;
        const bool goes_on = name || is_symbol(token, '.') || is_symbol(token, ':');
        place_ = goes_on ? place::left : place::inside;
        return equals;
    }
    return false;
}

void dynamic_sql::literal(const sql_token& token) {
    const bool first = expected_ == expected::command || expected_ == expected::assignment;
    begins_ = first || token.text.find(';') != std::string_view::npos;
    const bool assigned = expected_ == expected::assignment || building_ == expected::assignment;
    if (assigned && !is_blank(token.text)) {
        forget_end();
        if (ends_statement(token.text)) {
            ended_.push_back(assigned_);
        }
    }
}

// What the variable ended with is gone.
void dynamic_sql::forget_end() {
    std::erase_if(ended_, [&](std::string_view name) { return same_name(name, assigned_); });
}

void dynamic_sql::end_of_statement() {
    if (building_ == expected_) {
        expected_ = expected::nothing; // nothing follows
    }
    building_ = expected::nothing;
    concatenates_ = joins_ = at_boundary_ = false;
}

// || or a comma: something is put behind the latest token.
void dynamic_sql::join(bool by_operator) {
    if (by_operator && last_.is == kind::string) {
        cut_ |= of_names_begun(last_.text);
        // Nobody knows which setting.
        anything_ = anything_ || (cut_ & bit_of(pin_reason::setting)) != 0;
    }
    joins_ = joins_ || concatenates_ || by_operator;
    const bool puts_behind = by_operator || concatenates_;
    if (!puts_behind || building_ == expected::nothing) {
        return;
    }
    if (at_boundary_ || (last_.is == kind::string && ends_statement(last_.text))) {
        expected_ = building_; // what is there stands at the beginning of a statement
        at_boundary_ = false;
    }
    grows_ = grows_ || (!executed_.empty() && last_.text.data() == executed_.back().data());
}

void dynamic_sql::take(const sql_token& token) {
    const char symbol = token.is == kind::symbol ? token.text[0] : '\0';
    begins_ = false;
    if (token.is == kind::string) {
        literal(token);
    } else if (symbol == ';') {
        end_of_statement();
    } else if (symbol == '|' || symbol == ',') {
        join(symbol == '|');
    }
    if (expected_ != expected::nothing) {
        first_piece(token);
    } else if (token.is == kind::word) {
        word(token);
    }
    const bool set = sets(token);
    if (set || (symbol == '=' && is_symbol(last_, ':') && is_name(before_))) {
        expected_ = expected::assignment;
        building_ = expected::nothing;
        assigned_ = set ? variable_ : before_.text;
    }
    before_ = last_;
    last_ = token;
}

void dynamic_sql::word(const sql_token& token) {
    if (is_word(token, "execute")) {
        expected_ = expected::command;
        building_ = expected::nothing;
        executes_ = true;
    } else if (is_word(token, "into") && !is_word(last_, "insert") && !is_word(last_, "merge")) {
        expected_ = expected::targets;
    } else if (is_word(token, "for") || is_word(token, "foreach")) {
        expected_ = expected::targets;
    } else if (is_word(token, "concat")) {
        concatenates_ = true;
    }
}

bool dynamic_sql::may_do_anything() const {
    return anything_ || std::any_of(executed_.begin(), executed_.end(), [&](std::string_view name) {
               return !is_among(name, literal_) || is_among(name, unseen_);
           });
}

bool is_at_most_a_word(std::string_view text) {
    sql_lexer lexer(text);
    const auto first = lexer.next();
    return first.is == kind::end ||
           (first.is == kind::word &&
            first.text.data() + first.text.size() == text.data() + text.size());
}

} // namespace pgweir::protocol
