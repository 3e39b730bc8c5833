// What the rows of each SHOW say.
#include "tests/daemon/console/fake_source.hpp"

#include <doctest/doctest.h>

using namespace pgweir::daemon;
using namespace std::chrono_literals;
using pgweir::pool::pool_mode;

namespace {

constexpr std::uint64_t on_worker(std::uint64_t worker, std::uint64_t count) {
    return worker << 56 | count;
}

/// That row, as "column=value …" of the columns asked for.
std::string cells(const answer& got, std::size_t row, std::initializer_list<const char*> names) {
    std::string text;
    for (const auto* name : names) {
        text += (text.empty() ? "" : " ") + std::string(name) + "=" + got.at(row, name);
    }
    return text;
}

client_row some_client() {
    client_row row;
    row.database = "fitness_club";
    row.user = "bot";
    row.application_name = "front desk";
    row.state = "active";
    row.address = "10.0.0.9";
    row.port = 41234;
    row.local_address = "10.0.0.1";
    row.local_port = 6432;
    row.connected_for = 3h + 23min + 49s;
    row.requested_ago = 1ms;
    row.id = on_worker(1, 4);
    row.server_id = on_worker(0, 9);
    row.process_id = 777;
    return row;
}

} // namespace

TEST_CASE("SHOW CLIENTS") {
    console_fixture f;
    f.source.clients = {some_client(), some_client(), some_client()};
    f.source.clients[0].id = on_worker(1, 5);
    f.source.clients[0].state = "waiting";
    f.source.clients[0].waited = 2s + 345'678us;
    f.source.clients[0].server_id = 0;
    f.source.clients[2].database = "pgbouncer";
    f.source.clients[2].state = "console";
    const auto got = f.ask("SHOW CLIENTS");
    REQUIRE(got.rows.size() == 3); // by database, user and id
    CHECK(cells(got, 0,
                {"type", "user", "database", "replication", "state", "addr", "port", "local_addr",
                 "local_port"}) ==
          "type=C user=bot database=fitness_club replication=none state=active addr=10.0.0.9 "
          "port=41234 local_addr=10.0.0.1 local_port=6432");
    CHECK(cells(got, 0, {"connect_time", "request_time"}) ==
          "connect_time=2026-11-22 23:59:59 UTC request_time=2026-11-23 03:23:47 UTC");
    CHECK(cells(got, 0,
                {"wait", "wait_us", "close_needed", "ptr", "link", "remote_pid", "tls",
                 "application_name", "prepared_statements", "id"}) ==
          "wait=0 wait_us=0 close_needed=0 ptr=0x100000000000004 link=0x9 remote_pid=0 tls= "
          "application_name=front desk prepared_statements=0 id=16777220");
    CHECK(cells(got, 1, {"state", "wait", "wait_us", "link", "id"}) ==
          "state=waiting wait=2 wait_us=345678 link= id=16777221");
    CHECK(cells(got, 2, {"database", "state"}) == "database=pgbouncer state=active");
}

