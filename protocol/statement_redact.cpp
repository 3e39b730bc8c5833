#include "protocol/statement_redact.hpp"

#include "protocol/sql_lexer.hpp"

#include <algorithm>
#include <array>
#include <cstdint>

namespace pgweir::protocol {

namespace {

constexpr std::string_view ellipsis = "…";
static_assert(ellipsis.size() == 3);

bool is_high(char c) { return (static_cast<unsigned char>(c) & 0x80U) != 0; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_name_start(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || is_high(c);
}
bool is_name_part(char c) { return is_name_start(c) || is_digit(c); }
bool is_space(char c) { return static_cast<unsigned char>(c) <= ' ' || c == '\x7f'; }

template <std::size_t Size>
bool is_one_of(std::string_view word, const std::array<std::string_view, Size>& all) {
    return std::any_of(all.begin(), all.end(),
                       [&](std::string_view one) { return same_word(word, one); });
}

/// Follows a text, token by token, to where a setting is given its value: SET name = or TO. There a
/// bare word and a quoted name are literals. (In UPDATE they are columns.)
class setting_values {
public:
    /// Whether this one is a value. Those that every setting knows tell nothing.
    bool word(std::string_view what) {
        constexpr std::array<std::string_view, 5> known = {"default", "on", "off", "true", "false"};
        if (at_ == place::behind_value && of_function_) {
            at_ = place::clauses;
        }
        if (at_ == place::value || at_ == place::behind_value) {
            at_ = place::behind_value;
            return !is_one_of(what, known);
        }
        at_ = behind(what);
        return false;
    }
    bool quoted_name() { return word("\"\""); }
    void literal() { (void)word("''"); }
    void symbol(char what) {
        if (what == ';') {
            at_ = place::start;
        } else if (what == '=' && at_ == place::name) {
            at_ = place::value;
        } else if (what == ',' && at_ == place::behind_value) {
            at_ = place::value;
        }
    }

private:
    enum class place : std::uint8_t {
        start,   // of a statement
        create,  // behind CREATE, OR, REPLACE
        alter,   // behind ALTER
        clauses, // of a statement in which SET sets a setting
        name,    // behind SET
        value,
        behind_value,
        elsewhere,
    };

    [[nodiscard]] place behind(std::string_view what) {
        constexpr std::array<std::string_view, 3> routines = {"function", "procedure", "routine"};
        constexpr std::array<std::string_view, 4> others = {"role", "user", "database", "system"};
        switch (at_) {
        case place::start:
            of_function_ = false;
            return same_word(what, "set")      ? place::name
                   : same_word(what, "alter")  ? place::alter
                   : same_word(what, "create") ? place::create
                                               : place::elsewhere;
        case place::create:
            if (same_word(what, "or") || same_word(what, "replace")) {
                return at_;
            }
            [[fallthrough]];
        case place::alter:
            of_function_ = is_one_of(what, routines);
            return of_function_ || (at_ == place::alter && is_one_of(what, others))
                       ? place::clauses
                       : place::elsewhere;
        case place::clauses:
            return same_word(what, "set")     ? place::name
                   : same_word(what, "begin") ? place::elsewhere // ATOMIC: the body
                                              : at_;
        case place::name:
            return same_word(what, "to") ? place::value : at_;
        case place::value:
        case place::behind_value:
        case place::elsewhere:
            break;
        }
        return at_;
    }

    place at_ = place::start;
    bool of_function_ = false; // other clauses may follow a value
};

class redactor {
public:
    redactor(std::string_view statement, std::size_t max_bytes)
        : text_(statement.substr(0, statement.find('\0')))
        , max_bytes_(std::max(max_bytes, ellipsis.size()))
        , has_high_bytes_(std::any_of(text_.begin(), text_.end(), is_high)) {}

    std::string run() {
        while (at_ < text_.size() && !lost_ && out_.size() <= max_bytes_) {
            step();
        }
        return finish();
    }

private:
    [[nodiscard]] char peek(std::size_t ahead = 0) const {
        return at_ + ahead < text_.size() ? text_[at_ + ahead] : '\0';
    }

    void step() {
        const char c = peek();
        if (is_space(c)) {
            gap_ = true;
            ++at_;
        } else if (c == '-' && peek(1) == '-') {
            line_comment();
        } else if (c == '/' && peek(1) == '*') {
            block_comment();
        } else if (c == '\'') {
            string(backslash::depends);
        } else if (c == '"') {
            quoted_name();
        } else if (c == '$') {
            dollar();
        } else if (c == '.' && peek(1) == '.') { // a range, whose end would look like .5
            emit("..");
            at_ += 2;
        } else if (is_digit(c) || (c == '.' && is_digit(peek(1)))) {
            number();
        } else if (is_name_start(c)) {
            name();
        } else {
            settings_.symbol(c);
            emit(text_.substr(at_, 1));
            ++at_;
        }
    }

    void emit(std::string_view what) {
        if (gap_ && !out_.empty()) {
            out_ += ' ';
        }
        gap_ = false;
        out_ += what;
    }

    void emit_literal() {
        settings_.literal();
        emit("?");
    }

    /// Where the next token begins is no longer certain.
    void give_up() { lost_ = true; }

    void line_comment() {
        at_ = std::min(text_.find_first_of("\r\n", at_), text_.size());
        gap_ = true;
    }

    void block_comment() { // they nest
        std::size_t depth = 0;
        do {
            if (peek() == '/' && peek(1) == '*') {
                ++depth;
                at_ += 2;
            } else if (peek() == '*' && peek(1) == '/') {
                --depth;
                at_ += 2;
            } else {
                ++at_;
            }
        } while (depth > 0 && at_ < text_.size());
        gap_ = true;
        if (depth > 0) {
            give_up();
        }
    }

    enum class backslash {
        escapes, // E'…'
        depends, // '…': on standard_conforming_strings, which we do not know
    };

    // `at_` is at the opening quote.
    void string(backslash meaning) {
        emit_literal();
        ++at_;
        for (;;) {
            const auto quote = text_.find('\'', at_);
            if (quote == std::string_view::npos) {
                at_ = text_.size();
                lost_ = true;
                return;
            }
            auto before = quote;
            while (before > at_ && text_[before - 1] == '\\') {
                --before;
            }
            const auto backslashes = quote - before;
            const bool odd = backslashes % 2 != 0;
            // In some client encodings a backslash can be the second byte of a character.
            if ((backslashes > 0 && has_high_bytes_) || (odd && meaning == backslash::depends)) {
                give_up();
                return;
            }
            at_ = quote + 1;
            if (odd) {
                continue; // \' inside E'…'
            }
            if (peek() == '\'') {
                ++at_;
                continue;
            }
            return;
        }
    }

    void quoted_name() {
        for (auto end = text_.find('"', at_ + 1);; end = text_.find('"', end + 2)) {
            if (end == std::string_view::npos) {
                give_up();
                return;
            }
            if (end + 1 >= text_.size() || text_[end + 1] != '"') {
                emit(settings_.quoted_name() ? "?" : text_.substr(at_, end + 1 - at_));
                at_ = end + 1;
                return;
            }
        }
    }

    // $1, $tag$…$tag$, $$…$$. Nothing else begins with a dollar sign.
    void dollar() {
        auto end = at_ + 1;
        if (is_digit(peek(1))) {
            end = skip_digits(end);
            constexpr std::size_t longest_parameter = 5; // 65535 is PostgreSQL's last
            const bool parameter = end - at_ - 1 <= longest_parameter;
            emit(parameter ? text_.substr(at_, end - at_) : "?");
            at_ = end;
            return;
        }
        while (end < text_.size() && is_name_part(text_[end])) {
            ++end;
        }
        if (end >= text_.size() || text_[end] != '$') {
            give_up();
            return;
        }
        const auto tag = text_.substr(at_, end + 1 - at_);
        emit_literal();
        const auto close = text_.find(tag, end + 1);
        if (close == std::string_view::npos) {
            give_up();
            return;
        }
        at_ = close + tag.size();
    }

    std::size_t skip_digits(std::size_t from) const {
        while (from < text_.size() && is_digit(text_[from])) {
            ++from;
        }
        return from;
    }

    // 42, 4.2, .5, 1e-9, 0xff, 1_000, and whatever letters are glued to one.
    void number() {
        emit_literal();
        while (at_ < text_.size()) {
            const char c = peek();
            const bool exponent =
                (c == 'e' || c == 'E') && (peek(1) == '+' || peek(1) == '-') && is_digit(peek(2));
            if (exponent) {
                at_ += 2;
            } else if (c == '.' && peek(1) == '.') {
                return; // 1..10
            } else if (is_name_part(c) || c == '.') {
                ++at_;
            } else {
                return;
            }
        }
    }

    void name() {
        auto end = at_;
        while (end < text_.size() && (is_name_part(text_[end]) || text_[end] == '$')) {
            ++end;
        }
        const auto word = text_.substr(at_, end - at_);
        const char next = end < text_.size() ? text_[end] : '\0';
        if (word.size() == 1 && next == '\'') {
            const char prefix = static_cast<char>(word[0] | 0x20);
            if (prefix == 'e') {
                at_ = end;
                string(backslash::escapes);
                return;
            }
            if (prefix == 'b' || prefix == 'x' || prefix == 'n') {
                at_ = end;
                string(backslash::depends);
                return;
            }
        }
        if ((word == "U" || word == "u") && next == '&' && end + 1 < text_.size() &&
            text_[end + 1] == '\'') {
            at_ = end + 1;
            string(backslash::depends);
            return;
        }
        emit(settings_.word(word) ? "?" : word);
        at_ = end;
    }

    std::string finish() {
        const bool cut = lost_ || at_ < text_.size() || out_.size() > max_bytes_;
        if (!cut) {
            return std::move(out_);
        }
        const auto room = max_bytes_ - ellipsis.size();
        if (out_.size() > room) {
            auto end = room; // not in the middle of a UTF-8 sequence
            while (end > 0 && (static_cast<unsigned char>(out_[end]) & 0xc0U) == 0x80U) {
                --end;
            }
            out_.resize(end);
        }
        out_ += ellipsis;
        return std::move(out_);
    }

    std::string_view text_;
    std::size_t max_bytes_;
    bool has_high_bytes_;
    std::size_t at_ = 0;
    bool gap_ = false;  // white space is due before the next token
    bool lost_ = false; // the rest is left out
    setting_values settings_;
    std::string out_;
};

} // namespace

std::string redact_statement(std::string_view statement, std::size_t max_bytes) {
    return redactor(statement, max_bytes).run();
}

} // namespace pgweir::protocol
