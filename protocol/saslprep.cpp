// See saslprep.hpp. The tables are of Unicode 3.2, which RFC 3454 demands. utf8proc knows a later
// one, but what 3.2 did not know is refused before, and how the rest is normalised never changes.
#include "protocol/saslprep.hpp"

#include "protocol/saslprep_tables.hpp"

#include <openssl/crypto.h>
#include <utf8proc.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <iterator>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace pgweir::protocol {
namespace {

using saslprep_tables::range;

bool is_in(std::span<const range> table, char32_t code) {
    const auto next = std::upper_bound(table.begin(), table.end(), code,
                                       [](char32_t c, const range& r) { return c < r.first; });
    return next != table.begin() && code <= std::prev(next)->last;
}

/// The characters of a password, which nobody finds in memory afterwards.
template <typename Number>
class characters {
public:
    characters() = default;
    ~characters() { wipe(); }
    characters(const characters&) = delete;
    characters& operator=(const characters&) = delete;
    characters(characters&&) = delete;
    characters& operator=(characters&&) = delete;

    /// Once, before there are any: they are never moved, since an old place would not be wiped.
    void make_room(std::size_t most) { all.reserve(most); }
    [[nodiscard]] bool any_in(std::span<const range> table) const {
        return std::any_of(all.begin(), all.end(),
                           [&](Number code) { return is_in(table, static_cast<char32_t>(code)); });
    }

    std::vector<Number> all;

private:
    void wipe() {
        all.resize(all.capacity());
        OPENSSL_cleanse(all.data(), all.size() * sizeof(Number));
    }
};
using code_points = characters<std::int32_t>;

const utf8proc_uint8_t* octets(std::string_view text) {
    return reinterpret_cast<const utf8proc_uint8_t*>(text.data());
}

/// The characters after RFC 4013's mapping. False: this is no UTF-8.
bool read_mapped(std::string_view text, code_points& into) {
    while (!text.empty()) {
        std::int32_t code = 0;
        const auto length =
            utf8proc_iterate(octets(text), static_cast<utf8proc_ssize_t>(text.size()), &code);
        if (length <= 0) {
            return false;
        }
        text.remove_prefix(static_cast<std::size_t>(length));
        const auto character = static_cast<char32_t>(code);
        if (is_in(saslprep_tables::spaces, character)) {
            into.all.push_back(' ');
        } else if (!is_in(saslprep_tables::mapped_to_nothing, character)) {
            into.all.push_back(code);
        }
    }
    return true;
}

/// Right to left from end to end, or not at all.
bool is_of_one_direction(const code_points& text) {
    const std::span right_to_left(saslprep_tables::right_to_left);
    if (!text.any_in(right_to_left)) {
        return true;
    }
    return !text.any_in(saslprep_tables::left_to_right) &&
           is_in(right_to_left, static_cast<char32_t>(text.all.front())) &&
           is_in(right_to_left, static_cast<char32_t>(text.all.back()));
}

secret as_utf8(const code_points& text) {
    std::string out;
    constexpr std::size_t longest = 4;
    out.reserve(text.all.size() * longest); // as characters::make_room()
    for (const auto code : text.all) {
        std::array<utf8proc_uint8_t, longest> octets_of{};
        const auto length = utf8proc_encode_char(code, octets_of.data());
        out.append(octets_of.begin(), octets_of.begin() + length);
    }
    return secret(std::move(out));
}

constexpr auto nfkc =
    static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPAT | UTF8PROC_COMPOSE);

/// Between starters, marks stand in the order of their combining classes. utf8proc's own way of
/// sorting them takes a second for what a stranger may send as a password.
class decomposition {
public:
    /// False: this cannot be decomposed.
    bool read(const code_points& text) {
        std::size_t most = 0;
        for (const auto code : text.all) {
            const auto count = decompose(code, {});
            if (count < 0) {
                return false;
            }
            most += static_cast<std::size_t>(count);
        }
        characters_.make_room(most);
        for (const auto code : text.all) {
            std::array<std::int32_t, longest> parts{};
            const auto count = decompose(code, parts);
            for (const auto part : std::span(parts).first(static_cast<std::size_t>(count))) {
                add(part);
            }
            OPENSSL_cleanse(parts.data(), sizeof parts);
        }
        sort_marks();
        return true;
    }

    void write(code_points& into) const {
        into.make_room(characters_.all.size());
        for (const auto each : characters_.all) {
            into.all.push_back(static_cast<std::int32_t>(each & ((1U << place_at) - 1)));
        }
    }

private:
    // The class above the place, which keeps those of one class in their order, above the code.
    static constexpr unsigned place_at = 21, class_at = 48;
    static constexpr std::size_t longest = 18; // U+FDFA

    static std::ptrdiff_t decompose(std::int32_t code, std::span<std::int32_t> into) {
        int boundary = 0;
        const auto count = utf8proc_decompose_char(
            code, into.data(), static_cast<utf8proc_ssize_t>(into.size()), nfkc, &boundary);
        return count > static_cast<utf8proc_ssize_t>(longest) ? -1 : count;
    }

    void add(std::int32_t code) {
        const auto combining = utf8proc_get_property(code)->combining_class;
        characters_.all.push_back(static_cast<std::uint64_t>(combining) << class_at |
                                  std::uint64_t{characters_.all.size()} << place_at |
                                  static_cast<std::uint64_t>(code));
    }

    void sort_marks() {
        const auto is_starter = [](std::uint64_t each) { return each >> class_at == 0; };
        auto& all = characters_.all;
        for (auto at = all.begin(); at != all.end();) {
            const auto marks = std::find_if_not(at, all.end(), is_starter);
            at = std::find_if(marks, all.end(), is_starter);
            std::sort(marks, at);
        }
    }

    characters<std::uint64_t> characters_;
};

/// NFKC. Nothing: it has none.
std::optional<secret> normalised(const code_points& text) {
    decomposition parts;
    if (!parts.read(text)) {
        return std::nullopt;
    }
    code_points result;
    parts.write(result);
    const auto composed = utf8proc_normalize_utf32(
        result.all.data(), static_cast<utf8proc_ssize_t>(result.all.size()), nfkc);
    if (composed < 0) {
        return std::nullopt;
    }
    result.all.resize(static_cast<std::size_t>(composed));
    return as_utf8(result);
}

} // namespace

secret saslprep(const secret& password) {
    const auto text = password.reveal();
    if (std::all_of(text.begin(), text.end(), [](char c) { return (c & '\x80') == 0; })) {
        return password;
    }
    code_points mapped;
    mapped.make_room(text.size());
    if (!read_mapped(text, mapped) || mapped.all.empty() ||
        mapped.any_in(saslprep_tables::refused) || !is_of_one_direction(mapped)) {
        return password;
    }
    return normalised(mapped).value_or(password);
}

} // namespace pgweir::protocol
