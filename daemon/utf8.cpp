#include "daemon/utf8.hpp"

#include <cstdint>

namespace pgweir::daemon {

namespace {

struct sequence_rule {
    std::uint8_t first_min, first_max;   // of the first byte
    std::uint8_t second_min, second_max; // of the second: where overlong forms are ruled out
    std::size_t length;
};

// RFC 3629, section 4: the whole syntax of valid sequences beyond ASCII.
constexpr sequence_rule rules[] = {
    {0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3}, {0xe1, 0xec, 0x80, 0xbf, 3},
    {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3}, {0xf0, 0xf0, 0x90, 0xbf, 4},
    {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4},
};

} // namespace

std::size_t utf8_sequence(std::string_view text) {
    const auto at = [&](std::size_t i) { return static_cast<std::uint8_t>(text[i]); };
    if (text.empty()) {
        return 0;
    }
    if (at(0) < 0x80) {
        return 1;
    }
    for (const auto& rule : rules) {
        if (at(0) < rule.first_min || at(0) > rule.first_max) {
            continue;
        }
        if (text.size() < rule.length || at(1) < rule.second_min || at(1) > rule.second_max) {
            return 0;
        }
        for (std::size_t i = 2; i < rule.length; ++i) {
            if (at(i) < 0x80 || at(i) > 0xbf) {
                return 0;
            }
        }
        return rule.length;
    }
    return 0;
}

std::string to_valid_utf8(std::string_view text) {
    constexpr char digits[] = "0123456789abcdef";
    std::string out;
    out.reserve(text.size());
    while (!text.empty()) {
        if (const auto length = utf8_sequence(text); length > 0) {
            out += text.substr(0, length);
            text.remove_prefix(length);
            continue;
        }
        const auto byte = static_cast<std::uint8_t>(text.front());
        out += "\\x";
        out += digits[byte >> 4U];
        out += digits[byte & 0xfU];
        text.remove_prefix(1);
    }
    return out;
}

std::string_view utf8_prefix(std::string_view text, std::size_t max_bytes) {
    if (text.size() <= max_bytes) {
        return text;
    }
    auto end = max_bytes;
    // At most three continuation bytes belong to the sequence that would be cut.
    for (int back = 0; back < 3 && end > 0; ++back) {
        if ((static_cast<std::uint8_t>(text[end]) & 0xc0U) != 0x80U) {
            break;
        }
        --end;
    }
    return text.substr(0, end);
}

} // namespace pgweir::daemon
