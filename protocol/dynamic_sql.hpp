// SQL that code puts together while it runs (EXECUTE in PL/pgSQL): can be known of it what it does?
// The strings it is put together from are read like any code. A statement whose first word is not
// in a literal is taken for something that may do anything; a name of which a literal has only the
// beginning ('pg_' || 'temp.t') for every name that it may be the beginning of.
//
// Which table, column or value is put in does not matter. Which function is called would: that is
// not looked at, since nearly all such code names tables.
//
// Owner: the scan of a text, one for each body of code. Pure.
// Tests: tests/protocol/dynamic_sql_test.cpp.
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

private:
    // What the next tokens are looked at for.
    enum class expected : std::uint8_t {
        nothing,
        command,    // EXECUTE was there: the first piece of its text comes
        assignment, // v := was there: the first piece of what v is
        target,     // INTO was there: what comes is set to something that nobody sees
    };

    void first_piece(const sql_token& token);
    void settle(bool known);
    void may_be_cut(const sql_token& token);

    expected expected_ = expected::nothing;
    bool after_format_ = false;
    bool anything_ = false;
    effect_bits cut_ = 0;
    std::string_view assigned_;                                 // the variable on the left side
    sql_token before_, last_;                                   // the latest two tokens
    std::vector<std::string_view> executed_, literal_, unseen_; // variables
};

} // namespace pgweir::protocol
