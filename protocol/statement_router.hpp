// Between a client's messages about prepared statements and a server that is not always the same
// one: names become those that servers know, what the server lacks is given to it in front of the
// message that needs it, what it has of somebody else is kept out of reach.
//
// | the client sends                | the server gets                                           |
// |---------------------------------|-----------------------------------------------------------|
// | Parse with a new name           | Close and Parse of the name made from what it says        |
// | Parse with a name it has        | the same Parse, behind one that makes PostgreSQL refuse it|
// | Bind, Describe of a name it has | Parse if it lacks it; then the same with the server's name|
// | … of a name it does not have    | the same: PostgreSQL says that there is none              |
// | … of one that PREPARE has made  | PREPARE; then the same                                    |
// | … of one that is stale (below)  | the same of a name that no server knows                   |
// | Close of a name                 | the same: no server knows that name, and Close never fails|
// | Bind, Describe without a name   | Parse if the server has another's; then the same          |
// | SQL that names a statement      | that statement under that name, for so long               |
// | PREPARE in a Query of its own   | the same, and that statement no longer than others        |
// | SQL with currval() or lastval() | DISCARD SEQUENCES if others' values are there; then it    |
// | SQL that lists statements       | Close of all that is not the client's; then it            |
// | SQL that resets settings        | the same; then SET to what was asked for at start-up      |
//
// Parse is always carried out, never answered from memory: its errors are PostgreSQL's to find, and
// what it finds may have changed since. Where a message depends on what an earlier batch, not
// answered yet, will have done, it waits. What is stale: stale_statement.hpp.
//
// Owner: nobody, it is part of client_stream::forward(). Sans-io.
// Tests: tests/protocol/statement_router_test.cpp (scripts, and against a model).
#pragma once

#include "protocol/client_statements.hpp"
#include "protocol/message.hpp"
#include "protocol/name_effects.hpp"
#include "protocol/prepared_statement.hpp"
#include "protocol/reply_queue.hpp"
#include "protocol/server_statements.hpp"
#include "protocol/session_state.hpp"
#include "protocol/setting_replay.hpp"

#include <cstdint>
#include <string>

namespace pgweir::protocol {

/// Where relayed bytes go, in this order: pieces of the read buffer, and bytes of our own.
class relay_sink {
public:
    /// These stay where they are until they have been sent.
    virtual void pass(bytes piece) = 0;
    /// To append to. Valid until the next call.
    virtual std::string& own() = 0;
    /// Another message may be passed on. False: send first.
    [[nodiscard]] virtual bool has_room() const = 0;

protected:
    ~relay_sink() = default;
};

struct sequence_memory; // sequence_memory.hpp
struct channel_use;     // channel_use.hpp
struct kept_statements; // own_statement.hpp

/// What a client's statements and a server's have to do with each other during a lease.
struct statement_link {
    client_statements& mine;
    server_statements& there;
    statement_table& table;
    const setting_map& settings;           // the client's: the meaning of a text depends on them
    const setting_map* at_start = nullptr; // what the client's RESET goes back to; nothing: nothing
    std::size_t per_server = 0;            // so many at most; 0: names are not shared, they pin
    struct counts {
        std::uint64_t provided = 0; // Parse put in front because the server lacked it
        std::uint64_t found = 0;    // uses of a statement that the server had
        std::uint64_t evicted = 0;
        bool reads_sequences = false; // something that calls currval() or lastval()
        bool sequences_apart = false; // DISCARD SEQUENCES was put in front, with a Sync
        bool checking = false; // a statement was put in front, and its Describe is waited for
    };
    counts& counted;
    std::uint64_t client = 0;             // tells the clients of all workers apart
    std::uint64_t epoch = 0;              // how often tables have been seen to change
    known_names names = {};               // of its database
    sequence_memory* sequences = nullptr; // the server's; nothing: it is this client's alone
    channel_use* channels = nullptr;      // nothing: none are listened to elsewhere
    kept_statements* kept = nullptr;      // the server's; nothing: none
    transaction_status status = transaction_status::idle; // as last heard
    bool cancel_under_way = false;      // it would strike whatever the server runs
    bool shares_sql_statements = false; // what PREPARE has made need not keep the client
    bool settings_ahead = false; // unanswered, in the same batch: no more than that may be sent
    // Kinds of session state (pin_reason) that the client is not to have, or that nobody cares for.
    std::uint16_t rejected = 0, ignored = 0;
};

/// What is to become of a message.
struct routing {
    enum class how : std::uint8_t {
        as_is,          // it is sent as it came (something may have been put in front)
        rewritten,      // … but for its first `skip_bytes`, which have been replaced
        wait,           // not yet: try again when an answer has come
        too_long,       // rewritten it would be longer than a message can be
        not_to_be_run,  // it might read another client's values, and that cannot be helped here
        channels_first, // the server is to listen to the client's channels before it
    };
    how is = how::as_is;
    std::size_t skip_bytes = 0;
    bool is_unnamed_naming_nothing = false; // an unnamed Parse, whose text names no statements
};

/// A message at the front of `frame`, of which `frame` holds all (`complete`) or the beginning.
/// What it needs is appended to `to`, what will be answered to `owed`.
[[nodiscard]] routing route_statement_message(frontend type, bytes frame, bool complete,
                                              const statement_link& link, reply_queue& owed,
                                              session_state& state, relay_sink& to);

/// Does the Parse with this body say just what the client's last unnamed one said, which left
/// nothing in the session and named no statements? Then there is nothing to find out about it.
[[nodiscard]] inline bool repeats_unnamed_parse(bytes body, const statement_link& link) {
    return !body.empty() && body[0] == std::byte{} &&
           link.mine.unnamed_was_plain(body.subspan(1), link.names.version);
}
/// It is being passed on.
inline void repeat_unnamed_parse(const statement_link& link, reply_queue& owed) {
    const auto batch = owed.batch();
    const auto serial = link.mine.unnamed_sent_the_same(batch);
    link.there.sent({.is = server_statements::change::kind::unnamed_parse, .serial = serial},
                    batch);
    owed.sent(frontend::parse, fate::forward, {.noted = true});
}

/// The first thing that the message at the front of `frame` does is to destroy the unnamed
/// statement. (A named Parse does not, whose text is carried out only when it is bound.)
[[nodiscard]] inline bool destroys_unnamed_statement(bytes frame) {
    if (frame.size() <= header_bytes) {
        return false;
    }
    const auto type = static_cast<frontend>(frame[0]);
    return type == frontend::query ||
           (type == frontend::parse && frame[header_bytes] == std::byte{});
}

/// In front of the Execute of a portal that the client has had described (providing.hpp).
void describe_portals_statement(const statement_link& link, reply_queue& owed, relay_sink& to);
/// An Execute is being passed on.
inline void note_execute(const statement_link& link, reply_queue& owed, relay_sink& to) {
    link.mine.executes_portal();
    if (link.mine.has_described_portal()) [[unlikely]] {
        describe_portals_statement(link, owed, to);
    }
    if (link.mine.may_deallocate_something()) {
        link.mine.executes(owed.batch());
    }
}

} // namespace pgweir::protocol
