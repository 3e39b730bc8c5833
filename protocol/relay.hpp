// The two halves of the relay: each takes the bytes that were read from one side and says, frame by
// frame, what is to be done with them. Only headers are looked at, except for the few messages
// whose content matters. No byte is copied.
//
// `client_stream` belongs to a client and outlives its leases; `server_stream` belongs to a server
// and outlives its clients. Thread: the worker's. Sans-io. client_stream is in client_stream.cpp,
// server_stream in server_stream.cpp.
// Tests: tests/protocol/client_stream_test.cpp, server_stream_test.cpp (scripts, and every script
// split at every byte).
// Source: PostgreSQL documentation, "Message Flow" and "Message Formats".
#pragma once

#include "protocol/message.hpp"
#include "protocol/reply_queue.hpp"
#include "protocol/session_state.hpp"
#include "protocol/statement_router.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace pgweir::protocol {

/// So much of a Bind, Describe, … is seen in the read buffer before it is forwarded: the names in
/// it. The rest of a larger one is streamed.
inline constexpr std::size_t front_seen_bytes = 8'192;
/// The same for Query and Parse, whose text decides what the session is left with. Of a larger one
/// nobody knows (pin_reason::large_statement).
inline constexpr std::size_t statement_seen_bytes = 256 * 1'024;

/// What the front of a client's unread bytes asks for, before anything is forwarded.
enum class client_wants : std::uint8_t {
    more,      // no message can be judged yet: read on
    server,    // a message that only a server can answer
    nothing,   // the front was dropped (CopyData, CopyDone, CopyFail, Flush with no server)
    ready,     // a Sync with no server and nothing open: owed one ReadyForQuery, idle
    terminate, // Terminate
    violation, // not a message a client may send here: FATAL 08P01
};

struct client_peek {
    client_wants wants;
    std::size_t consumed = 0; // bytes to drop from the front (nothing, ready, terminate)
};

/// What `client_stream::forward` did with the bytes it was given.
struct client_step {
    enum class stop : std::uint8_t {
        exhausted,       // everything usable was taken; what is left is less than can be judged
        terminate,       // Terminate came; it is not forwarded
        violation,       // FATAL 08P01, then close; nothing of the offending message was taken
        queue_full,      // reply_queue::full(): stop reading until answers have come
        sink_full,       // relay_sink::has_room() says no: send, then go on
        awaiting_answer, // the next message depends on an answer that has not come yet
        others_sequences, // … might read another client's currval(), and that cannot be helped here
        channels_first,   // … is about channels that the server does not listen to yet
    };
    std::size_t taken_bytes = 0; // from the front of the input
    stop why = stop::exhausted;
    std::uint32_t queries = 0; // Query, Execute and FunctionCall messages among them
};

/// What PostgreSQL says of the message at the front of `in`, which client_stream has called a
/// violation: "invalid frontend message type 121". Empty where it says nothing.
[[nodiscard]] std::string violation_text(bytes in);

/// The SQL of a Query or Parse at the front of `in`; nothing for other messages.
[[nodiscard]] std::string_view statement_at(bytes in);
/// The SQL that the Bind at the front of `in` is about; nothing where it is not known.
[[nodiscard]] std::string_view statement_bound(bytes in, const client_statements& mine);

class client_stream {
public:
    /// No server is held. Looks at the front of `in`. `buffer_full`: `in` fills the whole buffer,
    /// so that an incomplete message at its very front must be judged by what is there.
    [[nodiscard]] client_peek peek(bytes in, bool buffer_full);

    /// A server is held (peek() said `server`, or forward() has been called since). Takes as many
    /// messages, and parts of messages, as may be sent on, and passes them `to` the server. Records
    /// what they will be answered with in `owed` and what they do to the session in `state`.
    /// `statements`: nothing where a client keeps its server for as long as it lives, so that its
    /// statements are PostgreSQL's own business.
    [[nodiscard]] client_step forward(bytes in, bool buffer_full, relay_sink& to, reply_queue& owed,
                                      session_state& state, const statement_link* statements);

