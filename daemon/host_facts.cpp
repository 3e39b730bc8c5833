// See host_facts.hpp.
#include "daemon/host_facts.hpp"

#include <array>
#include <cstring>
#include <fstream>
#include <ifaddrs.h>
#include <iterator>
#include <memory>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <optional>
#include <pwd.h>
#include <sstream>
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

bool knows_all_users(std::string_view uid_map) {
    constexpr std::uint64_t all = 4'294'967'295;
    std::istringstream lines{std::string(uid_map)};
    std::uint64_t inside = 0, outside = 0, count = 0, known = 0;
    while (lines >> inside >> outside >> count) {
        known += count;
    }
    return known >= all;
}

std::string system_user_name(std::uint32_t uid) {
    std::uint32_t overflow_uid = 65'534;
    std::ifstream("/proc/sys/kernel/overflowuid") >> overflow_uid;
    if (uid == overflow_uid) {
        std::ifstream file("/proc/self/uid_map");
        if (!knows_all_users(std::string(std::istreambuf_iterator<char>(file), {}))) {
            return {};
        }
    }
    std::array<char, 16'384> space{};
    passwd entry{};
    passwd* found = nullptr;
    const bool known =
        ::getpwuid_r(uid, &entry, space.data(), space.size(), &found) == 0 && found != nullptr;
    return known ? entry.pw_name : "";
}

} // namespace pgweir::daemon
