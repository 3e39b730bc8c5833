#include "daemon/endpoint.hpp"

#include <arpa/inet.h>
#include <cstddef>
#include <cstring>
#include <netinet/in.h>
#include <sys/un.h>

namespace pgweir::daemon {

std::optional<config::ip_address> ip_of(const sockaddr_storage& address) {
    config::ip_address of;
    if (address.ss_family == AF_INET) {
        sockaddr_in in{};
        std::memcpy(&in, &address, sizeof in);
        std::memcpy(of.bytes.data(), &in.sin_addr, sizeof in.sin_addr);
        return of;
    }
    if (address.ss_family == AF_INET6) {
        sockaddr_in6 in{};
        std::memcpy(&in, &address, sizeof in);
        of.size_bytes = sizeof in.sin6_addr;
        std::memcpy(of.bytes.data(), &in.sin6_addr, sizeof in.sin6_addr);
        return config::without_mapping(of);
    }
    return std::nullopt;
}

std::pair<std::string, std::uint16_t> name_of(const sockaddr_storage& address) {
    const auto ip = ip_of(address);
    if (!ip) {
        return {std::string(local_peer), 0};
    }
    in_port_t port = 0; // at the same place in either family
    static_assert(offsetof(sockaddr_in, sin_port) == offsetof(sockaddr_in6, sin6_port));
    std::memcpy(&port, reinterpret_cast<const char*>(&address) + offsetof(sockaddr_in, sin_port),
                sizeof port);
    return {config::to_text(*ip), ntohs(port)};
}

std::vector<endpoint> literal_endpoints(const server_address& where) {
    endpoint result;
    if (where.host.starts_with('/')) {
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        const auto path = where.host + "/.s.PGSQL." + std::to_string(where.port);
        if (path.size() >= sizeof address.sun_path) {
            return {};
        }
        path.copy(address.sun_path, path.size());
        std::memcpy(&result.address, &address, sizeof address);
        result.length = sizeof address;
        return {result};
    }
    sockaddr_in in{};
    if (::inet_pton(AF_INET, where.host.c_str(), &in.sin_addr) == 1) {
        in.sin_family = AF_INET;
        in.sin_port = htons(where.port);
        std::memcpy(&result.address, &in, sizeof in);
        result.length = sizeof in;
        return {result};
    }
    sockaddr_in6 in6{};
    if (::inet_pton(AF_INET6, where.host.c_str(), &in6.sin6_addr) == 1) {
        in6.sin6_family = AF_INET6;
        in6.sin6_port = htons(where.port);
        std::memcpy(&result.address, &in6, sizeof in6);
        result.length = sizeof in6;
        return {result};
    }
    return {};
}

} // namespace pgweir::daemon
