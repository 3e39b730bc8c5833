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

#include <algorithm>

namespace pgweir::protocol {

/// A Parse that is sent now.
[[nodiscard]] inline parse_time parsed_now(const statement_link& link) {
    return {link.epoch, link.table.next_parse()};
}

/// What a Parse that is sent now, under this name, is read under.
[[nodiscard]] inline reading_context
context_now(const statement_link& link, const session_state& state, std::string_view name) {
    return state.reading_is_known() ? context_of(link.settings)
                                    : context_of(link.client, significant(name));
}

/// What a server's statement must be to be the client's.
[[nodiscard]] inline statement_needs needs_of(const client_statements::named& known) {
    const auto parsed = known.what->of_one_client ? known.when.count : 0;
    return {{known.when.epoch, std::max(known.what->changed, parsed)}, known.expected_shape()};
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
    void parse(const client_statements::named& known);
    void describe(client_statements::named& known);

    const statement_link& link_;
    reply_queue& owed_;
    relay_sink& to_;
};

} // namespace pgweir::protocol
