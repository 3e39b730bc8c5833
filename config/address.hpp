// IP addresses and networks as bytes, without sockets. Pure functions, any thread.
// Tests: tests/config/address_test.cpp.
#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace pgweir::config {

struct ip_address {
    std::array<std::uint8_t, 16> bytes{}; // network order; the rest is zero
    std::uint8_t size_bytes = 4;          // 4 or 16
    auto operator<=>(const ip_address&) const = default;
};

/// 127.0.0.1, ::1, ::ffff:10.0.0.1. Nothing for names, scope ids and short forms such as 127.1.
[[nodiscard]] std::optional<ip_address> read_address(std::string_view text);
/// IPv4 where it is an IPv4 address in IPv6's clothes (::ffff:a.b.c.d), as a socket that listens to
/// both shows its clients; else what it was.
[[nodiscard]] ip_address without_mapping(const ip_address& of);

/// The one spelling of it, RFC 5952's: in lower case, the longest row of zeros left out.
[[nodiscard]] std::string to_text(const ip_address& of);

/// Those addresses that agree with `address` where `mask` has ones. The ones need not be in front.
struct network {
    ip_address address;
    ip_address mask;
    bool operator==(const network&) const = default;
    /// False for an address of the other family.
    [[nodiscard]] bool contains(const ip_address& what) const;
};

/// 10.0.0.0/8, ::1/128; nothing where bits beyond those are set, as in 10.0.0.1/8.
[[nodiscard]] std::optional<network> read_network(std::string_view text);

/// Is it in one of those networks? IPv4 in IPv6's clothes counts as IPv4.
[[nodiscard]] bool is_within(const ip_address& address, const std::vector<std::string>& networks);

/// The mask of so many ones, for an address of that size. `bits` is at most 8 × size_bytes.
[[nodiscard]] ip_address mask_of(std::size_t bits, std::uint8_t size_bytes);

} // namespace pgweir::config
