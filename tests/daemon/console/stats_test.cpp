// Totals and averages: SHOW STATS and its siblings over time.
#include "tests/daemon/console/fake_source.hpp"

#include <doctest/doctest.h>

using namespace pgweir::daemon;
using namespace std::chrono_literals;

namespace {

/// One worker did this much more.
void work(pgweir::pool::stats& stats, std::uint64_t transactions) {
    stats.assignments.add(transactions);
    stats.transactions.add(transactions);
    stats.queries.add(transactions * 2);
    stats.bytes_from_clients.add(transactions * 100);
    stats.bytes_from_servers.add(transactions * 300);
    stats.bytes_to_clients.add(transactions * 299);
    stats.transaction_ns.add(transactions * 5'000'000);
    stats.query_ns.add(transactions * 2 * 2'000'000);
    stats.wait_ns.add(transactions * 1'000'000);
}

} // namespace

TEST_CASE("totals of all workers, times in microseconds") {
    console_fixture f;
    work(f.source.worker_stats[0], 100);
    work(f.source.worker_stats[1], 20);
    const std::pair<std::string, std::string> totals[] = {
        {"server_assignment_count", "120"},
        {"xact_count", "120"},
        {"query_count", "240"},
        {"xact_time", "600000"},
        {"query_time", "480000"},
        {"wait_time", "120000"},
        {"client_parse_count", "0"},
        {"server_parse_count", "0"},
        {"bind_count", "0"},
    };
    const auto all = f.ask("SHOW STATS");
    const auto only = f.ask("SHOW STATS_TOTALS");
    const auto sums = f.ask("SHOW TOTALS");
    REQUIRE(all.rows.size() == 1);
    REQUIRE(only.rows.size() == 1);
    CHECK(all.at(0, "database") == "fitness_club");
    for (const auto& each : totals) {
        const auto& name = each.first;
        const auto& expected = each.second;
        CAPTURE(name);
        CHECK(all.at(0, "total_" + name) == expected);
        CHECK(only.at(0, name) == expected);
        const bool ps = name.ends_with("parse_count") || name.starts_with("bind");
        CHECK(sums.at(sums.row_of((ps ? "total_ps_" : "total_") + name), "value") == expected);
    }
    CHECK(all.at(0, "total_received") == "12000");
    CHECK(all.at(0, "total_sent") == "36000");
    CHECK(only.at(0, "bytes_received") == "12000");
    CHECK(only.at(0, "bytes_sent") == "36000");
    CHECK(sums.at(sums.row_of("total_client_bytes"), "value") == "12000");
    CHECK(sums.at(sums.row_of("total_server_bytes"), "value") == "36000");
}

TEST_CASE("averages: since the start at first, then over the last whole minute") {
    console_fixture f;
    auto& counted = f.source.worker_stats[0];
    const auto average = [&](const std::string& name) {
        const auto all = f.ask("SHOW STATS");
        CHECK(all.at(0, "avg_" + name) == f.ask("SHOW STATS_AVERAGES").at(0, name));
        const auto sums = f.ask("SHOW TOTALS");
        CHECK(all.at(0, "avg_" + name) == sums.at(sums.row_of("avg_" + name), "value"));
        return all.at(0, "avg_" + name);
    };
    const auto pass = [&](pgweir::pool::duration time) {
        f.source.clock += time;
        f.under_test.tick();
    };

    CHECK(average("xact_count") == "0"); // no time has passed: nothing is divided by it
    work(counted, 100);
    CHECK(average("xact_count") == "0");
    pass(10s);
    CHECK(average("xact_count") == "10");
    CHECK(average("query_count") == "20");
    CHECK(average("xact_time") == "5000");
    CHECK(average("query_time") == "2000");
    CHECK(average("wait_time") == "1000");

    work(counted, 1100);
    pass(50s); // the first period has ended with 1,200 in 60 s
    CHECK(average("xact_count") == "20");
    work(counted, 6000);
    CHECK(average("xact_count") == "20"); // the running period does not count yet
    pass(59s);
    CHECK(average("xact_count") == "20");
    pass(1s);
    CHECK(average("xact_count") == "100");
    CHECK(average("xact_time") == "5000");
    pass(60s); // a minute of nothing
    CHECK(average("xact_count") == "0");
    CHECK(average("xact_time") == "0");
    CHECK(f.ask("SHOW STATS").at(0, "total_xact_count") == "7200");
    work(counted, 1200);
    pass(120s); // the ops thread was late: the period was longer
    CHECK(average("xact_count") == "10");
}

TEST_CASE("pools of one database are added up; a database that comes later counts from 0") {
    console_fixture f;
    f.under_test.tick();
    f.source.clock += 60s;
    f.under_test.tick();
    pgweir::pool::stats other_user, later;
    auto pool = f.source.pool_list[0];
    pool.user = "second";
    pool.per_worker = {&other_user};
    f.source.pool_list.push_back(pool);
    pool.database = "a_later_one";
    pool.per_worker = {&later};
    f.source.pool_list.push_back(pool);
    work(f.source.worker_stats[0], 60);
    work(other_user, 120);
    work(later, 600);
    f.source.clock += 60s;
    f.under_test.tick();
    const auto got = f.ask("SHOW STATS");
    REQUIRE(got.rows.size() == 2);
    CHECK(got.at(0, "database") == "a_later_one");
    CHECK(got.at(0, "avg_xact_count") == "10");
    CHECK(got.at(1, "total_xact_count") == "180");
    CHECK(got.at(1, "avg_xact_count") == "3");
    const auto sums = f.ask("SHOW TOTALS");
    CHECK(sums.at(sums.row_of("total_xact_count"), "value") == "780");
    CHECK(sums.at(sums.row_of("avg_xact_count"), "value") == "13");
}

TEST_CASE("nobody here yet") {
    console_fixture f;
    f.source.pool_list.clear();
    CHECK(f.ask("SHOW STATS").kinds == "TCZ");
    CHECK(f.ask("SHOW TOTALS").rows.size() == 22);
    CHECK(f.ask("SHOW TOTALS").at(0, "value") == "0");
}

TEST_CASE("nothing is negative, whatever the counters say") {
    measure_totals before, after;
    before[measure::queries] = 10;
    after[measure::queries] = 9;
    CHECK(after.since(before)[measure::queries] == 0);
    CHECK(averages_of(after, 0s)[measure::queries] == 0);
    CHECK(averages_of(after, -1s)[measure::queries] == 0);
}
