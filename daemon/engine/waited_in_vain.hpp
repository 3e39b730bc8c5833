// What a client that waited for a server in vain is told besides that: where the servers are, and
// what can be done. Pure. Tests: tests/daemon/waited_in_vain_test.cpp.
#pragma once

#include "daemon/engine/snapshot.hpp"
#include "protocol/server_refused.hpp"

#include <cstdint>
#include <string>
#include <string_view>

namespace pgweir::daemon {

/// "1.2 s"
[[nodiscard]] std::string in_seconds(pool::duration value);

/// DETAIL where PostgreSQL is there, and every server in use: who holds them, the longest first.
[[nodiscard]] std::string holders_detail(holders who);

/// What bounds a pool, and how long its clients wait.
struct pool_bound {
    std::string_view setting; // maxconn, max_replication
    std::uint32_t servers = 0;
    pool::duration wait_timeout{};
};
/// … and HINT.
[[nodiscard]] std::string holders_hint(const holders& who, const pool_bound& bound);

/// Whom a pool logs in as.
struct pool_login {
    std::string_view database, role; // PostgreSQL's names
};
/// HINT where PostgreSQL lets nobody in for now. `idle_of_others`: servers that other pools keep
/// there, as far as is known. Empty: there is none, its words are enough.
[[nodiscard]] std::string refusal_hint(protocol::server_refused::why reason,
                                       const pool_login& login, const pool_bound& bound,
                                       std::uint32_t idle_of_others = 0);

} // namespace pgweir::daemon