    /// The client's current request is answered with an error of ours, without a server (a cancel,
    /// a time-out while waiting). Takes the messages it consists of: one Query or FunctionCall, or
    /// everything up to and including the next Sync. Ends (`complete`) without taking it at a
    /// Terminate and at what is no message: peek() then says which.
    struct discarded {
        std::size_t consumed = 0;
        bool complete = false; // false: the end has not come yet, call again with more bytes
        bool ready = false;    // its end is owed a ReadyForQuery
    };
    [[nodiscard]] discarded discard_request(bytes in);

    /// Its batch has been answered with an error in place of a server's answer, and has been sent
    /// in part (`up_to_sync`), or but for the rest of its last message: discard_request() takes the
    /// rest.
    void discard_rest(bool up_to_sync) {
        discarding_request_ = up_to_sync;
        discarding_last_ = !up_to_sync;
    }

    /// The server died: what is still to come of a message that was partly forwarded goes nowhere.
    void abandon_message();

    /// Part of a message has been forwarded and the rest has not: its server cannot be given back.
    [[nodiscard]] bool inside_message() const { return body_left_ != 0 && !discarding_body_; }
    /// So many bytes of the current message are still to come.
    [[nodiscard]] std::size_t body_left() const { return body_left_; }

private:
    [[nodiscard]] std::size_t take_body(std::size_t available);

    std::size_t body_left_ = 0;       // bytes of the current message that are still to come
    bool discarding_body_ = false;    // …and they are dropped, not forwarded
    bool discarding_request_ = false; // up to the next Sync
    bool discarding_last_ = false;    // the current message is the last of that request
};

/// One stretch of the server's bytes and what is to be done with it.
struct server_step {
    enum class stop : std::uint8_t {
        exhausted, // everything usable was taken
        ready,     // the last frame taken was ReadyForQuery: `status` is set
        parameter, // … ParameterStatus: `name`, `value` are set
        error,     // … ErrorResponse: `sqlstate`, `fatal` are set
        command,   // … CommandComplete of ALTER, CREATE, DROP, DEALLOCATE, DISCARD, PREPARE, DO:
                   // `tag`
        result,    // … DataRow, FunctionCallResponse or what describes rows, an answer to us:
                   // `result`, if it is short
        notification, // … NotificationResponse, which is whole
        fate_changed, // the next frame has another fate: take these bytes first
        desync,       // what follows was asked for by nobody: close the server
    };
    std::size_t taken_bytes = 0; // from the front of the input, all with the same fate
    fate where = fate::forward;
    stop why = stop::exhausted;
    transaction_status status = transaction_status::idle;
    std::string_view name, value, tag; // into the input
    std::string_view sqlstate;         // … five characters, or empty where there is none
    std::string_view error; // the body of an ErrorResponse, as far as it is there; into the input
    bytes result;           // the body of what answers us; empty where it is too long to be there
    bool describes = false; // what answers us is ParameterDescription, and then RowDescription
                            // (else empty, too) or NoData
    std::size_t last_frame_bytes = 0; // so much of the last frame taken is there
    bool fatal = false;               // FATAL or PANIC: the server will close
};

class server_stream {
public:
    /// Looks at the front of `in`. Call again with what is left until `exhausted`. Frames that
    /// must be seen whole (ReadyForQuery, ParameterStatus, CommandComplete, the first part of a
    /// long ErrorResponse) are taken only when they are there; all but ParameterStatus and
    /// NotificationResponse fit any buffer of 8 KiB. `buffer_full`: the buffer is full, so that a
    /// ParameterStatus that is not there by now would never be.
    [[nodiscard]] server_step next(bytes in, bool buffer_full, reply_queue& owed);

    [[nodiscard]] bool inside_message() const { return body_left_ != 0; }

private:
    [[nodiscard]] std::size_t take_more_of(char type, bytes in);

    std::size_t body_left_ = 0; // bytes of the current message that are still to come
    fate body_fate_ = fate::forward;
};

} // namespace pgweir::protocol
