// What can be seen of an engine at one moment: rows of plain values, for the console, the status
// page and the DETAIL of an error. Made on the worker's thread, sent to whoever asked.
#pragma once

#include "pool/ids.hpp"
#include "pool/limits.hpp"
#include "protocol/startup.hpp"

#include <cstdint>
#include <string>
#include <vector>

namespace pgweir::daemon {

/// Who holds a server.
struct lease_row {
    std::string database, user, application_name;
    std::string client_address;
    std::uint16_t client_port = 0;
    std::uint64_t client_id = 0;
    std::uint64_t server_id = 0;
    std::uint32_t server_process_id = 0;
    pool::duration held{};     // since it was given
    pool::duration in_state{}; // since it is as it is now
    std::string state; // "active", "idle in transaction", "idle in failed transaction", "pinned: …"
    std::string statement; // the one that runs, without its literals
};

/// Where the servers of a pool are that are not idle.
struct holders {
    std::vector<lease_row> leases;
    // No client has these.
    std::uint32_t awaiting_cancel = 0; // until PostgreSQL has taken a cancel request for them
    std::uint32_t resetting = 0;
    std::uint32_t connecting = 0;
    std::uint32_t closing = 0;

    /// Those of another worker as well.
    void add(holders others);
};

/// "listen, temporary_object"
[[nodiscard]] std::string pins_text(std::uint16_t pins);

struct client_row {
    std::string database, user, application_name, state;
    protocol::replication_kind replication = protocol::replication_kind::none;
    std::string address, local_address;
    std::uint16_t port = 0, local_port = 0;
    pool::duration connected_for{}, requested_ago{}, waited{};
    std::uint64_t id = 0, server_id = 0;
    std::uint32_t process_id = 0;
};

struct server_row {
    std::string database, user, application_name, state;
    protocol::replication_kind replication = protocol::replication_kind::none;
    std::string address, local_address;
    std::uint16_t port = 0, local_port = 0;
    pool::duration connected_for{}, requested_ago{};
    bool close_needed = false;
    std::uint64_t id = 0, client_id = 0;
    std::uint32_t process_id = 0;
};

/// What pins, or has pinned: one application's statements of one shape, for one reason.
struct pin_row {
    std::string database, user, application_name, reason;
    std::string statement;            // without its literals
    std::uint32_t pinned_clients = 0; // now
    std::uint64_t times = 0;
    pool::duration pinned{}; // all of them together, to the end of their last transactions
    pool::duration since{};  // the latest began
};

struct pool_row {
    std::string database, user;
    pool::pool_mode mode = pool::pool_mode::transaction;
    std::uint32_t clients_active = 0, clients_waiting = 0, clients_cancelling = 0;
    std::uint32_t servers_active = 0, servers_being_canceled = 0, servers_idle = 0,
                  servers_tested = 0, servers_login = 0, servers_cancelling = 0;
    pool::duration longest_wait{};
};

} // namespace pgweir::daemon
