// See text.hpp.
#include "config/text.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>

namespace pgweir::config {
namespace {

constexpr bool is_digit(char c) { return c >= '0' && c <= '9'; }
constexpr bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
constexpr bool is_hex(char c) {
    return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}
constexpr bool is_continuation(char c) { return (static_cast<unsigned char>(c) & 0xC0U) == 0x80U; }
constexpr bool is_control(char c) { return static_cast<unsigned char>(c) < 0x20U || c == 0x7F; }

/// Length of the UTF-8 sequence at the beginning, 0 if there is none (RFC 3629: no overlong forms,
/// no surrogates, nothing above U+10FFFF).
std::size_t utf8_length(std::string_view text) {
    const auto byte = [&](std::size_t i) -> unsigned {
        return i < text.size() ? static_cast<unsigned char>(text[i]) : 0U;
    };
    const unsigned first = byte(0);
    if (first < 0x80U) {
        return 1;
    }
    unsigned low = 0x80U;
    unsigned high = 0xBFU;
    std::size_t length = 0;
    if (first >= 0xC2U && first <= 0xDFU) {
        length = 2;
    } else if (first >= 0xE0U && first <= 0xEFU) {
        length = 3;
        low = first == 0xE0U ? 0xA0U : low;
        high = first == 0xEDU ? 0x9FU : high;
    } else if (first >= 0xF0U && first <= 0xF4U) {
        length = 4;
        low = first == 0xF0U ? 0x90U : low;
        high = first == 0xF4U ? 0x8FU : high;
    } else {
        return 0;
    }
    if (byte(1) < low || byte(1) > high) {
        return 0;
    }
    for (std::size_t i = 2; i < length; ++i) {
        if (byte(i) < 0x80U || byte(i) > 0xBFU) {
            return 0;
        }
    }
    return length;
}

std::string hex_byte(char c) {
    constexpr std::string_view digits = "0123456789abcdef";
    const auto value = static_cast<unsigned char>(c);
    return {digits[value >> 4U], digits[value & 0xFU]};
}

std::string lower(std::string_view text) {
    std::string result(text);
    std::transform(result.begin(), result.end(), result.begin(), [](char c) {
        return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    });
    return result;
}

bool is_ipv4(std::string_view text) {
    for (int group = 0; group < 4; ++group) {
        const auto end = std::min(text.find('.'), text.size());
        const auto digits = text.substr(0, end);
        // A leading zero is octal to some and decimal to others: to nobody here.
        if (digits.empty() || digits.size() > 3 || (digits.size() > 1 && digits[0] == '0') ||
            !std::all_of(digits.begin(), digits.end(), is_digit) || *read_number(digits) > 255) {
            return false;
        }
        text.remove_prefix(end);
        if (group < 3) {
            if (text.empty()) {
                return false;
            }
            text.remove_prefix(1);
        }
    }
    return text.empty();
}

/// Counts the 16-bit groups of one side of "::"; nothing if one is malformed.
std::optional<int> ipv6_groups(std::string_view side, bool may_end_in_ipv4) {
    int count = 0;
    while (!side.empty()) {
        const auto colon = side.find(':');
        const auto group = side.substr(0, colon);
        if (colon == std::string_view::npos && may_end_in_ipv4 && is_ipv4(group)) {
            return count + 2;
        }
        if (group.empty() || group.size() > 4 || !std::all_of(group.begin(), group.end(), is_hex)) {
            return std::nullopt;
        }
        ++count;
        if (colon == std::string_view::npos) {
            break;
        }
        side.remove_prefix(colon + 1);
        if (side.empty()) {
            return std::nullopt; // ends in a colon
        }
    }
    return count;
}

bool is_ipv6(std::string_view text) {
    if (text.size() > 45) {
        return false;
    }
    const auto gap = text.find("::");
    if (gap == std::string_view::npos) {
        return ipv6_groups(text, true) == 8;
    }
    const auto before = ipv6_groups(text.substr(0, gap), false);
    const auto after = ipv6_groups(text.substr(gap + 2), true);
    return before && after && *before + *after <= 7;
}

bool is_base64(std::string_view text) {
    if (text.empty() || text.size() % 4 != 0) {
        return false;
    }
    for (int padding = 0; padding < 2 && text.back() == '='; ++padding) {
        text.remove_suffix(1);
    }
    return std::all_of(text.begin(), text.end(),
                       [](char c) { return is_letter(c) || is_digit(c) || c == '+' || c == '/'; });
}

} // namespace

std::string to_string(const problem& what, std::string_view configuration_file) {
    return concat({what.file.empty() ? configuration_file : what.file, ":",
                   std::to_string(what.at.line), ":", std::to_string(what.at.column), ": ",
                   what.message});
}

std::string concat(std::initializer_list<std::string_view> parts) {
    std::string result;
    for (const auto part : parts) {
        result += part;
    }
    return result;
}

std::string join(std::span<const std::string_view> parts, std::string_view between) {
    std::string result;
    for (const auto part : parts) {
        if (!result.empty()) {
            result += between;
        }
        result += part;
    }
    return result;
}

position position_of(std::string_view text, std::size_t offset) {
    const auto before = text.substr(0, offset);
    const auto line_start = before.rfind('\n') + 1; // npos + 1 is 0: the first line
    const auto in_line = before.substr(line_start);
    return {.line = 1 + static_cast<std::size_t>(std::count(before.begin(), before.end(), '\n')),
            .column = 1 + static_cast<std::size_t>(
                              std::count_if(in_line.begin(), in_line.end(),
                                            [](char c) { return !is_continuation(c); }))};
}

std::optional<problem> check_text(std::string_view text) {
    for (std::size_t at = 0; at < text.size();) {
        const char c = text[at];
        if (is_control(c) && c != '\t' && c != '\n' && c != '\r') {
            return problem{.at = position_of(text, at),
                           .message = concat({"a control character (byte 0x", hex_byte(c),
                                              ") has no place in this file"})};
        }
        const auto length = utf8_length(text.substr(at));
        if (length == 0) {
            return problem{.at = position_of(text, at),
                           .message = concat({"the file is not UTF-8 (byte 0x", hex_byte(c), ")"})};
        }
        at += length;
    }
    return std::nullopt;
}

std::string_view without_byte_order_mark(std::string_view text) {
    constexpr std::string_view mark = "\xEF\xBB\xBF";
    return text.starts_with(mark) ? text.substr(mark.size()) : text;
}

bool has_control_character(std::string_view text) {
    return std::any_of(text.begin(), text.end(), is_control);
}

std::string not_this(std::string_view value) {
    const auto harmless = [](char c) {
        return is_letter(c) || is_digit(c) || c == '.' || c == '_' || c == '-' || c == '+' ||
               c == ' ' || c == ',' || c == '*' || c == '%';
    };
    if (value.empty() || value.size() > 32 || !std::all_of(value.begin(), value.end(), harmless)) {
        return {};
    }
    return concat({", not '", value, "'"});
}

std::optional<std::int64_t> read_number(std::string_view text) {
    const bool negative = text.starts_with('-');
    const auto digits = text.substr(negative || text.starts_with('+') ? 1 : 0);
    if (digits.empty() || !std::all_of(digits.begin(), digits.end(), is_digit)) {
        return std::nullopt;
    }
    std::int64_t value = 0;
    const auto end = digits.data() + digits.size();
    if (std::from_chars(digits.data(), end, value).ec != std::errc{}) {
        value = std::numeric_limits<std::int64_t>::max();
    }
    return negative ? -value : value;
}

std::optional<bool> read_flag(std::string_view text) {
    const auto word = lower(text);
    if (word == "true" || word == "yes" || word == "on") {
        return true;
    }
    if (word == "false" || word == "no" || word == "off") {
        return false;
    }
    return std::nullopt;
}

namespace {
struct time_unit {
    std::string_view name;
    std::int64_t nanoseconds;
};
constexpr std::array<time_unit, 5> time_units{{{"d", 86'400'000'000'000},
                                               {"h", 3'600'000'000'000},
                                               {"m", 60'000'000'000},
                                               {"s", 1'000'000'000},
                                               {"ms", 1'000'000}}};
} // namespace

std::optional<duration> read_duration(std::string_view text) {
    const auto number_end = static_cast<std::size_t>(
        std::find_if_not(text.begin(), text.end(), is_digit) - text.begin());
    const auto number = read_number(text.substr(0, number_end));
    if (!number) {
        return std::nullopt;
    }
    const auto unit_name = text.substr(number_end);
    if (unit_name.empty() && *number == 0) {
        return duration::zero();
    }
    for (const auto& unit : time_units) {
        if (unit.name == unit_name) {
            const bool too_long =
                *number > std::numeric_limits<std::int64_t>::max() / unit.nanoseconds;
            return too_long ? duration::max() : duration(*number * unit.nanoseconds);
        }
    }
    return std::nullopt;
}

std::string write_duration(duration value) {
    if (value == duration::zero()) {
        return "0";
    }
    for (const auto& unit : time_units) {
        if (value.count() % unit.nanoseconds == 0) {
            return concat({std::to_string(value.count() / unit.nanoseconds), unit.name});
        }
    }
    return concat({std::to_string(value.count()), "ns"}); // no file can say this, a caller can
}

bool is_address(std::string_view text) { return is_ipv4(text) || is_ipv6(text); }

bool is_loopback(std::string_view address) {
    return address == "::1" || (is_ipv4(address) && address.starts_with("127."));
}

bool is_host(std::string_view text) {
    if (text.starts_with('/')) {
        // sockaddr_un holds 107 characters, 15 of which "/.s.PGSQL.65535" needs.
        return text.size() <= 92 && !has_control_character(text);
    }
    if (is_address(text)) {
        return true;
    }
    return !text.empty() && text.size() <= 253 && !text.starts_with('-') &&
           !text.starts_with('.') && std::all_of(text.begin(), text.end(), [](char c) {
               return is_letter(c) || is_digit(c) || c == '-' || c == '.' || c == '_';
           });
}

secret_form form_of(std::string_view secret) {
    if (secret.starts_with("md5") && secret.size() == 35 &&
        std::all_of(secret.begin() + 3, secret.end(), is_hex)) {
        return secret_form::md5;
    }
    constexpr std::string_view prefix = "SCRAM-SHA-256$";
    if (!secret.starts_with(prefix)) {
        return secret_form::plaintext;
    }
    // <iterations>:<salt>$<StoredKey>:<ServerKey>, each key 32 bytes, so 44 characters of base64
    const auto rest = secret.substr(prefix.size());
    const auto colon = rest.find(':');
    const auto dollar = rest.find('$');
    if (colon == std::string_view::npos || dollar == std::string_view::npos || colon > dollar) {
        return secret_form::broken_scram;
    }
    const auto iterations = rest.substr(0, colon);
    const auto salt = rest.substr(colon + 1, dollar - colon - 1);
    const auto keys = rest.substr(dollar + 1);
    const auto count = read_number(iterations);
    const bool good = count && is_digit(iterations[0]) && *count >= 1 &&
                      *count <= std::numeric_limits<std::int32_t>::max() && is_base64(salt) &&
                      keys.size() == 89 && keys[44] == ':' && is_base64(keys.substr(0, 44)) &&
                      is_base64(keys.substr(45));
    return good ? secret_form::scram : secret_form::broken_scram;
}

} // namespace pgweir::config
