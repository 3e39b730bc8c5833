// See address.hpp.
#include "config/address.hpp"

#include "config/text.hpp"

#include <algorithm>
#include <charconv>
#include <utility>

namespace pgweir::config {
namespace {

constexpr std::uint8_t v4_bytes = 4;
constexpr std::uint8_t v6_bytes = 16;

/// Four numbers with dots, known to be that.
void read_v4(std::string_view text, std::uint8_t* into) {
    for (int i = 0; i < v4_bytes; ++i) {
        unsigned value = 0;
        while (!text.empty() && text[0] != '.') {
            value = value * 10 + static_cast<unsigned>(text[0] - '0');
            text.remove_prefix(1);
        }
        text.remove_prefix(text.empty() ? 0 : 1);
        *into++ = static_cast<std::uint8_t>(value);
    }
}

unsigned hex_value(char c) {
    if (c >= '0' && c <= '9') {
        return static_cast<unsigned>(c - '0');
    }
    return static_cast<unsigned>((c | 0x20) - 'a') + 10;
}

/// Groups between colons, known to be well-formed. Answers how many bytes they are.
std::size_t read_groups(std::string_view text, std::uint8_t* into) {
    std::size_t count = 0;
    while (!text.empty() && count < v6_bytes) {
        const auto colon = std::min(text.find(':'), text.size());
        const auto group = text.substr(0, colon);
        text.remove_prefix(std::min(colon + 1, text.size()));
        if (group.find('.') != std::string_view::npos) {
            read_v4(group, into + count);
            return count + v4_bytes;
        }
        unsigned value = 0;
        for (const char c : group) {
            value = value * 16 + hex_value(c);
        }
        into[count++] = static_cast<std::uint8_t>(value >> 8);
        into[count++] = static_cast<std::uint8_t>(value & 0xff);
    }
    return count;
}

} // namespace

std::optional<ip_address> read_address(std::string_view text) {
    if (!is_address(text)) {
        return std::nullopt;
    }
    ip_address result;
    if (text.find(':') == std::string_view::npos) {
        read_v4(text, result.bytes.data());
        return result;
    }
    result.size_bytes = v6_bytes;
    const auto gap = text.find("::");
    if (gap == std::string_view::npos) {
        (void)read_groups(text, result.bytes.data());
        return result;
    }
    std::array<std::uint8_t, v6_bytes + 2> front{};
    std::array<std::uint8_t, v6_bytes + 2> back{};
    const auto before = read_groups(text.substr(0, gap), front.data());
    const auto after = read_groups(text.substr(gap + 2), back.data());
    std::copy_n(front.begin(), before, result.bytes.begin());
    std::copy_n(back.begin(), after, result.bytes.end() - static_cast<std::ptrdiff_t>(after));
    return result;
}

ip_address without_mapping(const ip_address& of) {
    constexpr std::array<std::uint8_t, 12> prefix{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    if (of.size_bytes != v6_bytes || !std::equal(prefix.begin(), prefix.end(), of.bytes.begin())) {
        return of;
    }
    ip_address result;
    std::copy_n(of.bytes.begin() + prefix.size(), v4_bytes, result.bytes.begin());
    return result;
}

namespace {

std::string v4_text(const ip_address& of) {
    std::string text;
    for (std::size_t i = 0; i < v4_bytes; ++i) {
        text += (text.empty() ? "" : ".") + std::to_string(unsigned{of.bytes[i]});
    }
    return text;
}

/// Where the longest row of zeros begins, and how many: a single one is written.
std::pair<std::size_t, std::size_t> longest_gap(const std::array<unsigned, 8>& groups) {
    std::pair<std::size_t, std::size_t> best{groups.size(), 1};
    for (std::size_t i = 0; i < groups.size();) {
        std::size_t count = 0;
        while (i + count < groups.size() && groups[i + count] == 0) {
            ++count;
        }
        if (count > best.second) {
            best = {i, count};
        }
        i += count + 1;
    }
    return best;
}

} // namespace

std::string to_text(const ip_address& of) {
    if (of.size_bytes == v4_bytes) {
        return v4_text(of);
    }
    std::array<unsigned, 8> groups{};
    for (std::size_t i = 0; i < groups.size(); ++i) {
        groups[i] = unsigned{of.bytes[2 * i]} << 8 | of.bytes[2 * i + 1];
    }
    const auto [gap, gap_size] = longest_gap(groups);
    std::string text;
    for (std::size_t i = 0; i < groups.size();) {
        if (i == gap) {
            text += "::";
            i += gap_size;
            continue;
        }
        text += text.empty() || text.back() == ':' ? "" : ":";
        std::array<char, 4> digits{};
        const auto [end, error] =
            std::to_chars(digits.data(), digits.data() + digits.size(), groups[i], 16);
        text.append(digits.data(), end);
        ++i;
    }
    return text;
}

bool network::contains(const ip_address& what) const {
    if (what.size_bytes != address.size_bytes) {
        return false;
    }
    for (std::size_t i = 0; i < address.size_bytes; ++i) {
        if (((what.bytes[i] ^ address.bytes[i]) & mask.bytes[i]) != 0) {
            return false;
        }
    }
    return true;
}

ip_address mask_of(std::size_t bits, std::uint8_t size_bytes) {
    ip_address result;
    result.size_bytes = size_bytes;
    for (std::size_t i = 0; i < size_bytes && i * 8 < bits; ++i) {
        const auto here = std::min<std::size_t>(bits - i * 8, 8);
        result.bytes[i] = static_cast<std::uint8_t>(0xff00U >> here);
    }
    return result;
}

std::optional<network> read_network(std::string_view text) {
    const auto slash = text.find('/');
    const auto address = read_address(text.substr(0, slash));
    if (!address || slash == std::string_view::npos) {
        return std::nullopt;
    }
    const auto digits = text.substr(slash + 1);
    unsigned bits = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), bits);
    if (error != std::errc() || end != digits.data() + digits.size() ||
        bits > 8U * address->size_bytes) {
        return std::nullopt;
    }
    const network made{*address, mask_of(bits, address->size_bytes)};
    for (std::size_t i = 0; i < address->size_bytes; ++i) {
        if ((address->bytes[i] & ~made.mask.bytes[i] & 0xff) != 0) {
            return std::nullopt;
        }
    }
    return made;
}

bool is_within(const ip_address& address, const std::vector<std::string>& networks) {
    return std::any_of(networks.begin(), networks.end(), [&](const std::string& one) {
        const auto network = read_network(one);
        return network && network->contains(without_mapping(address));
    });
}

} // namespace pgweir::config
