#include "protocol/double_byte_text.hpp"

#include <map>
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

std::size_t pair_of(std::string_view text, std::size_t at) {
    return static_cast<std::size_t>(static_cast<unsigned char>(text[at])) << 8U |
           static_cast<unsigned char>(text[at + 1]);
}

// Stand-ins for characters with an ASCII byte: none that the text has, and for each another one, so
// that what differs in the text still does.
class stand_ins {
public:
    void is_there(std::size_t character) { taken_[character] = true; }
    std::size_t stand_in_for(std::size_t character) {
        auto [known, is_new] = found_.try_emplace(character);
        if (is_new) {
            known->second = character | 0x80U;
            for (std::size_t tries = 0; taken_[known->second] && tries < 0x8000; ++tries) {
                known->second = ((known->second + 1) & 0x7fffU) | 0x8080U;
            }
            taken_[known->second] = true;
        }
        return known->second;
    }

private:
    std::vector<bool> taken_ = std::vector<bool>(0x10000);
    std::map<std::size_t, std::size_t> found_;
};

// Nothing: the text is in another encoding, or reads as it stands.
std::optional<std::string> read_as(const encoding& in, std::string_view sql) {
    std::vector<std::size_t> pairs; // where they begin
    bool differs = false;
    for (std::size_t at = 0; at < sql.size(); ++at) {
        const auto what = in.at_first(static_cast<unsigned char>(sql[at]));
        if (what == byte_is::nothing) {
            return std::nullopt;
        }
        if (what == byte_is::whole || at + 1 == sql.size()) { // the text may be cut off
            continue;
        }
        if (!in.second_half(static_cast<unsigned char>(sql[at + 1]))) {
            return std::nullopt;
        }
        differs = differs || may_be_halves(sql[at], sql[at + 1]);
        pairs.push_back(at++);
    }
    if (!differs) {
        return std::nullopt;
    }
    const auto ends_in_ascii = [&](std::size_t at) {
        return static_cast<unsigned char>(sql[at + 1]) < 0x80;
    };
    stand_ins others;
    for (const auto at : pairs) {
        if (!ends_in_ascii(at)) {
            others.is_there(pair_of(sql, at));
        }
    }
    std::string out(sql);
    for (const auto at : pairs) {
        if (ends_in_ascii(at)) {
            const auto other = others.stand_in_for(pair_of(sql, at));
            out[at] = static_cast<char>(other >> 8U);
            out[at + 1] = static_cast<char>(other & 0xffU);
        }
    }
    return out;
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
