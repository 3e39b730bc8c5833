#include "protocol/unicode_escapes.hpp"

#include <charconv>
#include <cstdint>
#include <string_view>

namespace pgweir::protocol {

namespace {

constexpr std::uint32_t largest_code = 0x10ffff;

void append_utf8(std::string& out, std::uint32_t code) {
    const auto put = [&out](std::uint32_t byte) { out += static_cast<char>(byte); };
    const auto continuation = [&](unsigned shift) { put(0x80U | (code >> shift & 0x3fU)); };
    if (code < 0x80) {
        put(code);
    } else if (code < 0x800) {
        put(0xc0U | code >> 6U);
        continuation(0);
    } else if (code < 0x10000) {
        put(0xe0U | code >> 12U);
        continuation(6);
        continuation(0);
    } else {
        put(0xf0U | code >> 18U);
        continuation(12);
        continuation(6);
        continuation(0);
    }
}

// Behind an escape character: XXXX or +XXXXXX, taken off the text.
std::optional<std::uint32_t> take_code(std::string_view& text) {
    std::size_t digits = 4;
    if (text.starts_with('+')) {
        text.remove_prefix(1);
        digits = 6;
    }
    if (text.size() < digits) {
        return std::nullopt;
    }
    std::uint32_t code = 0;
    const auto* const end = text.data() + digits;
    const auto read = std::from_chars(text.data(), end, code, 16);
    if (read.ec != std::errc() || read.ptr != end || code == 0 || code > largest_code) {
        return std::nullopt;
    }
    text.remove_prefix(digits);
    return code;
}

// The halves of a surrogate pair become two characters instead of one: no name that anybody looks
// for has either.
std::optional<std::string> unescaped(std::string_view text, char escape) {
    std::string out;
    out.reserve(text.size());
    while (!text.empty()) {
        const char c = text[0];
        text.remove_prefix(1);
        if (c != escape) {
            out += c;
        } else if (text.starts_with(escape)) {
            out += escape;
            text.remove_prefix(1);
        } else if (const auto code = take_code(text)) {
            append_utf8(out, *code);
        } else {
            return std::nullopt;
        }
    }
    return out;
}

} // namespace

std::optional<std::string> take_unescaped(const sql_token& token, sql_lexer& behind) {
    char escape = '\\';
    auto ahead = behind;
    const auto word = ahead.next();
    if (word.is == sql_token::kind::word && same_word(word.text, "uescape")) {
        const auto given = ahead.next();
        if (given.is != sql_token::kind::string || given.text.size() != 1) {
            return std::nullopt;
        }
        escape = given.text[0];
        behind = ahead;
    }
    return unescaped(token.text, escape);
}

} // namespace pgweir::protocol
