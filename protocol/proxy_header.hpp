// The PROXY protocol's header, versions 1 and 2: what a load balancer says, in front of a client's
// first byte, of where that client really is. Believed of nobody but those who are trusted to send
// it; whoever is must send it.
//
// Pure. Tests: tests/protocol/proxy_header_test.cpp.
// Source: "The PROXY protocol, Versions 1 & 2" (HAProxy).
#pragma once

#include "protocol/message.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <variant>

namespace pgweir::protocol {

/// One end of a connection.
struct ip_endpoint {
    enum class address_family : std::uint8_t { ipv4, ipv6 };
    address_family family = address_family::ipv4;
    std::array<std::uint8_t, 16> address{}; // network order; of IPv4 four, the rest is zero
    std::uint16_t port = 0;
    [[nodiscard]] std::uint8_t address_bytes() const {
        return family == address_family::ipv4 ? 4 : 16;
    }
    bool operator==(const ip_endpoint&) const = default;
};
struct proxy_header {
    std::size_t size_bytes = 0; // to be taken off the front
    /// The client's own end; nothing: the balancer speaks for itself, or does not say for whom
    /// (UNKNOWN, LOCAL, other families): then the socket's own address counts.
    std::optional<ip_endpoint> source;
};
struct proxy_header_incomplete {};
struct proxy_header_refused {
    const char* why;
};

/// What is at the front of `in`. Never wants more than most_proxy_header_bytes.
[[nodiscard]] std::variant<proxy_header_incomplete, proxy_header, proxy_header_refused>
read_proxy_header(bytes in);

/// Of version 2 with all that it carries behind the addresses (TLVs, which are skipped): room for a
/// client's certificate, and less than a small read buffer, which need not grow for it.
inline constexpr std::size_t most_proxy_header_bytes = 4'096;

} // namespace pgweir::protocol
