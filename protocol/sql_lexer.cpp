#include "protocol/sql_lexer.hpp"

#include "protocol/double_byte_text.hpp"

#include <algorithm>
#include <array>
#include <utility>

namespace pgweir::protocol {

namespace {

enum char_class : std::uint8_t {
    other = 0,
    blank = 1,
    digit = 2,
    word_start = 4, // letters, underscore, every byte of a non-ASCII character
    dollar_sign = 8,
};

constexpr auto classes = [] {
    std::array<std::uint8_t, 256> table{};
    for (unsigned c = 0; c < 256; ++c) {
        const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (c == ' ' || (c >= '\t' && c <= '\r')) {
            table[c] = blank;
        } else if (c >= '0' && c <= '9') {
            table[c] = digit;
        } else if (letter || c == '_' || c >= 0x80) {
            table[c] = word_start;
        } else if (c == '$') {
            table[c] = dollar_sign;
        }
    }
    return table;
}();

bool is(char c, unsigned wanted) { return (classes[static_cast<unsigned char>(c)] & wanted) != 0; }

} // namespace

std::string lower_case(std::string_view text) {
    std::string out(text);
    std::transform(out.begin(), out.end(), out.begin(), [](char c) { return lower_case(c); });
    return out;
}

bool same_word(std::string_view word, std::string_view expected) {
    return word.size() == expected.size() &&
           std::equal(word.begin(), word.end(), expected.begin(),
                      [](char a, char b) { return lower_case(a) == b; });
}

// The byte there ends or escapes something, unless it is half a character.
void sql_lexer::look_behind(std::size_t position) {
    if (position != 0 && may_be_halves(sql_[position - 1], at(position))) [[unlikely]] {
        encoding_matters_ = true;
    }
}

// Block comments nest, unlike in C.
void sql_lexer::skip_block_comment() {
    unsigned depth = 0;
    do {
        if (at(position_) == '/' && at(position_ + 1) == '*') {
            ++depth;
            position_ += 2;
        } else if (at(position_) == '*' && at(position_ + 1) == '/') {
            --depth;
            position_ += 2;
        } else {
            ++position_;
        }
    } while (depth != 0 && position_ < sql_.size());
}

void sql_lexer::skip_blanks() {
    while (position_ < sql_.size()) {
        const char c = sql_[position_];
        if (is(c, blank)) {
            ++position_;
        } else if (c == '-' && at(position_ + 1) == '-') {
            const auto end = sql_.find_first_of("\r\n", position_);
            position_ = end == std::string_view::npos ? sql_.size() : end;
        } else if (c == '/' && at(position_ + 1) == '*') {
            skip_block_comment();
        } else {
            return;
        }
    }
}

sql_token sql_lexer::next() {
    skip_blanks();
    if (position_ >= sql_.size()) {
        position_ = sql_.size();
        return {};
    }
    const bool continues_escapes = std::exchange(after_escape_string_, false);
    const char c = sql_[position_];
    if (is(c, word_start)) {
        return word();
    }
    if (c == '\'') {
        auto token = quoted_string(backslash_escapes_ || continues_escapes);
        after_escape_string_ = continues_escapes;
        return token;
    }
    if (c == '"') {
        return quoted_identifier();
    }
    if (c == '$') {
        return dollar();
    }
    const auto start = position_;
    if (is(c, digit)) {
        while (is(at(position_), digit) || at(position_) == '.') {
            ++position_;
        }
        return {sql_token::kind::number, sql_.substr(start, position_ - start)};
    }
    ++position_;
    return {sql_token::kind::symbol, sql_.substr(start, 1)};
}

sql_token sql_lexer::word() {
    const auto start = position_;
    const char first = static_cast<char>(sql_[start] | 0x20);
    if (at(start + 1) == '\'' && first == 'e') {
        ++position_;
        auto token = quoted_string(true);
        after_escape_string_ = true;
        return token;
    }
    if (at(start + 1) == '\'' && (first == 'b' || first == 'x' || first == 'n')) {
        ++position_;
        return quoted_string(backslash_escapes_ && first == 'n');
    }
    if (first == 'u' && at(start + 1) == '&' && (at(start + 2) == '\'' || at(start + 2) == '"')) {
        position_ += 2;
        auto token = at(position_) == '"' ? quoted_identifier() : quoted_string(false);
        token.unicode_escapes = true;
        for (auto at = start; at < position_; ++at) {
            look_behind(at); // whatever UESCAPE makes the escape character
        }
        return token;
    }
    while (is(at(position_), word_start | digit | dollar_sign)) {
        ++position_;
    }
    look_behind(position_);
    return {sql_token::kind::word, sql_.substr(start, position_ - start)};
}

// At the opening quote.
sql_token sql_lexer::quoted_string(bool escapes) {
    const auto start = ++position_;
    while (position_ < sql_.size()) {
        const char c = sql_[position_];
        if (c == '\\') {
            backslash_seen_ = backslash_seen_ || !escapes;
            look_behind(position_);
            position_ += escapes ? 2 : 1;
        } else if (c != '\'') {
            ++position_;
        } else if (at(position_ + 1) == '\'') {
            position_ += 2;
        } else {
            ++position_;
            return {sql_token::kind::string, sql_.substr(start, position_ - start - 1)};
        }
    }
    position_ = sql_.size();
    return {sql_token::kind::string, sql_.substr(start)};
}

// At the opening quote.
sql_token sql_lexer::quoted_identifier() {
    const auto start = ++position_;
    while (position_ < sql_.size()) {
        if (sql_[position_] != '"') {
            ++position_;
        } else if (at(position_ + 1) == '"') {
            position_ += 2;
        } else {
            ++position_;
            return {sql_token::kind::quoted_identifier, sql_.substr(start, position_ - start - 1)};
        }
    }
    return {sql_token::kind::quoted_identifier, sql_.substr(start)};
}

// At a dollar sign that is not part of a word: a parameter, a dollar quote, or just itself.
sql_token sql_lexer::dollar() {
    const auto start = position_++;
    if (is(at(position_), digit)) {
        while (is(at(position_), digit)) {
            ++position_;
        }
        return {sql_token::kind::parameter, sql_.substr(start, position_ - start)};
    }
    auto end = position_;
    if (is(at(end), word_start)) {
        while (is(at(end), word_start | digit)) {
            ++end;
        }
    }
    if (at(end) != '$') {
        return {sql_token::kind::symbol, sql_.substr(start, 1)};
    }
    const auto quote = sql_.substr(start, end + 1 - start);
    const auto body = end + 1;
    const auto close = sql_.find(quote, body);
    if (close == std::string_view::npos) {
        position_ = sql_.size();
        return {sql_token::kind::string, sql_.substr(body)};
    }
    position_ = close + quote.size();
    return {sql_token::kind::string, sql_.substr(body, close - body)};
}

} // namespace pgweir::protocol
