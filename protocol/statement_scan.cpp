#include "protocol/statement_scan.hpp"

#include "protocol/double_byte_text.hpp"
#include "protocol/dynamic_sql.hpp"
#include "protocol/name_effects.hpp"
#include "protocol/reading_context.hpp"
#include "protocol/session_state.hpp"
#include "protocol/sql_lexer.hpp"
#include "protocol/statement_filter.hpp"
#include "protocol/statement_words.hpp"
#include "protocol/unicode_escapes.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <utility>

namespace pgweir::protocol {

namespace {

using namespace statement_words;

constexpr unsigned max_depth = 4;

class statement_reader {
public:
    statement_reader(std::string_view sql, bool backslash_escapes, unsigned depth,
                     const name_effects* names)
        : sql_(sql)
        , backslash_escapes_(backslash_escapes)
        , depth_(depth)
        , names_(names) {}

    void read();
    [[nodiscard]] effect_bits pins() const;
    [[nodiscard]] bool backslash_seen() const { return backslash_seen_; }
    [[nodiscard]] bool encoding_matters() const { return encoding_matters_; }

private:
    void pin(pin_reason reason) { pins_ |= bit_of(reason); }
    void read_token(const sql_token& token);
    void read_escaped(sql_token token, sql_lexer& lexer);
    void leading_word(std::string_view word);
    void second_token(const sql_token& token);
    void read_set(const sql_token& token);
    void creates(std::string_view what);
    void word_anywhere(std::string_view word);
    void name_anywhere(std::string_view name, bool quoted);
    void temporary(std::string_view word);
    void hidden_by(std::string_view name);
    void read_quoted(const sql_token& token);
    void read_inside(std::string_view text);
    void something_put_in(const sql_token& token);
    [[nodiscard]] effect_bits of_open_end() const;
    void end_of_joining();
    void call_argument(const sql_token& token);
    void end_of_argument();
    void end_of_call();
    void end_of_statement();

    // What the beginning of the current statement says so far.
    enum class opening : std::uint8_t {
        none,    // nothing has come yet
        set,     // SET: the next word tells
        set_for, // SET SESSION or SET LOCAL
        set_seed,
        set_local, // SET LOCAL, and the first word of a setting that matters_to_reading()
        prepare,   // PREPARE: TRANSACTION may follow
        prepare_transaction,
        prepared, // PREPARE and its name have come
        declare,  // DECLARE: WITH HOLD may follow
        code,     // DO, CREATE FUNCTION: its strings are code
        create,   // CREATE: FUNCTION may follow
        other,
    };

    std::string_view sql_;
    bool backslash_escapes_;
    unsigned depth_; // of strings in DO blocks; inside them PL/pgSQL's block words start statements
    const name_effects* names_;
    effect_bits pins_ = 0;
    effect_bits pins_on_write_ = 0; // … if it writes
    bool writes_ = false;
    bool defines_ = false;         // CREATE or ALTER is in it, of what is not temporary
    bool extends_ = false;         // … of an extension, or a function in C
    bool transaction_only_ = true; // nothing is in it but BEGIN, COMMIT and their like
    bool does_ = false;            // the current statement is DO
    bool done_ = false;            // the text is what a DO in a string does
    dynamic_sql dynamic_;          // where it is code
    // Of literals that may not be all of what is executed.
    effect_bits when_cut_ = 0;      // this text is one
    effect_bits literals_cut_ = 0;  // those of the current statement
    effect_bits when_executed_ = 0; // something is joined to them
    effect_bits when_grown_ = 0;    // … to a variable that they are in
    bool backslash_seen_ = false;
    bool encoding_matters_ = false;
    opening opening_ = opening::none;
    std::string_view previous_;         // the previous token, if it was a word
    bool temporary_may_follow_ = false; // after CREATE or INTO and their modifiers
    bool updates_ = false;              // UPDATE has come
    effect_bits set_aside_ = 0;         // while a PREPARE is read: what came before it

