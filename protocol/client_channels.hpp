// The channels that a client listens to without having a server: another connection, the listening
// connection, listens on its behalf. This is what the client's part of that is like, and how it
// changes; all of it is told by PostgreSQL, none of it is guessed from tags.
//
// LISTEN itself is carried out by the server that the client has. When its transaction has ended,
// the server is asked what it listens to (told()); what is new there *moves*: the listening
// connection listens to it as well (joined()), then a NOTIFY of ours, the fence, is sent through
// the server (fence_sent()), which listens to the fence too. PostgreSQL gives every session its
// notifications in one and the same order, so the fence cuts both streams at the same place: up to
// it the server's notifications are the client's (left_server()), behind it those of the listening
// connection (arrived()). Nothing is lost, nothing comes twice.
//
// UNLISTEN of what has moved concerns no server: that it was carried out is known from where the
// transaction goes from there. In a transaction block a LISTEN of our own to a channel that nobody
// notifies stands behind it (trace()): PostgreSQL undoes both or none, and the answer shows which.
//
// Owner: a client. Thread: its worker's. Sans-io. Tests: tests/protocol/client_channels_test.cpp.
// Source: PostgreSQL documentation, "LISTEN", "UNLISTEN", "NOTIFY"; src/backend/commands/async.c.
#pragma once

#include "protocol/channel_sql.hpp"

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace pgweir::protocol {

class client_channels {
public:
    /// What the listening connection listens to for this client.
    [[nodiscard]] const channel_set& served() const { return served_; }
    /// A server's notification of this channel comes from the listening connection as well.
    [[nodiscard]] bool serves(std::string_view channel) const { return served_.contains(channel); }
    /// The listening connection's notification is the client's.
    [[nodiscard]] bool delivers(std::string_view channel) const {
        return (serves(channel) && !awaited_.contains(channel)) ||
               (arrived_early_ && moving_.contains(channel));
    }
    [[nodiscard]] bool empty() const { return served_.empty() && moving_.empty(); }

    // UNLISTEN ------------------------------------------------------------------------------------

    /// A text with these is being sent. No other is sent before what came of it is known.
    void sent(const std::vector<unlisten>& texts);
    /// An error has come: what was sent since the last ReadyForQuery is undone.
    void failed();
    /// ReadyForQuery has come in a transaction block: a channel that the server is to listen to
    /// from now on; nothing: none.
    [[nodiscard]] std::optional<std::string> trace();
    /// … outside of one.
    void transaction_ended();

    // A text that asks what is listened to
    // -------------------------------------------------------------

    /// The server does not listen to just what the client listens to.
    [[nodiscard]] bool missing() const { return (!served_.empty() && !carried_) || !ours_.empty(); }
    /// What it listens to because of us alone.
    [[nodiscard]] const channel_set& ours() const { return ours_; }
    /// It has been made to listen to all that is served and to nothing of ours, outside a
    /// transaction block: what it answers from then on says all.
    void carried_by_server();

    // The server's answer
    // --------------------------------------------------------------------------

    /// It is being asked, outside a transaction block.
    void asked();
    struct changes {
        std::vector<std::string> gone;  // served no longer
        std::vector<std::string> fresh; // what is to be listened to from now on, for it to move
    };
    /// It listens to these.
    [[nodiscard]] changes told(const channel_set& there);
    /// It listens to something of the client's or ours, and is to be told UNLISTEN *.
    [[nodiscard]] bool server_listens() const { return server_listens_; }
    /// It is being told.
    void server_unlistens();
    /// DISCARD ALL was carried out, or the client leaves. What was served, or was about to be.
    [[nodiscard]] std::vector<std::string> all_gone();

    // Moving
    // ---------------------------------------------------------------------------------------

    enum class stage : std::uint8_t {
        settled, // nothing moves
        joining, // the listening connection is asked to listen
        joined,  // … listens
        fenced,  // the fence is under way on the server
    };
    [[nodiscard]] stage now() const { return stage_; }
    /// Of the move that is under way.
    [[nodiscard]] std::uint64_t serial() const { return serial_; }
    /// The listening connection listens to all that moves. False: to what was to move before.
    bool joined(std::uint64_t serial);
    void fence_sent(std::string_view fence);
    /// The fence has come from the server: from now on its notifications are not the client's.
    void left_server();
    /// … from the listening connection.
    void arrived(std::uint64_t serial);
    /// The listening connection was lost and listens again: fences may have been lost with it.
    void all_arrived();
    /// It cannot move: the server goes on listening. What need not be listened to any more.
    [[nodiscard]] std::vector<std::string> stay();

private:
    struct change {
        unlisten what;
        std::uint64_t trace = 0; // its number; 0: not in a transaction block
    };
    [[nodiscard]] static std::string trace_name(std::uint64_t number);

    channel_set served_;
    channel_set moving_;
    std::map<std::string, std::uint64_t, std::less<>>
        awaited_; // served, of the fence with that serial
    std::uint64_t serial_ = 0, last_trace_ = 0;
    stage stage_ = stage::settled;
    bool carried_ = false;
    bool server_listens_ = false;
    bool arrived_early_ = false;    // the fence came from the listening connection first
    channel_set ours_;              // what the server listens to because of us
    std::vector<unlisten> pending_; // sent since the last ReadyForQuery
    std::vector<change> changes_;   // … before
    std::vector<change> in_answer_; // … before the server was asked
};

} // namespace pgweir::protocol
