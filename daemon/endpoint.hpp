// Where sockets connect to and come from: the system's addresses, and what people call them.
#pragma once

#include "config/address.hpp"
#include "daemon/engine/ports.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <sys/socket.h>
#include <utility>
#include <vector>

namespace pgweir::daemon {

/// Where a socket connects to.
struct endpoint {
    sockaddr_storage address{};
    socklen_t length = 0;
};

/// 127.0.0.1 also where it is ::ffff:127.0.0.1 (a socket inherited that listens to both families):
/// who comes from there is the same client by whatever socket. Nothing: of a Unix socket.
[[nodiscard]] std::optional<config::ip_address> ip_of(const sockaddr_storage& address);
/// … spelled, and its port: "127.0.0.1", 41234. Of a Unix socket local_peer, 0.
[[nodiscard]] std::pair<std::string, std::uint16_t> name_of(const sockaddr_storage& address);
/// The addresses that `where` names without asking a name server; nothing when it must be asked.
[[nodiscard]] std::vector<endpoint> literal_endpoints(const server_address& where);

} // namespace pgweir::daemon