    // A call of a function whose arguments decide.
    struct decided_call {
        const known_function* open = nullptr;
        unsigned depth = 0; // of parentheses
        unsigned argument = 0;
        unsigned tokens = 0; // in this argument
        bool just_true = false, just_false = false;
        bool leaves_nothing = false, leaves_something = false; // as far as has been seen
        bool matters = true; // to how texts are read, as far as the first argument tells
    };
    decided_call call_;
};

void statement_reader::leading_word(std::string_view word) {
    constexpr std::array<std::pair<std::string_view, opening>, 6> openings = {{
        {"create", opening::create},
        {"alter", opening::create},
        {"set", opening::set},
        {"prepare", opening::prepare},
        {"declare", opening::declare},
        {"do", opening::code},
    }};
    opening_ = opening::other;
    does_ = same_word(word, "do");
    for (const auto& [name, what] : openings) {
        opening_ = same_word(word, name) ? what : opening_;
    }
    for (const auto& [name, effect] : effects_of_leading_words) {
        pins_ |= same_word(word, name) ? effect : effect_bits{0};
    }
    if (opening_ == opening::prepare) {
        set_aside_ = std::exchange(pins_, effect_bits{0});
    }
    if (names_ != nullptr) {
        constexpr std::array<std::string_view, 8> harmless = {
            "begin", "start", "commit", "end", "rollback", "savepoint", "release", "show"};
        transaction_only_ = transaction_only_ && std::any_of(harmless.begin(), harmless.end(),
                                                             [word](std::string_view known) {
                                                                 return same_word(word, known);
                                                             });
    }
}

// The token behind SET, SET SESSION or SET LOCAL, or behind the seed in one of them.
void statement_reader::read_set(const sql_token& token) {
    const bool word = token.is == sql_token::kind::word;
    const bool name = word || token.is == sql_token::kind::quoted_identifier;
    if (opening_ == opening::set_seed) {
        if (token.text != ".") { // seed.x is another setting
            pin(pin_reason::random_seed);
        }
        opening_ = opening::other;
        return;
    }
    if (opening_ == opening::set_local) {
        pins_ |= token.text != "." ? sets_for_transaction : effect_bits{0};
        opening_ = opening::other;
        return;
    }
    const bool has_scope = opening_ == opening::set_for;
    const bool local = word && same_word(token.text, "local");
    const bool transaction_only =
        local ||
        (word && (same_word(token.text, "transaction") || same_word(token.text, "constraints")));
    if (!has_scope && !transaction_only) {
        pin(pin_reason::setting);
    }
    const bool local_scope =
        has_scope && same_word(previous_, "local") && (!name || matters_to_reading(token.text));
    const bool scope = !has_scope && (local || (word && same_word(token.text, "session")));
    opening_ = scope                                 ? opening::set_for
               : name && same_word(token.text, seed) ? opening::set_seed
               : local_scope                         ? opening::set_local
                                                     : opening::other;
}

// The token behind SET or PREPARE, or behind PREPARE TRANSACTION.
void statement_reader::second_token(const sql_token& token) {
    const bool word = token.is == sql_token::kind::word;
    if (opening_ == opening::set || opening_ == opening::set_for || opening_ == opening::set_seed ||
        opening_ == opening::set_local) {
        read_set(token);
    } else if (opening_ == opening::prepare) {
        if (word && same_word(token.text, "transaction")) {
            opening_ = opening::prepare_transaction;
        } else {
            pin(pin_reason::sql_statement);
            opening_ = opening::prepared;
        }
    } else if (opening_ == opening::prepare_transaction) {
        opening_ = opening::other;
        if (token.is != sql_token::kind::string) {
            pin(pin_reason::sql_statement); // a statement whose name is "transaction"
            opening_ = opening::prepared;
        }
    } else if (opening_ == opening::create && word) {
        creates(token.text);
    }
}

// The word behind CREATE, OR REPLACE or ALTER.
void statement_reader::creates(std::string_view what) {
    if (same_word(what, "or") || same_word(what, "replace")) {
        return;
    }
    const bool has_code = same_word(what, "function") || same_word(what, "procedure");
    const bool temporary = same_word(what, "temp") || same_word(what, "temporary") ||
                           same_word(what, "local") || same_word(what, "global");
    opening_ = has_code ? opening::code : opening::other;
    extends_ = extends_ || same_word(what, "extension");
    defines_ = defines_ || !temporary;
}

// What the name hides, be it a function's, a table's or whatever else is called so.
void statement_reader::hidden_by(std::string_view name) {
    if (const auto* const hidden = names_->find(name); hidden != nullptr) {
        pins_ |= hidden->always.bits;
        pins_on_write_ |= hidden->on_write.bits;
    }
    if (!writes_) {
        constexpr std::array<std::string_view, 6> writing = {"insert", "update", "delete",
                                                             "merge",  "copy",   "truncate"};
        writes_ = std::any_of(writing.begin(), writing.end(),
                              [name](std::string_view word) { return same_word(name, word); });
    }
}

void statement_reader::name_anywhere(std::string_view name, bool quoted) {
    for (const auto& function : functions) {
        if (quoted ? name == function.name : same_word(name, function.name)) {
            if (function.when != leaves::always && call_.open == nullptr) {
                call_.open = &function;
            } else {
                pins_ |= function.effect;
            }
            return;
        }
    }
    if (updates_ && (quoted ? name == settings_view : same_word(name, settings_view))) {
        pin(pin_reason::setting);
        return;
    }
    const auto front = name.substr(0, temporary_schema.size());
    if (quoted ? front == temporary_schema : same_word(front, temporary_schema)) {
        pin(pin_reason::temporary_object);
    }
}

// CREATE [OR REPLACE] [LOCAL | GLOBAL] TEMP …, INTO [LOCAL | GLOBAL] TEMP …
void statement_reader::temporary(std::string_view word) {
    if (same_word(word, "create")) {
        temporary_may_follow_ = true;
        return;
    }
    if (same_word(word, "into")) {
        // INSERT INTO temp means a table of that name.
        temporary_may_follow_ = !same_word(previous_, "insert") && !same_word(previous_, "merge");
        return;
    }
    if (!temporary_may_follow_) {
        return;
    }
    if (same_word(word, "temp") || same_word(word, "temporary")) {
        pin(pin_reason::temporary_object);
    }
    temporary_may_follow_ = same_word(word, "or") || same_word(word, "replace") ||
                            same_word(word, "local") || same_word(word, "global");
}

void statement_reader::word_anywhere(std::string_view word) {
    if (names_ != nullptr) {
        hidden_by(word);
    }
    if (!may_interest(word)) {
        temporary_may_follow_ = false;
        return;
    }
    temporary(word);
    name_anywhere(word, false);
    updates_ = updates_ || same_word(word, "update");
    if (opening_ == opening::declare && same_word(word, "hold") && same_word(previous_, "with")) {
        pin(pin_reason::held_cursor);
    }
    if (depth_ != 0 && (same_word(word, "begin") || same_word(word, "then") ||
                        same_word(word, "else") || same_word(word, "loop"))) {
        end_of_statement();
    }
}

// A string in a DO block is code, or may become code (EXECUTE).
void statement_reader::read_inside(std::string_view text) {
    if (depth_ == max_depth) {
        pin(pin_reason::large_statement);
        return;
    }
    statement_reader inner(text, backslash_escapes_, depth_ + 1, names_);
    inner.done_ = does_ && depth_ != 0;
    inner.read();
    pins_ |= inner.pins_;
    pins_on_write_ |= inner.pins_on_write_;
    writes_ = writes_ || inner.writes_;
    defines_ = defines_ || inner.defines_;
    extends_ = extends_ || inner.extends_;
    backslash_seen_ = backslash_seen_ || inner.backslash_seen();
    encoding_matters_ = encoding_matters_ || inner.encoding_matters();
    literals_cut_ |= dynamic_.begins() ? inner.when_cut_ : effect_bits{0};
}

// What the rest of the current statement may be, when nobody knows what follows.
effect_bits statement_reader::of_open_end() const {
    constexpr auto setting = bit_of(pin_reason::setting);
    constexpr auto temporary = bit_of(pin_reason::temporary_object);
    switch (opening_) {
    case opening::set:
        return setting;
    case opening::set_for:
        return same_word(previous_, "local") ? sets_for_transaction : setting;
    case opening::set_seed:
        return bit_of(pin_reason::random_seed);
    case opening::set_local:
        return sets_for_transaction;
    case opening::prepare:
    case opening::prepare_transaction:
    case opening::prepared:
        return bit_of(pin_reason::sql_statement) | prepares_something;
    case opening::declare:
        return bit_of(pin_reason::held_cursor);
    case opening::code:
        return does_ ? bit_of(pin_reason::large_statement) | setting : effect_bits{0};
    case opening::create:
        return temporary;
    case opening::other: // 'set transaction' || '_timeout …' sets one of the session's
        return (temporary_may_follow_ ? temporary : effect_bits{0}) |
               (same_word(previous_, "transaction") && sql_.ends_with(previous_) ? setting
                                                                                 : effect_bits{0});
    case opening::none:
        break; // dynamic_sql tells
    }
    return 0;
}

// format() may put anything in here.
void statement_reader::something_put_in(const sql_token& token) {
    const auto behind = static_cast<std::size_t>(token.text.data() - sql_.data()) + 1;
    const bool has_format = // x%type has none
        behind < sql_.size() &&
        std::string_view("sIL123456789-;").find(sql_[behind]) != std::string_view::npos;
    const bool matters = opening_ == opening::code || opening_ == opening::create ||
                         (opening_ == opening::prepared && same_word(previous_, "as")) ||
                         opening_ == opening::declare || temporary_may_follow_;
    pins_ |= has_format && matters ? of_open_end() : effect_bits{0};
}

void statement_reader::read_quoted(const sql_token& token) {
    const bool code = opening_ == opening::code || depth_ != 0;
    if (token.is == sql_token::kind::quoted_identifier) {
        name_anywhere(token.text, true);
        if (names_ != nullptr) {
            hidden_by(token.text);
        }
    }
    if (code) {
        read_inside(token.text);
    }
    temporary_may_follow_ = false;
}

void statement_reader::end_of_argument() {
    auto& call = call_;
    if (call.argument == 2 && call.tokens != 0) {
        const bool just_one = call.tokens == 1;
        call.leaves_nothing = just_one && call.just_true;
        call.leaves_something = call.leaves_something || !just_one || !call.just_false;
    }
    ++call.argument;
    call.tokens = 0;
}

void statement_reader::end_of_call() {
    const bool pins = call_.open->when == leaves::unless_true
                          ? call_.argument != 3 || !call_.leaves_nothing
                          : call_.leaves_something;
    pins_ |= pins ? call_.open->effect : effect_bits{0};
    if (call_.open->when == leaves::unless_true && !pins && call_.matters) {
        pins_ |= sets_for_transaction;
    }
    call_ = {};
}

// A token after the name of such a function.
void statement_reader::call_argument(const sql_token& token) {
    auto& call = call_;
    const bool word = token.is == sql_token::kind::word;
    const char symbol = token.is == sql_token::kind::symbol ? token.text[0] : '\0';
    const bool sets = call.open->when == leaves::unless_true;
    if (sets && call.argument == 0 && token.is == sql_token::kind::string &&
        same_word(token.text, seed)) {
        pin(pin_reason::random_seed);
    }
    if (call.argument == 0 && call.depth != 0 && symbol != ',') {
        const bool alone = call.tokens == 0 && token.is == sql_token::kind::string;
        call.matters = !alone || matters_to_reading(token.text);
    }
    call.leaves_something =
        call.leaves_something || same_word(token.text, "temporary") || token.unicode_escapes;
    if (symbol == '(') {
        ++call.depth;
    } else if (symbol == ')' && call.depth != 0) {
        --call.depth;
    }
    if (call.depth == 0) {
        end_of_argument();
        end_of_call();
    } else if (symbol == ',' && call.depth == 1) {
        end_of_argument();
    } else if (symbol != '(' || call.depth != 1) {
        ++call.tokens;
        call.just_true = word && same_word(token.text, "true");
        call.just_false = word && same_word(token.text, "false");
    }
}

void statement_reader::end_of_statement() {
    if (call_.open != nullptr) {
        pins_ |= call_.open->effect;
    }
    call_ = {};
    if (opening_ == opening::prepared &&
        (pins_ & ~(only_about_channels | lists_statements)) != bit_of(pin_reason::sql_statement)) {
        pins_ |= prepares_something;
    }
    pins_ |= std::exchange(set_aside_, effect_bits{0});
    opening_ = opening::none;
    previous_ = {};
    does_ = false;
    temporary_may_follow_ = false;
    updates_ = false;
}

void statement_reader::end_of_joining() {
    (dynamic_.joins() ? when_executed_ : when_grown_) |= literals_cut_;
    literals_cut_ = 0;
}

void statement_reader::read_token(const sql_token& token) {
    if (call_.open != nullptr) {
        call_argument(token);
    }
    const bool word = token.is == sql_token::kind::word;
    if (opening_ == opening::code && same_word(previous_, "language") &&
        same_word(token.text, "c")) {
        extends_ = true;
    }
    if (opening_ == opening::none) {
        opening_ = opening::other;
        if (word) {
            leading_word(token.text);
        } else if (done_ && stands_for_anything(token)) {
            pins_ |= bit_of(pin_reason::large_statement) | bit_of(pin_reason::setting);
        }
    } else {
        second_token(token);
    }
    switch (token.is) {
    case sql_token::kind::word:
        word_anywhere(token.text);
        break;
    case sql_token::kind::quoted_identifier:
    case sql_token::kind::string:
        read_quoted(token);
        break;
    case sql_token::kind::symbol:
        if (depth_ != 0 && stands_for_anything(token)) {
            something_put_in(token);
        }
        [[fallthrough]];
    case sql_token::kind::number:
    case sql_token::kind::parameter:
    case sql_token::kind::end:
        temporary_may_follow_ = false;
        break;
    }
    previous_ = word ? token.text : std::string_view{};
}

// U&"…" or U&'…'
void statement_reader::read_escaped(sql_token token, sql_lexer& lexer) {
    const auto text = take_unescaped(token, lexer);
    if (text) {
        token.text = *text;
    } else if (token.is == sql_token::kind::quoted_identifier || opening_ == opening::code ||
               depth_ != 0) {
        pin(pin_reason::large_statement); // it may say anything
    }
    read_token(token);
}

void statement_reader::read() {
    sql_lexer lexer(sql_, backslash_escapes_);
    for (auto token = lexer.next(); token.is != sql_token::kind::end; token = lexer.next()) {
        const bool ends = token.is == sql_token::kind::symbol && token.text == ";";
        if (depth_ != 0) {
            if (ends) {
                end_of_joining();
            }
            dynamic_.take(token);
        }
        if (ends) {
            end_of_statement();
        } else if (token.unicode_escapes) [[unlikely]] {
            read_escaped(token, lexer);
        } else {
            read_token(token);
        }
    }
    if (depth_ > 1 && !is_at_most_a_word(sql_)) {
        when_cut_ = of_open_end();
    }
    end_of_joining();
    end_of_statement();
    backslash_seen_ = backslash_seen_ || lexer.backslash_seen();
    encoding_matters_ = encoding_matters_ || lexer.encoding_matters();
    pins_ |= dynamic_.of_cut_names();
    pins_ |= dynamic_.executes() ? when_executed_ : effect_bits{0};
    pins_ |= dynamic_.executes() && dynamic_.grows() ? when_grown_ : effect_bits{0};
    if (depth_ != 0 && dynamic_.may_do_anything()) {
        pin(pin_reason::large_statement);
        pin(pin_reason::setting);
    }
}

effect_bits statement_reader::pins() const {
    auto pins = static_cast<unsigned>(pins_);
    if (names_ != nullptr) {
        pins |= writes_ ? pins_on_write_ : 0U;
        pins |= transaction_only_ ? 0U : names_->of_all().bits;
    }
    const bool leaves =
        (pins & (pin_reasons | reads_sequences | speaks_of_channels | lists_statements) &
         ~static_cast<unsigned>(pin_reason::temporary_object)) != 0;
    if (defines_ && (leaves || pins_on_write_ != 0 || extends_)) {
        pins |= changes_names;
    }
    return static_cast<effect_bits>(pins);
}

struct close_look {
    effect_bits effects = 0;
    bool encoding_matters = false;
};

close_look look_closely(std::string_view sql, unsigned depth, const name_effects* names) {
    statement_reader reader(sql, false, depth, names);
    reader.read();
    close_look found{reader.pins(), reader.encoding_matters()};
    if (reader.backslash_seen()) {
        // Where strings end depends on standard_conforming_strings, which is not known here.
        statement_reader other_reading(sql, true, depth, names);
        other_reading.read();
        found.effects |= other_reading.pins();
        found.encoding_matters = found.encoding_matters || other_reading.encoding_matters();
    }
    return found;
}

// What a client sends is in an encoding that is not known here, either.
effect_bits read_closely(std::string_view sql, const name_effects* names) {
    auto [effects, encoding_matters] = look_closely(sql, 0, names);
    if (encoding_matters) [[unlikely]] {
        for (const auto& reading : double_byte_readings(sql)) {
            effects |= look_closely(reading, 0, names).effects;
        }
    }
    return effects;
}

} // namespace

// It comes in the server's encoding, which is none of those.
effect_bits scan_code(std::string_view code) { return look_closely(code, 1, nullptr).effects; }

effect_bits scan(std::string_view sql, bool complete, const name_effects* names) {
    effect_bits pins = 0;
    const auto* const relevant = names != nullptr && names->may_be_in(sql) ? names : nullptr;
    if (relevant != nullptr || !plainly_harmless(sql)) {
        pins = read_closely(sql, relevant);
    }
    if (!complete) {
        pins |= static_cast<effect_bits>(pin_reason::large_statement);
    }
    return pins;
}

} // namespace pgweir::protocol
