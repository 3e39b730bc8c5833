// What a client that waited for a server in vain is told: where the servers are, and what helps.
#include "daemon/engine/waited_in_vain.hpp"

#include <doctest/doctest.h>

#include <string>

using namespace pgweir::daemon;
using namespace std::chrono_literals;
using why = pgweir::protocol::server_refused::why;

namespace {

lease_row lease(std::string application, pgweir::pool::duration held) {
    lease_row row;
    row.application_name = std::move(application);
    row.client_address = "192.0.2.1";
    row.client_port = 4711;
    row.held = held;
    row.state = "active";
    return row;
}

constexpr pool_bound bound{.setting = "maxconn", .servers = 2, .wait_timeout = 1500ms};

} // namespace

TEST_CASE("waited_in_vain: the longest holders come first, five are named") {
    holders who;
    who.leases = {lease("b", 2s), lease("", 3400ms)};
    CHECK(holders_detail(who) ==
          "Held by (no application_name) from 192.0.2.1:4711 for 3.4 s, active; "
          "\"b\" from 192.0.2.1:4711 for 2.0 s, active.");
    CHECK(holders_hint(who, bound) == "Raise maxconn (2) or wait_timeout (1.5 s), or find out why "
                                      "the holders keep their transactions open.");
    who.leases.assign(7, lease("c", 1s));
    CHECK(holders_detail(who).ends_with("active; and 2 more."));
}

TEST_CASE("waited_in_vain: servers change hands quickly where each has a client all the time") {
    CHECK(holders_detail({}) == "Held by nobody for long: they change hands quickly.");
    CHECK(holders_hint({}, bound) == "Raise maxconn (2) or wait_timeout (1.5 s).");
}

TEST_CASE("waited_in_vain: servers that no client has are told by what keeps them") {
    holders who;
    who.awaiting_cancel = 2;
    CHECK(holders_detail(who) == "Waiting for PostgreSQL to take a cancel request: 2.");
    CHECK(holders_hint(who, bound) == "Raise maxconn (2) or wait_timeout (1.5 s), or find out why "
                                      "PostgreSQL takes no cancel requests.");
    who.resetting = 1;
    who.connecting = 3;
    who.closing = 4;
    who.leases = {lease("a", 1s)};
    CHECK(holders_detail(who) ==
          "Held by \"a\" from 192.0.2.1:4711 for 1.0 s, active. Waiting for PostgreSQL to take a "
          "cancel request: 2. Being made ready for the next client: 1. Being connected: 3. Being "
          "closed: 4.");
}

TEST_CASE("waited_in_vain: the hint names the limit that was reached") {
    struct row {
        why reason;
        const char* hint;
    };
    for (const auto& [reason, hint] : {
             row{why::too_many_connections,
                 "PostgreSQL has no connection left for pgweir: lower maxconn (2) or raise "
                 "PostgreSQL's max_connections."},
             row{why::too_many_of_role,
                 "Role \"fitness\" has no connection left for pgweir: lower maxconn (2) or raise "
                 "its CONNECTION LIMIT (ALTER ROLE)."},
             row{why::too_many_to_database,
                 "Database \"club\" has no connection left for pgweir: lower maxconn (2) or raise "
                 "its CONNECTION LIMIT (ALTER DATABASE)."},
             row{why::starting_up, ""},
             row{why::other_error, ""},
         }) {
        CHECK(refusal_hint(reason, {.database = "club", .role = "fitness"}, bound) == hint);
    }
    CHECK(refusal_hint(why::too_many_connections, {}, bound, 7)
              .ends_with("max_connections. Other pools of pgweir keep 7 idle: lower minconn."));
}
