// What engines keep of clients that listen to channels, and of the one connection per pool that
// listens for them (listening.cpp, listening_connection.cpp).
//
// Owner: a client, a pool's part. Thread: the worker's.
#pragma once

#include "pool/channel_registry.hpp"
#include "pool/ids.hpp"
#include "protocol/channel_use.hpp"
#include "protocol/client_channels.hpp"

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace pgweir::daemon {

struct pool_entry;

/// What the listening connection speaks, whatever PostgreSQL would have it speak by itself.
inline constexpr std::string_view listening_encoding = "UTF8";

/// A NotificationResponse, as PostgreSQL sent it. Shared by all who are told.
using shared_notification = std::shared_ptr<const std::string>;

/// What is being said to a client's server about channels, on our own account. One at a time, and
/// each is answered by one ReadyForQuery.
enum class channel_errand : std::uint8_t {
    none,
    ask,      // what it listens to
    carry,    // LISTEN to all that is served
    trace,    // LISTEN behind an UNLISTEN (client_channels::trace())
    fence,    // the fence of a move
    clear,    // UNLISTEN *
    own_news, // a fence behind the client's own NOTIFY
};

/// A client that listens, or is about to.
struct listening_client {
    protocol::client_channels channels;
    protocol::channel_use use;               // of the transaction
    std::deque<shared_notification> waiting; // until the client may be told
    std::size_t waiting_bytes = 0;
    std::string fence;              // that its servers were last made to listen to
    std::uint64_t last_fence = 0;   // of those behind its own NOTIFY
    std::uint64_t fence_passed = 0; // … the one that has come back last
    bool holds_ready = false;       // a ReadyForQuery waits for that fence, and until what it
                                    // listens to is known, which is not for ever
    pool::time_point hold_until{};
    bool fence_wanted = false; // … and has not been sent yet
    bool text_waits = false;   // that speaks of channels, for the server to be at rest
    bool carry_tried = false;  // in this transaction
    bool stays = false;        // its server cannot be left: it could not be asked, or told
    bool counted = false;
};

/// What a worker keeps of the clients of one pool that listen.
struct pool_listeners {
    pool::channel_registry<pool::client_id> clients;
    std::string fence; // the listening connection's; empty while there is none
};

/// The listening connection of a pool, on the worker that has it.
struct listening_connection {
    std::shared_ptr<pool_entry> of; // the pool whose clients it listens for
    pool::channel_registry<pool::worker_index> workers;
    pool::server_id server; // connected; nothing: not now
    std::string fence;      // a channel that nobody can guess, a new one for each connection
    bool listening = false; // to all of it
    std::uint64_t asked = 0, answered = 0; // Query messages, ever
    std::uint64_t first = 0;               // the one that listens to all
    struct join {
        std::uint64_t after; // answered
        pool::worker_index worker;
        pool::client_id client;
        std::uint64_t serial;
    };
    std::deque<join> joins;
    pool::time_point lost_at{};      // and not replaced yet
    pool::time_point unused_since{}; // nobody listens
};

} // namespace pgweir::daemon
