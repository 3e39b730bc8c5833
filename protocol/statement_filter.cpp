#include "protocol/statement_filter.hpp"

#include "protocol/sql_lexer.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace pgweir::protocol {

namespace {

using block = unsigned char __attribute__((vector_size(16)));

block load(const char* from) {
    block b;
    std::memcpy(&b, from, sizeof b);
    return b;
}

// Three letters in a row out of a word that must be noticed wherever it stands, chosen to be rare
// in other words. A fourth keeps "temp" apart from "item" and "system".
struct trigger {
    unsigned char a, b, c;
};
constexpr std::array triggers = {
    trigger{'n', 'f', 'i'}, // set_config
    trigger{'d', 'v', 'i'}, // pg_advisory_lock, pg_try_advisory_lock, …_shared
    trigger{'r', 'r', 'v'}, // currval
    trigger{'s', 't', 'v'}, // lastval
    trigger{'t', 's', 'e'}, // setseed
};
constexpr unsigned char lower_case_bit = 0x20;

// One bit in each byte of the result whose place a trigger, a semicolon or a U&"…" starts at.
block hits_in(const char* at) {
    const block raw = load(at);
    const block raw_next = load(at + 1);
    const block first = raw | lower_case_bit;
    const block second = raw_next | lower_case_bit;
    const block third = load(at + 2) | lower_case_bit;
    const block fourth = load(at + 3) | lower_case_bit;
    auto hits = (raw == ';') | ((raw == '&') & (raw_next == '"'));
    hits |= (first == 't') & (second == 'e') & (third == 'm') & (fourth == 'p'); // …, pg_temp
    hits |= (first == 'g') & (second == ('_' | lower_case_bit)) & (third == 's') &
            (fourth == 'e'); // pg_settings
    for (const auto& t : triggers) {
        hits |= (first == t.a) & (second == t.b) & (third == t.c);
    }
    block result;
    std::memcpy(&result, &hits, sizeof result);
    return result;
}

// Is there anything in the text that calls for a closer look? Leading words aside.
bool has_trigger(std::string_view sql) {
    constexpr std::size_t block_bytes = sizeof(block);
    constexpr std::size_t seen_bytes = block_bytes + 3;
    block hits{};
    std::size_t at = 0;
    for (; at + seen_bytes <= sql.size(); at += block_bytes) {
        hits |= hits_in(sql.data() + at);
    }
    std::array<char, seen_bytes> tail{};
    std::memcpy(tail.data(), sql.data() + at, sql.size() - at);
    hits |= hits_in(tail.data());
    std::array<std::uint64_t, 2> halves{};
    std::memcpy(halves.data(), &hits, sizeof hits);
    return (halves[0] | halves[1]) != 0;
}

bool is_blank(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

// The statements that leave nothing behind unless a trigger is in them, and make up nearly all of
// the traffic. `sql` starts with a word.
bool starts_harmlessly(std::string_view sql) {
    constexpr std::array<std::string_view, 12> harmless = {
        "select", "insert", "update", "delete",   "begin", "commit",
        "with",   "copy",   "fetch",  "rollback", "start", "create"};
    std::size_t length = 0;
    while (length < sql.size() && length < 9 &&
           static_cast<unsigned char>((sql[length] | lower_case_bit) - 'a') < 26) {
        ++length;
    }
    const auto word = sql.substr(0, length);
    return (length == sql.size() || is_blank(sql[length])) &&
           std::any_of(harmless.begin(), harmless.end(),
                       [word](std::string_view h) { return same_word(word, h); });
}

} // namespace

bool plainly_harmless(std::string_view sql) {
    while (!sql.empty() && is_blank(sql.front())) {
        sql.remove_prefix(1);
    }
    while (!sql.empty() && (is_blank(sql.back()) || sql.back() == ';')) {
        sql.remove_suffix(1);
    }
    return sql.empty() || (starts_harmlessly(sql) && !has_trigger(sql));
}

} // namespace pgweir::protocol
