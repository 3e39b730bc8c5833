// What access rules may ask about hosts: this machine's own addresses, the name of a client's, and
// that of a user of this system. The look-ups wait for name servers and files: never on a worker.
// Tests: tests/daemon/host_facts_test.cpp; integration/hba_test.py.
#pragma once

#include "config/address.hpp"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace pgweir::daemon {

/// Of every interface that is up, with its mask: for samehost and samenet.
[[nodiscard]] std::vector<config::network> own_networks();

/// The name that the address has, if that name has this address: else empty. (Whoever owns a
/// network can call its addresses what they like; only the owner of the name can confirm it.)
[[nodiscard]] std::string confirmed_host_name(const config::ip_address& of);

/// The name of the system's user at the other end of a Unix socket (SO_PEERCRED). Empty where there
/// is none, and where the number stands for whoever is not known in our user namespace.
[[nodiscard]] std::string system_user_name(std::uint32_t uid);

/// Does a user namespace with this /proc/self/uid_map know every user of the system?
/// Source: user_namespaces(7).
[[nodiscard]] bool knows_all_users(std::string_view uid_map);

} // namespace pgweir::daemon
