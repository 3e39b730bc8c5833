// See role_settings.cpp.
#pragma once

#include "daemon/engine/ports.hpp"
#include "daemon/engine/server.hpp"
#include "protocol/relay.hpp"

namespace pgweir::daemon {

/// PostgreSQL has said an error to a client. If it is that the session's role has been dropped, its
/// server and all that logged in as that role are closed as soon as nobody has them: there may be
/// another role of that name by now.
void note_dropped_role(server& s, const protocol::server_step& error, engine_ports& ports);

} // namespace pgweir::daemon
