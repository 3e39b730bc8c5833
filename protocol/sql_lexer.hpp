// Splits SQL text into tokens the way PostgreSQL's scanner does, as far as it takes to know where a
// word is a word and not part of a string, a quoted identifier, a dollar quote or a comment.
//
// Pure, no copies: tokens are views into the text. Tests: tests/protocol/sql_lexer_test.cpp.
// Source: PostgreSQL documentation, "Lexical Structure"; src/backend/parser/scan.l.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace pgweir::protocol {

struct sql_token {
    enum class kind : std::uint8_t {
        end,
        word,              // a keyword or an unquoted identifier, as written
        quoted_identifier, // what stands between the quotes, doubled quotes not undone
        string,            // '…' of any sort or $tag$…$tag$: what stands between the quotes
        number,
        parameter, // $1
        symbol,    // one character of anything else
    };
    kind is = kind::end;
    std::string_view text;
    bool unicode_escapes = false; // U&"…" or U&'…'
};

/// As PostgreSQL folds keywords, identifiers and the names of settings: A to Z alone.
[[nodiscard]] constexpr char lower_case(char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}
[[nodiscard]] std::string lower_case(std::string_view text);

/// `word`, in any case, is `expected`, which is in lower case.
[[nodiscard]] bool same_word(std::string_view word, std::string_view expected);

class sql_lexer {
public:
    /// `backslash_escapes`: standard_conforming_strings is off, so that a backslash in '…' escapes
    /// the next character, as it always does in E'…'.
    explicit sql_lexer(std::string_view sql, bool backslash_escapes = false)
        : sql_(sql)
        , backslash_escapes_(backslash_escapes) {}

    /// The next token. After the end: `end`, again and again. What is cut off ends with the text.
    [[nodiscard]] sql_token next();

    /// A '…' with a backslash in it has been seen: where strings end depends on the setting.
    [[nodiscard]] bool backslash_seen() const { return backslash_seen_; }

    /// An ASCII byte that ends something, or escapes, has been seen behind one that is none: it may
    /// be half a character, so that what there is depends on the encoding (double_byte_text.hpp).
    [[nodiscard]] bool encoding_matters() const { return encoding_matters_; }

private:
    [[nodiscard]] char at(std::size_t position) const {
        return position < sql_.size() ? sql_[position] : '\0';
    }
    void look_behind(std::size_t position);
    void skip_blanks();
    void skip_block_comment();
    [[nodiscard]] sql_token word();
    [[nodiscard]] sql_token quoted_string(bool escapes);
    [[nodiscard]] sql_token quoted_identifier();
    [[nodiscard]] sql_token dollar();

    std::string_view sql_;
    std::size_t position_ = 0;
    bool backslash_escapes_;
    bool backslash_seen_ = false;
    bool encoding_matters_ = false;
    bool after_escape_string_ = false; // E'…' goes on in a '…' on the next line, with its escapes
};

} // namespace pgweir::protocol
