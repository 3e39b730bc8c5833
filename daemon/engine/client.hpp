// A client as the engine knows it: one value per connection. Nothing about a client hides in a
// closure or a coroutine; while it is idle, this is all there is of it.
//
// Owner: the engine's table of clients, keyed by id. Thread: the worker's. Life: from accept to the
// end of the connection. Tests: tests/simulation, and every integration test.
#pragma once

#include "daemon/engine/buffer.hpp"
#include "daemon/engine/listening.hpp"
#include "daemon/engine/outbox.hpp"
#include "daemon/engine/pin_log.hpp"
#include "daemon/engine/ports.hpp"
#include "pool/close_reason.hpp"
#include "pool/shard.hpp"
#include "protocol/client_login.hpp"
#include "protocol/relay.hpp"
#include "protocol/session_state.hpp"
#include "protocol/setting_replay.hpp"

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

namespace pgweir::daemon {

class engine;
struct server;
struct pool_part;

enum class client_state : std::uint8_t {
    login,            // startup and authentication messages
    deriving,         // … and a key is being derived elsewhere
    awaiting_welcome, // proven; needs a server to be welcomed with (holds it, or waits for it)
    idle,             // between transactions
    waiting,          // has sent something, queues for a server
    active,           // holds a server
    refusing,         // its request cannot be served; who holds the servers is being found out
    discarding,       // its request was refused; the rest of it is being thrown away
    console,          // talks to the console
    cancelling,       // a CancelRequest; waits until it has been carried out
    closing,          // has been told why; its last bytes are being sent
    gone,             // about to be deleted
};
[[nodiscard]] std::string_view to_string(client_state state);

/// What is known of a client and seldom needed.
struct client_info {
    std::string database;
    std::string user;
    std::string application_name;
    connection::addresses where;
    time_point connected_at{};
    protocol::cancel_key key;        // ours: what its BackendKeyData said
    std::uint16_t minor_version = 0; // of the protocol
    /// What it said at start-up, until the server that is opened for it alone has been told.
    std::unique_ptr<protocol::startup_message> startup;
    protocol::replication_kind replication = protocol::replication_kind::none;
    server_id opening; // that server, until it has logged in
    /// Who it says it is, until it is known on what terms that may log in.
    std::unique_ptr<protocol::login_find_user> wants;
    /// What it has been offered, which a reload may take from everybody else; nothing: no TLS.
    std::shared_ptr<const tls_context> offered_tls;
    /// There as long as what has been asked of others about it is still of use.
    std::shared_ptr<const void> asked;
    bool looked_up = false;    // whether known or not: asked of PostgreSQL
    bool awaits_proxy = false; // the PROXY protocol's header comes first
    /// Where it counts as one that has not logged in (arrival::login_place); nothing: no longer.
    std::optional<std::string> login_place;
    /// What it is told in a moment: that it has failed to prove who it is.
    std::unique_ptr<protocol::login_refuse> late_refusal;
    /// Since when it is pinned, for each reason, and where that is counted; made by the first pin.
    struct pin {
        time_point counted_to{};
        pin_log::entry* row = nullptr;
    };
    std::unique_ptr<std::array<pin, protocol::pin_reason_count>> pins;
};

struct client final : pool::waiter, connection_events {
    client(engine& home_, client_id id_, std::unique_ptr<connection> socket_,
           protocol::statement_table& table)
        : home(home_)
        , socket(std::move(socket_))
        , statements(table) {
        id = id_;
    }

    void on_read(time_point now, std::size_t count, boost::system::error_code error) override;
    void on_readable(time_point now) override;
    void on_writable(time_point now) override;
    void on_connected(time_point, boost::system::error_code) override {}
    void on_secured(time_point now, const protocol::tls_facts* facts,
                    const protocol::tls_failure& failure) override;

    /// No more bytes will come behind those that have been read, before some of them are used.
    [[nodiscard]] bool in_is_full() const {
        return in.full() && in.capacity() >= large_buffer_bytes;
    }

    // Hot: touched by every transaction.
    engine& home;
    std::unique_ptr<connection> socket;
    client_state state = client_state::login;
    bool reading = false;           // a read, or wait_readable(), is outstanding
    bool bulk = false;              // its last read filled the buffer: the next one is larger
    bool blocked = false;           // its socket is full, wait_writable() is outstanding
    bool over_limit = false;        // accepted beyond max_clients: only to be told so
    std::uint16_t pins_counted = 0; // what SHOW PINS and the metrics have of its pins
    server* held = nullptr;
    pool_part* pool = nullptr;
    std::size_t pinned_bytes = 0; // at the front of `in`, in the server's outbox
    buffer in;
    outbox out;
    protocol::client_stream stream;
    protocol::session_state session;
    protocol::client_statements statements;
    std::shared_ptr<const protocol::setting_map> settings; // of its session, wherever it is
    std::shared_ptr<const protocol::setting_map> at_start; // what RESET goes back to
    std::shared_ptr<const protocol::setting_map> reported; // what it has been told of them
    time_point state_since{};
    duration idle_limit{}; // its idle_session_timeout; 0: none
    time_point transaction_started{};
    time_point query_started{};
    bool query_running = false;
    bool reads_sequences = false; // it has called currval() or lastval()
    server_id last_server;        // if that remembers what the client did there, and nothing else

    // Cold.
    time_point pinned_idle_since{};
    time_point idle_until{}; // its place in engine::idle_deadlines_, unless zero
    std::unique_ptr<listening_client> listening; // to channels that need no server
    time_point said_no_more_at{}; // Terminate or EOF came while it was still being answered
    pool::client_close closing_for = pool::client_close::internal_error;
    std::unique_ptr<protocol::client_login> login;
    std::unique_ptr<client_info> info;
};

} // namespace pgweir::daemon
