// A daemon made up for the tests of the console: one that answers at once, or when told to.
#pragma once

#include "daemon/console.hpp"
#include "tests/daemon/console/answer.hpp"

#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace pgweir::daemon {

struct fake_source final : console_source {
    /// Users `boss` (admin) and `watcher` (stats), databases `fitness_club` and `other`, the first
    /// with a pool of two workers.
    fake_source();

    [[nodiscard]] std::shared_ptr<const config::configuration> configuration() const override {
        return std::make_shared<config::configuration>(config);
    }
    [[nodiscard]] std::vector<pool_snapshot> pools() const override { return pool_list; }
    [[nodiscard]] pool::time_point started_at() const override { return started; }
    [[nodiscard]] pool::time_point now() const override { return clock; }
    [[nodiscard]] std::chrono::system_clock::time_point wall_clock() const override { return wall; }
    void collect_clients(rows_callback<client_row> done) override;
    void collect_servers(rows_callback<server_row> done) override;
    void collect_leases(rows_callback<lease_row> done) override;
    void collect_pins(rows_callback<pin_row> done) override;
    void collect_pools(rows_callback<pool_row> done) override;
    void reload(reload_callback done) override;
    void shutdown() override;

    /// Does what a command asked for, now or when run_deferred() is called.
    void do_or_defer(std::function<void()> what);
    void run_deferred();

    config::configuration config;
    pool::stats worker_stats[2];
    std::vector<pool_snapshot> pool_list;
    pool::time_point started{std::chrono::hours(1)};
    pool::time_point clock = started;
    std::chrono::system_clock::time_point wall;
    std::vector<client_row> clients;
    std::vector<server_row> servers;
    std::vector<lease_row> leases;
    std::vector<pin_row> pins;
    std::vector<pool_row> pool_rows;
    std::optional<std::string> reload_problem;

    std::string events; // what happened, in order: "reload;", "shutdown;", "answer;"
    bool deferring = false;
    std::vector<std::function<void()>> deferred;
};

/// A console on a fake daemon.
struct console_fixture {
    fake_source source;
    console under_test{source};

    /// The answer's bytes; REQUIREs that it came, once.
    std::string raw(std::string_view user, std::string_view query);
    answer ask(std::string_view user, std::string_view query) {
        return answer::read(raw(user, query));
    }
    answer ask(std::string_view query) { return ask("boss", query); }
};

} // namespace pgweir::daemon
