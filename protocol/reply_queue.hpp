// What a server still owes: one entry per message sent to it that will be answered, in order, each
// marked with where its answer goes. This is the one place that knows PostgreSQL's rules about
// which messages are answered at all: skip-until-Sync after an error in the extended protocol,
// messages that COPY FROM STDIN eats, CopyDone and CopyFail ignored when no COPY runs.
//
// Owner: a server connection. Thread: its worker's. Life: as long as the connection. Sans-io.
// Tests: tests/protocol/reply_queue_test.cpp.
// Source: PostgreSQL documentation, "Message Flow"; SocketBackend() and PostgresMain() in
// src/backend/tcop/postgres.c, CopyGetData() in src/backend/commands/copyfromparse.c.
#pragma once

#include "protocol/message.hpp"

#include <cstddef>
#include <cstdint>
#include <vector>

namespace pgweir::protocol {

/// Where the answer to a message goes.
enum class fate : std::uint8_t {
    forward, // to the client that holds the server
    swallow, // nowhere: the message was one of ours
};

/// What a message from the server means to whoever waits for it.
struct reply {
    enum class kind : std::uint8_t {
        asynchronous, // notice, notification, parameter status: belongs to no request
        partial,      // more of this answer is to come
        completes,    // the last message of the answer to one of our messages
        ready,        // ReadyForQuery, and it was owed
        unexpected,   // nothing owed this: the two sides have lost step, the server must be closed
    };
    kind what;
    fate where = fate::forward;
};

class reply_queue {
public:
    /// A message is being forwarded to the server. `describes_statement` matters for Describe only.
    void sent(frontend type, fate where = fate::forward, bool describes_statement = false);

    /// A message has come from the server.
    [[nodiscard]] reply received(backend type);

    /// Nothing is owed: every message sent has been answered or is known not to be answered.
    [[nodiscard]] bool empty() const { return head_ == entries_.size(); }
    [[nodiscard]] std::size_t size() const { return entries_.size() - head_; }

    /// ReadyForQuery messages still owed to the client, and those owed to ourselves.
    [[nodiscard]] std::size_t owed_ready(fate where) const;

    /// COPY FROM STDIN runs: the server reads CopyData now and answers nothing until it ends.
    [[nodiscard]] bool in_copy_in() const { return copy_in_; }

    /// An extended-protocol message failed and no Sync has been sent since: the server discards
    /// everything until one comes.
    [[nodiscard]] bool skipping_until_sync() const { return skipping_; }

    /// A message of the extended protocol was sent after the last Sync, Query or FunctionCall, so
    /// that the server may be inside a batch although nothing is owed (Flush).
    [[nodiscard]] bool batch_open() const { return batch_open_; }

    /// A Sync was sent while a COPY might or might not still have been reading, and the COPY
    /// failed: how many ReadyForQuery will come cannot be known. Such a server never goes back.
    [[nodiscard]] bool in_doubt() const { return in_doubt_; }

    /// More entries than a server could hold back answers for: stop reading from the client until
    /// `size()` has halved. PostgreSQL flushes its 8 KiB of answers long before.
    static constexpr std::size_t high_water = 65'536;
    [[nodiscard]] bool full() const { return size() >= high_water; }

    /// The reply expected next belongs to a message of ours (false when nothing is owed).
    [[nodiscard]] bool next_is_swallowed() const;

private:
    // The implementation is the protocol's; see reply_queue.cpp.
    struct entry {
        frontend type;
        fate where;
        bool describes_statement;
        bool after_copy_data; // sent when a COPY may already have read data
    };
    std::vector<entry> entries_;
    std::size_t head_ = 0;
    bool copy_in_ = false;
    bool skipping_ = false;
    bool batch_open_ = false;
    bool in_doubt_ = false;
};

} // namespace pgweir::protocol
