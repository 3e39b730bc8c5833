#include "protocol/double_byte_text.hpp"

#include <optional>
#include <utility>

namespace pgweir::protocol {

namespace {

// What a byte is that does not stand behind the first half of a character.
enum class byte_is : unsigned char { whole, first_half, nothing };

struct encoding {
    byte_is (*at_first)(unsigned char byte);
    bool (*second_half)(unsigned char byte);
};

constexpr encoding shift_jis = {
    [](unsigned char byte) {
        const bool kana = byte >= 0xa1 && byte <= 0xdf; // of half width: one byte
        const bool pair = (byte >= 0x81 && byte <= 0x9f) || (byte >= 0xe0 && byte <= 0xfc);
        return byte < 0x80 || kana ? byte_is::whole : pair ? byte_is::first_half : byte_is::nothing;
    },
    [](unsigned char byte) { return byte >= 0x40 && byte <= 0xfc && byte != 0x7f; },
};

// Four bytes of GB18030 are two such pairs.
constexpr encoding all_others = {
    [](unsigned char byte) { return byte < 0x80 ? byte_is::whole : byte_is::first_half; },
    [](unsigned char byte) {
        return (byte >= 0x40 && byte != 0x7f) || (byte >= '0' && byte <= '9');
    },
};

// Nothing: the text is in another encoding, or reads as it stands.
std::optional<std::string> read_as(const encoding& in, std::string_view sql) {
    std::string out(sql);
    bool differs = false;
    for (std::size_t at = 0; at < out.size(); ++at) {
        const auto what = in.at_first(static_cast<unsigned char>(out[at]));
        if (what == byte_is::nothing) {
            return std::nullopt;
        }
        if (what == byte_is::whole || at + 1 == out.size()) { // the text may be cut off
            continue;
        }
        const auto second = static_cast<unsigned char>(out[++at]);
        if (!in.second_half(second)) {
            return std::nullopt;
        }
        differs = differs || may_be_halves(sql[at - 1], sql[at]);
        out[at] = static_cast<char>(second | 0x80U);
    }
    return differs ? std::optional(std::move(out)) : std::nullopt;
}

} // namespace

std::vector<std::string> double_byte_readings(std::string_view sql) {
    std::vector<std::string> readings;
    for (const auto* const encoding : {&shift_jis, &all_others}) {
        auto text = read_as(*encoding, sql);
        if (text && (readings.empty() || readings.front() != *text)) {
            readings.push_back(std::move(*text));
        }
    }
    return readings;
}

} // namespace pgweir::protocol
