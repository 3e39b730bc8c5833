#include "protocol/statement_filter.hpp"

#include "protocol/sql_lexer.hpp"

#include <algorithm>
#include <array>
#include <bit>
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

// First look --------------------------------------------------------------------------------------
//
// Of words of seven letters or more, any four bytes of the text that stand at a multiple of four
// hold four letters in a row, wherever the word begins: so every fourth place is looked at, with a
// table.

constexpr unsigned char lower_case_bit = 0x20;
constexpr std::size_t quad_bytes = 4;

std::uint32_t load_quad(const char* from) {
    std::uint32_t quad = 0;
    std::memcpy(&quad, from, sizeof quad);
    return quad | 0x20202020;
}

// Seven letters of each word that must be noticed wherever it stands.
constexpr std::array<std::string_view, 16> long_words = {
    "_config", // set_config
    "advisor", // pg_advisory_lock, pg_try_advisory_lock, …_shared
    "currval", "lastval", "setseed",
    "pg_sett", // pg_settings
    "pg_noti", // pg_notify
    "pg_list", // pg_listening_channels
    "pg_prep", // pg_prepared_statements
    "ckup_st", // pg_backup_start, …
    "rt_back", // … pg_start_backup
    "on_orig", // pg_replication_origin_session_setup
    "on_slot", // pg_create_physical_replication_slot and its like
    "_to_xml", // query_to_xml and its like
    "ts_stat", "ts_rewr",
};

// Their quads, each in the place that its product with `factor` begins with.
struct quad_table {
    static constexpr unsigned place_bits = 9; // with fewer, clang gives up looking for a factor
    std::array<std::uint32_t, 1U << place_bits> quads{}; // 0: none
    std::uint32_t factor = 0;

    [[nodiscard]] constexpr std::size_t place_of(std::uint32_t quad) const {
        return (quad * factor) >> (32 - place_bits);
    }
    [[nodiscard]] bool has(std::uint32_t quad) const { return quads[place_of(quad)] == quad; }
};

// False: with this factor two of them have the same place.
constexpr bool fill(quad_table& table, std::uint32_t factor) {
    table = {{}, factor};
    for (const auto word : long_words) {
        for (std::size_t at = 0; at + quad_bytes <= word.size(); ++at) {
            std::array<char, quad_bytes> letters{};
            for (std::size_t i = 0; i < quad_bytes; ++i) {
                letters[i] = static_cast<char>(word[at + i] | lower_case_bit);
            }
            auto& place = table.quads[table.place_of(std::bit_cast<std::uint32_t>(letters))];
            if (place != 0) {
                return false;
            }
            place = std::bit_cast<std::uint32_t>(letters);
        }
    }
    return true;
}

constexpr quad_table quads = [] {
    quad_table table;
    auto factor = std::uint32_t{0x9e3779b1};
    while (!fill(table, factor)) {
        factor += 2;
    }
    return table;
}();

// One bit in each byte of the result whose place a short trigger starts at.
block short_hits_in(const char* at) {
    const block raw = load(at);
    const block raw_next = load(at + 1);
    auto hits = (raw == ';') | ((raw == '&') & (raw_next == '"'));
    hits |= ((raw | lower_case_bit) == 't') & ((raw_next | lower_case_bit) == 'e') &
            ((load(at + 2) | lower_case_bit) == 'm') & ((load(at + 3) | lower_case_bit) == 'p');
    block result;
    std::memcpy(&result, &hits, sizeof result);
    return result;
}

bool any_bit(block hits) {
    std::array<std::uint64_t, 2> halves{};
    std::memcpy(halves.data(), &hits, sizeof hits);
    return (halves[0] | halves[1]) != 0;
}

constexpr std::size_t block_bytes = sizeof(block);
constexpr std::size_t seen_bytes = block_bytes + 3; // by a look at one block

// False: surely no trigger is in there.
bool may_have_trigger(std::string_view sql) {
    if (sql.size() < seen_bytes) {
        return true;
    }
    block hits{};
    std::size_t at = 0;
    for (; at + seen_bytes < sql.size(); at += block_bytes) {
        hits |= short_hits_in(sql.data() + at);
    }
    hits |= short_hits_in(sql.data() + sql.size() - seen_bytes);
    const auto* const last = sql.data() + sql.size() - 3;
    const auto begins = [](char c) { return c == ';' || c == '&'; };
    if (any_bit(hits) || begins(last[0]) || begins(last[1]) || begins(last[2])) {
        return true;
    }
    for (at = 0; at + quad_bytes <= sql.size(); at += quad_bytes) {
        if (quads.has(load_quad(sql.data() + at))) {
            return true;
        }
    }
    return false;
}

