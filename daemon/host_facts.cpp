// See host_facts.hpp.
#include "daemon/host_facts.hpp"

#include <array>
#include <cstring>
#include <ifaddrs.h>
#include <memory>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <optional>
#include <sys/socket.h>

namespace pgweir::daemon {
namespace {

std::optional<config::ip_address> address_of(const sockaddr* from) {
    if (from == nullptr) {
        return std::nullopt;
    }
    config::ip_address result;
    if (from->sa_family == AF_INET) {
        sockaddr_in in{};
        std::memcpy(&in, from, sizeof in);
        std::memcpy(result.bytes.data(), &in.sin_addr, 4);
        return result;
    }
    if (from->sa_family == AF_INET6) {
        sockaddr_in6 in{};
        std::memcpy(&in, from, sizeof in);
        std::memcpy(result.bytes.data(), &in.sin6_addr, 16);
        result.size_bytes = 16;
        return result;
    }
    return std::nullopt;
}

std::string name_of(const config::ip_address& of) {
    sockaddr_storage where{};
    socklen_t size = 0;
    if (of.size_bytes == 4) {
        sockaddr_in in{};
        in.sin_family = AF_INET;
        std::memcpy(&in.sin_addr, of.bytes.data(), 4);
        std::memcpy(&where, &in, size = sizeof in);
    } else {
        sockaddr_in6 in{};
        in.sin6_family = AF_INET6;
        std::memcpy(&in.sin6_addr, of.bytes.data(), 16);
        std::memcpy(&where, &in, size = sizeof in);
    }
    std::array<char, NI_MAXHOST> name{};
    const int failed = ::getnameinfo(reinterpret_cast<const sockaddr*>(&where), size, name.data(),
                                     name.size(), nullptr, 0, NI_NAMEREQD);
    return failed == 0 ? name.data() : "";
}

} // namespace

std::vector<config::network> own_networks() {
    std::vector<config::network> result;
    ifaddrs* first = nullptr;
    if (::getifaddrs(&first) != 0) {
        return result;
    }
    const std::unique_ptr<ifaddrs, void (*)(ifaddrs*)> list(first, ::freeifaddrs);
    for (const auto* each = first; each != nullptr; each = each->ifa_next) {
        const auto address = address_of(each->ifa_addr);
        if (!address || (each->ifa_flags & IFF_UP) == 0) {
            continue;
        }
        // Not every interface has a mask; without one it is this address alone.
        const auto mask = address_of(each->ifa_netmask);
        result.push_back({.address = *address,
                          .mask = mask.value_or(
                              config::mask_of(8U * address->size_bytes, address->size_bytes))});
    }
    return result;
}

std::string confirmed_host_name(const config::ip_address& of) {
    const auto address = config::without_mapping(of);
    auto name = name_of(address);
    addrinfo hints{};
    hints.ai_socktype = SOCK_STREAM;
    addrinfo* first = nullptr;
    if (name.empty() || ::getaddrinfo(name.c_str(), nullptr, &hints, &first) != 0) {
        return {};
    }
    const std::unique_ptr<addrinfo, void (*)(addrinfo*)> list(first, ::freeaddrinfo);
    for (const auto* each = first; each != nullptr; each = each->ai_next) {
        if (address_of(each->ai_addr) == address) {
            return name;
        }
    }
    return {};
}

} // namespace pgweir::daemon
