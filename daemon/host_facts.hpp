// What access rules may ask about hosts: this machine's own addresses, and the name of a client's.
// The look-ups wait for a name server: never on a worker.
// Tests: tests/daemon/host_facts_test.cpp; integration/hba_test.py.
#pragma once

#include "config/address.hpp"

#include <string>
#include <vector>

namespace pgweir::daemon {

/// Of every interface that is up, with its mask: for samehost and samenet.
[[nodiscard]] std::vector<config::network> own_networks();

/// The name that the address has, if that name has this address: else empty. (Whoever owns a
/// network can call its addresses what they like; only the owner of the name can confirm it.)
[[nodiscard]] std::string confirmed_host_name(const config::ip_address& of);

} // namespace pgweir::daemon
