// Giving a server a statement that it lacks, in front of the message that needs it.
//
// Where the client goes by what it was once told of the statement's results, PostgreSQL is asked
// first whether they still look so (stale_statement.hpp): with a Describe and a Flush in the
// client's batch, whose answer the client's message waits for. That is a round trip for each such
// statement and server, once.
//
// Owner: nobody, it is part of route_statement_message(). Sans-io.
// Tests: tests/protocol/statement_router_test.cpp.
#pragma once

#include "protocol/statement_router.hpp"

namespace pgweir::protocol {

/// A Parse that is sent now.
[[nodiscard]] inline parse_time parsed_now(const statement_link& link) {
    return {link.epoch, link.table.next_parse()};
}

class providing {
public:
    providing(const statement_link& link, reply_queue& owed, relay_sink& to)
        : link_(link)
        , owed_(owed)
        , to_(to) {}

    /// One more is going to be on the server: the least recently used goes, if there are too many.
    void make_room();
    /// The server is given what the client knows by one of its names. `wait`: when an answer has
    /// come, it may turn out to have changed.
    [[nodiscard]] routing provide_for(client_statements::named& known);
    /// The client is about to be told what its results look like: so are we, the first time.
    void describe_first(client_statements::named& known);

private:
    [[nodiscard]] bool is_to_be_checked(const client_statements::named& known) const;
    void parse(const statement_ref& what);
    void describe(client_statements::named& known);

    const statement_link& link_;
    reply_queue& owed_;
    relay_sink& to_;
};

} // namespace pgweir::protocol
