// What to do where PostgreSQL asks for a password and pgweir has none for it: the client was let in
// without showing one (cert, peer, trust), and of its own only a verifier is known, if anything.
#pragma once

#include "daemon/engine/pool_entry.hpp"

#include <string>

namespace pgweir::daemon {

/// Empty: it has failed for something else.
inline std::string server_password_hint(const pool_entry& entry, const connect_failure& why) {
    const auto access = entry.access.load();
    const bool asked = why.reason == protocol::server_refused::why::authentication &&
                       why.sqlstate.empty(); // PostgreSQL has refused nothing: we gave up
    if (!asked || !access->password.empty() || access->keys) {
        return {};
    }
    return "Give databases." + entry.database +
           " a user and password for its servers, or let pgweir in at PostgreSQL without one "
           "(cert, "
           "peer, trust in its pg_hba.conf). A login by SCRAM or password would show what is "
           "missing.";
}

} // namespace pgweir::daemon
