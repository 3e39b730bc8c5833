#include "tests/daemon/console/fake_source.hpp"

#include <doctest/doctest.h>

#include <utility>

namespace pgweir::daemon {

using namespace std::chrono_literals;

fake_source::fake_source() {
    config.admin_users = {"boss"};
    config.stats_users = {"watcher"};
    config.users = {{.name = "bot",
                     .password = config::secret("hunter2-secret"),
                     .from_file = false,
                     .session_state = {}},
                    {.name = "boss",
                     .password = config::secret("boss-secret"),
                     .from_file = true,
                     .session_state = {}}};
    config::database club;
    club.name = "fitness_club";
    club.host = "db.internal";
    club.port = 5433;
    club.password = config::secret("server-secret");
    club.pool.maxconn = 7;
    club.pool.minconn = 1;
    config::database other;
    other.name = "other";
    other.dbname = "real_name";
    other.user = "shared";
    other.pool.mode = config::pool_mode::session;
    config.databases = {other, club};
    config.index();

    pool_snapshot pool;
    pool.database = "fitness_club";
    pool.user = "bot";
    pool.limits.maxconn = 7;
    pool.taken = 5;
    pool.per_worker = {&worker_stats[0], &worker_stats[1]};
    pool_list.push_back(std::move(pool));

    // 2026-11-23 03:23:48 UTC
    wall = std::chrono::sys_days{std::chrono::year{2026} / 11 / 23} + 3h + 23min + 48s;
}

void fake_source::do_or_defer(std::function<void()> what) {
    deferring ? deferred.push_back(std::move(what)) : what();
}

void fake_source::run_deferred() {
    for (const auto& each : std::exchange(deferred, {})) {
        each();
    }
}

void fake_source::collect_clients(rows_callback<client_row> done) {
    do_or_defer([this, done] { done(clients); });
}
void fake_source::collect_servers(rows_callback<server_row> done) {
    do_or_defer([this, done] { done(servers); });
}
void fake_source::collect_leases(rows_callback<lease_row> done) {
    do_or_defer([this, done] { done(leases); });
}
void fake_source::collect_pins(rows_callback<pin_row> done) {
    do_or_defer([this, done] { done(pins); });
}
void fake_source::collect_pools(rows_callback<pool_row> done) {
    do_or_defer([this, done] { done(pool_rows); });
}
void fake_source::reload(reload_callback done) {
    events += "reload;";
    do_or_defer([this, done] { done(reload_problem); });
}
void fake_source::shutdown() { events += "shutdown;"; }

std::string console_fixture::raw(std::string_view user, std::string_view query) {
    std::vector<std::string> answers;
    under_test.execute(user, query, [&](std::string bytes) {
        source.events += "answer;";
        answers.push_back(std::move(bytes));
    });
    CAPTURE(query);
    REQUIRE(answers.size() == 1);
    return std::move(answers.front());
}

} // namespace pgweir::daemon