// Second look -------------------------------------------------------------------------------------

// Three letters in a row out of a word that must be noticed wherever it stands, chosen to be rare
// in other words. A fourth keeps "temp" apart from "item" and "system", and "ts_stat" from
// "events_".
struct trigger {
    unsigned char a, b, c;
};
constexpr std::array triggers = {
    trigger{'n', 'f', 'i'},                  // set_config
    trigger{'d', 'v', 'i'},                  // pg_advisory_lock, pg_try_advisory_lock, …_shared
    trigger{'r', 'r', 'v'},                  // currval
    trigger{'s', 't', 'v'},                  // lastval
    trigger{'t', 's', 'e'},                  // setseed
    trigger{'_' | lower_case_bit, 'x', 'm'}, // query_to_xml, …
    trigger{'e', 'w', 'r'},                  // ts_rewrite
};

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
    // pg_settings, pg_notify, pg_backup_start and whatever else; few texts name anything of
    // PostgreSQL's.
    hits |= (first == 'p') & (second == 'g') & (third == ('_' | lower_case_bit));
    hits |= (first == 't') & (second == 's') & (third == ('_' | lower_case_bit)) & (fourth == 's');
    for (const auto& t : triggers) {
        hits |= (first == t.a) & (second == t.b) & (third == t.c);
    }
    block result;
    std::memcpy(&result, &hits, sizeof result);
    return result;
}

// Is there anything in the text that calls for a closer look? Leading words aside.
bool has_trigger(std::string_view sql) {
    block hits{};
    std::size_t at = 0;
    for (; at + seen_bytes <= sql.size(); at += block_bytes) {
        hits |= hits_in(sql.data() + at);
    }
    std::array<char, seen_bytes> tail{};
    std::memcpy(tail.data(), sql.data() + at, sql.size() - at);
    hits |= hits_in(tail.data());
    return any_bit(hits);
}

bool is_blank(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

// The statements that leave nothing behind unless a trigger is in them, and make up nearly all of
// the traffic: their first words, as the first bytes of a text are compared with them.
struct first_word {
    std::uint64_t letters = 0, mask = 0;
    std::size_t size = 0;
};
constexpr std::size_t longest_word = sizeof(std::uint64_t);

constexpr auto harmless_words = [] {
    constexpr std::array<std::string_view, 11> words = {"select", "insert",   "update", "delete",
                                                        "begin",  "commit",   "with",   "copy",
                                                        "fetch",  "rollback", "start"};
    std::array<first_word, words.size()> all;
    for (std::size_t i = 0; i < words.size(); ++i) {
        std::array<char, longest_word> letters{}, mask{};
        std::copy(words[i].begin(), words[i].end(), letters.begin());
        std::fill_n(mask.begin(), words[i].size(), '\xff');
        all[i] = {std::bit_cast<std::uint64_t>(letters), std::bit_cast<std::uint64_t>(mask),
                  words[i].size()};
    }
    return all;
}();

// `sql` does not start with a blank.
bool starts_harmlessly(std::string_view sql) {
    std::array<char, longest_word + 1> front{};
    if (sql.size() >= front.size()) [[likely]] {
        std::memcpy(front.data(), sql.data(), front.size());
    } else {
        std::copy(sql.begin(), sql.end(), front.begin());
    }
    std::uint64_t letters = 0;
    std::memcpy(&letters, front.data(), longest_word);
    letters |= 0x2020202020202020;
    for (const auto& word : harmless_words) {
        if ((letters & word.mask) == word.letters) {
            return sql.size() == word.size || is_blank(front[word.size]);
        }
    }
    return false;
}

} // namespace

bool plainly_harmless(std::string_view sql) {
    while (!sql.empty() && is_blank(sql.front())) {
        sql.remove_prefix(1);
    }
    while (!sql.empty() && (is_blank(sql.back()) || sql.back() == ';')) {
        sql.remove_suffix(1);
    }
    return sql.empty() || (starts_harmlessly(sql) && !(may_have_trigger(sql) && has_trigger(sql)));
}

} // namespace pgweir::protocol
