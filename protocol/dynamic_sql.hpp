// SQL that code puts together while it runs (EXECUTE in PL/pgSQL): can be known of it what it does?
// The strings it is put together from are read like any code. A statement whose first word is not
// in a literal is taken for something that may do anything; a name of which a literal has only the
// beginning ('pg_' || 'temp.t') for every name that it may be the beginning of. A literal that ends
// in the middle of a statement ('set role ' || r) is read as if something unknown stood at its end
// (open_end()), where this says that anything is joined to literals, and executed.
//
// Variables that are executed must be declared in the code, and only literals put into them: a
// parameter has what its caller gives it. (A block that declares a variable by the name of one is
// not told from those around it.)
//
// Which table, column or value is put in does not matter. Which function is called would: that is
// not looked at, since nearly all such code names tables.
//
// Owner: the scan of a text, one for each body of code. Pure.
// Tests: tests/protocol/dynamic_sql_test.cpp, tests/protocol/cut_statement_test.cpp.
// Source: PostgreSQL documentation, "Executing Dynamic Commands".
#pragma once

#include "protocol/sql_lexer.hpp"
#include "protocol/statement_scan.hpp"

#include <cstdint>
#include <string_view>
#include <vector>

namespace pgweir::protocol {

class dynamic_sql {
public:
    /// The tokens of the code, one after another, ends of statements included.
    void take(const sql_token& token);
    /// After the last one: something is executed that cannot be known.
    [[nodiscard]] bool may_do_anything() const;
    /// What the names may do of which only the beginnings are there.
    [[nodiscard]] effect_bits of_cut_names() const { return cut_; }
    /// Of the current statement: texts are joined in it.
    [[nodiscard]] bool joins() const { return joins_; }
    /// Something is executed, so that what is joined may become a statement.
    [[nodiscard]] bool executes() const { return executes_; }
    /// … that has been joined to a variable: the literals that are put into variables may be cut.
    [[nodiscard]] bool grows() const { return grows_; }
    /// The latest token is a literal whose last statement begins in it: the first piece of a text,
    /// or the next one behind the end of a statement. (' set ' || c of an UPDATE is none.)
    [[nodiscard]] bool begins() const { return begins_; }

private:
    // What the next tokens are looked at for.
    enum class expected : std::uint8_t {
        nothing,
        command,    // EXECUTE was there: the first piece of its text comes
        assignment, // v := was there: the first piece of what v is
        targets,    // INTO or FOR was there: what comes is set to something that nobody sees
    };
    // Where the latest token is.
    enum class place : std::uint8_t {
        start,       // of a statement
        left,        // a name begins the statement, and nothing else has come: v, block.v
        diagnostics, // GET DIAGNOSTICS v = …, v = …
        call,        // CALL p(v): v may be an INOUT parameter
        inside,      // anywhere else in it
        declaration, // between DECLARE and BEGIN: a name comes, …
        type,        // … its type, …
        value,       // … and what it is
    };

    void first_piece(const sql_token& token);
    void target(const sql_token& token);
    [[nodiscard]] bool sets(const sql_token& token);
    void declares(const sql_token& token);
    [[nodiscard]] bool begins_statement(const sql_token& token) const;
    void literal(const sql_token& token);
    void forget_end();
    void end_of_statement();
    void join(bool by_operator);
    void word(const sql_token& token);
    void settle(bool known);

    place place_ = place::start;
    std::string_view variable_; // the latest that is declared, or that begins a statement
    expected expected_ = expected::nothing;
    expected building_ = expected::nothing; // what the rest of this statement is a text for
    bool after_format_ = false;
    bool concatenates_ = false; // concat() was in this statement
    bool joins_ = false;
    bool executes_ = false;
    bool grows_ = false;
    bool begins_ = false;
    bool at_boundary_ = false; // the variable that something is joined to ends a statement
    bool anything_ = false;
    effect_bits cut_ = 0;
    std::string_view assigned_; // the variable on the left side
    sql_token before_, last_;   // the latest two tokens
    std::vector<std::string_view> declared_, executed_, literal_, unseen_; // variables
    std::vector<std::string_view> ended_; // … whose latest literal ends a statement
};

/// What stands for whatever is put in behind the last token of `text`: it ends there.
[[nodiscard]] inline sql_token open_end(std::string_view text) {
    return {sql_token::kind::parameter, text.substr(text.size())};
}
/// What format() puts something in for, or an open_end().
[[nodiscard]] inline bool stands_for_anything(const sql_token& token) {
    return token.is == sql_token::kind::parameter ||
           (token.is == sql_token::kind::symbol && token.text[0] == '%');
}
/// `text` is cut within its only word, or has none: who executes that may do anything, of which
/// dynamic_sql tells. All others may have it for a value.
[[nodiscard]] bool is_at_most_a_word(std::string_view text);

} // namespace pgweir::protocol
