// What the engines of different workers say to one another. Values: nothing in them is shared but
// pool entries, and a server connection that comes along belongs to whoever has the message.
#pragma once

#include "daemon/engine/audit_trail.hpp"
#include "daemon/engine/listening.hpp"
#include "daemon/engine/pool_entry.hpp"
#include "daemon/engine/ports.hpp"
#include "daemon/engine/snapshot.hpp"
#include "protocol/server_refused.hpp"
#include "protocol/server_statements.hpp"
#include "protocol/startup.hpp"

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <variant>
#include <vector>

namespace pgweir::daemon {

/// A free server goes to a worker where somebody has waited longer.
struct server_in_transit {
    std::shared_ptr<pool_entry> entry;
    server_id id;
    std::shared_ptr<const server_access> access;
    std::uint32_t generation = 0;
    time_point created_at, expires_at, ready_at;
    std::unique_ptr<detached_connection> socket;
    protocol::cancel_key key;
    std::map<std::string, std::string> parameters;
    protocol::setting_map opened_with;
    protocol::setting_map carried;
    std::chrono::milliseconds own_idle_limit{};
    std::string own_role;
    std::int64_t role_settings = 0;
    std::vector<protocol::server_statements::held> statements;
    client_id sequences_of;
    bool sequences_foreign = false;
    std::unique_ptr<audit_trail> trail;
};
/// Somebody waits here: have you an idle server?
struct ask_idle {
    std::shared_ptr<pool_entry> entry;
    worker_index from;
};
/// A slot has come free, or PostgreSQL is back: grow, if anybody waits there. Or the settings of
/// the role have changed: servers that have the old ones go. Or nobody is in the pool any more.
struct wake {
    std::shared_ptr<pool_entry> entry;
};
/// PostgreSQL has no connection left for clients of this pool: have you an idle server of another
/// one to spare?
struct make_room {
    std::shared_ptr<pool_entry> entry;
    protocol::server_refused::why reason;
    worker_index from;
};
/// Cancel what the session with this key is doing, if it is yours.
struct route_cancel {
    protocol::cancel_key key;
    worker_index from;
    client_id on_behalf; // the connection that carried the request
};
/// … done, or not mine. One from each worker.
struct cancel_done {
    client_id on_behalf;
};
/// Who holds this pool's servers on your side?
struct ask_holders {
    std::shared_ptr<pool_entry> entry;
    worker_index from;
    client_id on_behalf;
};
struct holders_answer {
    client_id on_behalf;
    holders who;
};

/// To the worker with the listening connection: clients here listen to these as well.
struct join_channels {
    std::shared_ptr<pool_entry> entry;
    worker_index from;
    client_id client;
    std::uint64_t serial = 0;
    std::vector<std::string> channels;
};
/// … no more.
struct leave_channels {
    std::shared_ptr<pool_entry> entry;
    worker_index from;
    std::vector<std::string> channels;
};
/// From there: it listens to all that this client asked for.
struct channels_joined {
    client_id client;
    std::uint64_t serial = 0;
};
/// … a notification, for whoever listens.
struct notified {
    std::shared_ptr<pool_entry> entry;
    shared_notification what;
};
/// … a fence of this client's.
struct fence_passed {
    client_id client;
    std::uint64_t serial = 0;
};
/// … the connection listens (its fence is told), or was lost. `again`: as it did before.
struct listening_state {
    std::shared_ptr<pool_entry> entry;
    std::string fence;
    bool again = false;
};

struct engine_message {
    std::variant<server_in_transit, ask_idle, wake, make_room, route_cancel, cancel_done,
                 ask_holders, holders_answer, join_channels, leave_channels, channels_joined,
                 notified, fence_passed, listening_state>
        what;
};

} // namespace pgweir::daemon