TEST_CASE("ids fit into int4") {
    console_fixture f;
    for (const auto id : {on_worker(0, 1), on_worker(0, 0xff'ffff), on_worker(127, 0xff'ffff),
                          on_worker(254, 0xffff'ffff'ffff)}) {
        f.source.clients = {some_client()};
        f.source.clients[0].id = id;
        CAPTURE(id);
        const auto shown = std::stoll(f.ask("SHOW CLIENTS").at(0, "id"));
        CHECK(shown > 0);
        CHECK(shown <= 0x7fff'ffff);
    }
}

TEST_CASE("SHOW SERVERS") {
    console_fixture f;
    server_row row;
    row.database = "fitness_club";
    row.user = "bot";
    row.application_name = "front desk";
    row.state = "active";
    row.address = "127.0.0.1";
    row.port = 5432;
    row.local_address = "127.0.0.1";
    row.local_port = 58192;
    row.connected_for = 13s;
    row.id = on_worker(0, 9);
    row.client_id = on_worker(1, 4);
    row.process_id = 29711;
    f.source.servers = {row, row};
    f.source.servers[1].id = on_worker(0, 10);
    f.source.servers[1].state = "resetting";
    f.source.servers[1].close_needed = true;
    f.source.servers[1].client_id = 0;
    const auto got = f.ask("SHOW SERVERS");
    REQUIRE(got.rows.size() == 2);
    CHECK(cells(got, 0,
                {"type", "state", "addr", "port", "connect_time", "request_time", "close_needed",
                 "ptr", "link", "remote_pid", "application_name", "id"}) ==
          "type=S state=active addr=127.0.0.1 port=5432 connect_time=2026-11-23 03:23:35 UTC "
          "request_time=2026-11-23 03:23:48 UTC close_needed=0 ptr=0x9 link=0x100000000000004 "
          "remote_pid=29711 application_name=front desk id=9");
    CHECK(cells(got, 1, {"state", "close_needed", "link"}) == "state=tested close_needed=1 link=");
}

TEST_CASE("SHOW PINS: what workers have counted, added up, what pins now on top") {
    console_fixture f;
    pin_row row;
    row.database = "fitness_club";
    row.user = "bot";
    row.application_name = "front desk";
    row.reason = "listen";
    row.statement = "LISTEN changes";
    row.pinned_clients = 1;
    row.times = 4;
    row.pinned = 12s + 345ms;
    row.since = 13s;
    f.source.pins = {row, row, row};
    f.source.pins[0].pinned_clients = 0;
    f.source.pins[0].reason = "temporary_object";
    f.source.pins[2].since = 3s;
    const auto got = f.ask("SHOW PINS");
    REQUIRE(got.rows.size() == 2);
    CHECK(cells(got, 0,
                {"database", "user", "application_name", "reason", "pinned", "times", "seconds",
                 "since", "query"}) ==
          "database=fitness_club user=bot application_name=front desk reason=listen pinned=2 "
          "times=8 seconds=24.690 since=2026-11-23 03:23:45 UTC query=LISTEN changes");
    CHECK(cells(got, 1, {"reason", "pinned", "times"}) ==
          "reason=temporary_object pinned=0 times=4");
}

TEST_CASE("SHOW LEASES: the longest on top, the same ids as SHOW CLIENTS and SERVERS") {
    console_fixture f;
    lease_row row;
    row.database = "fitness_club";
    row.user = "bot";
    row.application_name = "front desk";
    row.client_address = "10.0.0.9";
    row.client_port = 41234;
    row.client_id = on_worker(1, 4);
    row.server_id = 9;
    row.server_process_id = 29711;
    row.held = 12s + 345ms + 678us;
    row.in_state = 7ms;
    row.state = "idle in transaction";
    row.statement = "select * from members where id = ?";
    f.source.leases = {row, row, row};
    f.source.leases[1].held = 1h;
    f.source.leases[2].held = -1ns; // clocks of two workers
    f.source.clients = {some_client()};
    const auto got = f.ask("SHOW LEASES");
    REQUIRE(got.rows.size() == 3);
    CHECK(got.at(0, "held") == "3600.000");
    CHECK(cells(got, 1,
                {"database", "user", "server_id", "server_pid", "client_id", "application_name",
                 "client_addr", "client_port", "held", "state", "state_for", "query"}) ==
          "database=fitness_club user=bot server_id=9 server_pid=29711 client_id=16777220 "
          "application_name=front desk client_addr=10.0.0.9 client_port=41234 held=12.345 "
          "state=idle in transaction state_for=0.007 query=select * from members where id = ?");
    CHECK(got.at(2, "held") == "0.000");
    CHECK(got.at(1, "client_id") == f.ask("SHOW CLIENTS").at(0, "id"));
}

TEST_CASE("SHOW POOLS adds up what the workers have, one row per pool") {
    console_fixture f;
    pool_row part;
    part.database = "fitness_club";
    part.user = "bot";
    part.clients_active = 1;
    part.clients_waiting = 2;
    part.clients_cancelling = 3;
    part.servers_active = 4;
    part.servers_cancelling = 5;
    part.servers_being_canceled = 6;
    part.servers_idle = 7;
    part.servers_tested = 8;
    part.servers_login = 9;
    part.longest_wait = 1s + 5us;
    f.source.pool_rows = {part, part, part};
    f.source.pool_rows[1].longest_wait = 3s + 1us;
    f.source.pool_rows[2].user = "another";
    f.source.pool_rows[2].mode = pool_mode::session;
    auto untouched = f.source.pool_list[0];
    untouched.user = "nobody yet";
    untouched.limits.mode = pool_mode::statement;
    f.source.pool_list.push_back(untouched);
    const auto got = f.ask("SHOW POOLS");
    REQUIRE(got.rows.size() == 3);
    CHECK(cells(got, 0, {"user", "cl_active", "maxwait", "maxwait_us", "pool_mode"}) ==
          "user=another cl_active=1 maxwait=1 maxwait_us=5 pool_mode=session");
    CHECK(cells(got, 1,
                {"user", "cl_active", "cl_waiting", "cl_active_cancel_req", "cl_waiting_cancel_req",
                 "sv_active", "sv_active_cancel", "sv_being_canceled", "sv_idle", "sv_used",
                 "sv_tested", "sv_login", "maxwait", "maxwait_us", "pool_mode",
                 "load_balance_hosts"}) ==
          "user=bot cl_active=2 cl_waiting=4 cl_active_cancel_req=6 cl_waiting_cancel_req=0 "
          "sv_active=8 sv_active_cancel=10 sv_being_canceled=12 sv_idle=14 sv_used=0 sv_tested=16 "
          "sv_login=18 maxwait=3 maxwait_us=1 pool_mode=transaction load_balance_hosts=NULL");
    CHECK(cells(got, 2, {"user", "cl_active", "sv_idle", "pool_mode"}) ==
          "user=nobody yet cl_active=0 sv_idle=0 pool_mode=statement");
}

TEST_CASE("SHOW DATABASES") {
    console_fixture f;
    f.source.worker_stats[0].clients.set(30);
    f.source.worker_stats[1].clients.set(12);
    auto second = f.source.pool_list[0];
    second.user = "second";
    second.taken = 2;
    second.per_worker = {};
    auto gone = second;
    gone.database = "not configured any more";
    f.source.pool_list.insert(f.source.pool_list.end(), {second, gone});
    const auto got = f.ask("SHOW DATABASES");
    REQUIRE(got.rows.size() == 2);
    CHECK(cells(got, 0,
                {"name", "host", "port", "database", "force_user", "pool_size", "min_pool_size",
                 "reserve_pool_size", "server_lifetime", "pool_mode", "load_balance_hosts",
                 "max_connections", "current_connections", "max_client_connections",
                 "current_client_connections", "paused", "disabled"}) ==
          "name=fitness_club host=db.internal port=5433 database=fitness_club force_user=NULL "
          "pool_size=7 min_pool_size=1 reserve_pool_size=0 server_lifetime=3600 "
          "pool_mode=transaction load_balance_hosts=NULL max_connections=0 current_connections=7 "
          "max_client_connections=0 current_client_connections=42 paused=0 disabled=0");
    CHECK(cells(got, 1, {"name", "database", "force_user", "pool_mode", "current_connections"}) ==
          "name=other database=real_name force_user=shared pool_mode=session "
          "current_connections=0");

    f.source.config.databases.back().host = "localhost";
    f.source.config.databases.back().unix_socket_directory = "/run/postgresql";
    CHECK(cells(f.ask("SHOW DATABASES"), 0, {"host"}) == "host=/run/postgresql");

    // With a `*`, what it stands for is shown once somebody has used it.
    pgweir::config::database any;
    any.name = "*";
    f.source.config.databases.push_back(any);
    f.source.config.index();
    const auto with_any = f.ask("SHOW DATABASES");
    CHECK(with_any.rows.size() == 4);
    CHECK(with_any.at(with_any.row_of("not configured any more"), "current_connections") == "2");
}

TEST_CASE("SHOW USERS: those configured and those with a pool") {
    console_fixture f;
    f.source.worker_stats[0].clients.set(3);
    auto other = f.source.pool_list[0];
    other.user = "from elsewhere";
    f.source.pool_list.push_back(other);
    const auto got = f.ask("SHOW USERS");
    REQUIRE(got.rows.size() == 3);
    CHECK(cells(got, got.row_of("bot"),
                {"pool_size", "reserve_pool_size", "pool_mode", "max_user_connections",
                 "current_connections", "max_user_client_connections",
                 "current_client_connections"}) ==
          "pool_size= reserve_pool_size= pool_mode=NULL max_user_connections=0 "
          "current_connections=5 max_user_client_connections=0 current_client_connections=3");
    CHECK(got.at(got.row_of("boss"), "current_connections") == "0");
    CHECK(got.at(got.row_of("from elsewhere"), "current_connections") == "5");
}

TEST_CASE("SHOW CONFIG: values, defaults, what a reload can change") {
    console_fixture f;
    f.source.config.pool.maxconn = 12;
    const auto got = f.ask("SHOW CONFIG");
    CHECK(cells(got, got.row_of("pool.maxconn"), {"value", "default", "changeable"}) ==
          "value=12 default=50 changeable=yes");
    CHECK(cells(got, got.row_of("workers"), {"value", "default", "changeable"}) ==
          "value=auto default=auto changeable=no");
}

TEST_CASE("no SHOW shows a secret") {
    console_fixture f;
    f.source.config.mock_secret = pgweir::config::secret("strangers-secret");
    for (const auto& row : console_commands()) {
        CAPTURE(row.words);
        const auto bytes = f.raw("boss", row.words);
        CHECK(bytes.find("-secret") == std::string::npos); // as all of them end
    }
}

TEST_CASE("SHOW LISTS and STATE") {
    console_fixture f;
    f.source.clients = {some_client(), some_client(), some_client()};
    f.source.clients[1].state = "login";
    const auto lists = f.ask("SHOW LISTS");
    const std::pair<std::string_view, std::string_view> expected[] = {
        {"databases", "2"},    {"users", "2"},        {"peers", "0"},        {"pools", "1"},
        {"peer_pools", "0"},   {"free_clients", "0"}, {"used_clients", "2"}, {"login_clients", "1"},
        {"free_servers", "0"}, {"used_servers", "5"}, {"dns_names", "0"},    {"dns_zones", "0"},
        {"dns_queries", "0"},  {"dns_pending", "0"},
    };
    REQUIRE(lists.rows.size() == std::size(expected));
    for (std::size_t i = 0; i < std::size(expected); ++i) {
        CHECK(lists.rows[i][0] == expected[i].first);
        CHECK(lists.rows[i][1] == expected[i].second);
    }
    const auto state = f.ask("SHOW STATE");
    REQUIRE(state.rows.size() == 3);
    CHECK(cells(state, 0, {"key", "value"}) == "key=active value=yes");
    CHECK(cells(state, 1, {"key", "value"}) == "key=paused value=no");
    CHECK(cells(state, 2, {"key", "value"}) == "key=suspended value=no");
}

TEST_CASE("names that clients choose reach the operator whole, and as nothing but names") {
    const std::pair<std::string, std::string> names[] = {
        {"'; SHUTDOWN; --", "'; SHUTDOWN; --"},
        {"a\"b\\c\nd", "a\"b\\c\nd"},
        {"\xff\xfe", "\\xff\\xfe"},
        {"%s%n{}", "%s%n{}"},
        {"🏋️", "🏋️"},
        {std::string(63, 'x'), std::string(63, 'x')},
    };
    for (const auto& each : names) {
        const auto& name = each.first;
        const auto& shown = each.second;
        CAPTURE(shown);
        console_fixture f;
        auto client = some_client();
        client.database = client.user = client.application_name = name;
        f.source.clients = {client};
        pool_row pool;
        pool.database = pool.user = name;
        f.source.pool_rows = {pool};
        f.source.pool_list[0].database = f.source.pool_list[0].user = name;
        lease_row lease;
        lease.database = lease.user = lease.application_name = lease.statement = name;
        f.source.leases = {lease};
        for (const std::string query : {"SHOW CLIENTS", "SHOW POOLS", "SHOW LEASES"}) {
            CAPTURE(query);
            const auto got = f.ask(query);
            REQUIRE(got.rows.size() == 1);
            CHECK(got.at(0, "database") == shown);
            CHECK(got.at(0, "user") == shown);
        }
        CHECK(f.ask("SHOW STATS").at(0, "database") == shown);
        CHECK(f.ask("SHOW USERS").rows.size() == 3);
    }
}

TEST_CASE("ten thousand clients") {
    console_fixture f;
    for (std::uint64_t i = 0; i < 10'000; ++i) {
        auto row = some_client();
        row.id = on_worker(i % 4, 10'000 - i);
        f.source.clients.push_back(row);
    }
    const auto got = f.ask("SHOW CLIENTS");
    REQUIRE(got.rows.size() == 10'000);
    CHECK(got.kinds == "TDCZ");
    CHECK(got.at(0, "ptr") == "0x4");
    CHECK(f.ask("SHOW LISTS").at(6, "items") == "10000");
}
