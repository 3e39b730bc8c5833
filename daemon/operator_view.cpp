#include "daemon/operator_view.hpp"

#include "daemon/engine/pool_limits.hpp"

#include <boost/asio/post.hpp>

namespace pgweir::daemon {

namespace asio = boost::asio;

operator_view::operator_view(parts of)
    : of_(std::move(of))
    , started_at_(std::chrono::steady_clock::now()) {}

std::shared_ptr<const config::configuration> operator_view::configuration() const {
    return of_.configuration();
}

time_point operator_view::now() const { return std::chrono::steady_clock::now(); }

std::chrono::system_clock::time_point operator_view::wall_clock() const {
    return std::chrono::system_clock::now();
}

void operator_view::count_reload(bool good) {
    ++(good ? reloads_ : reload_failures_);
    last_reload_ok_ = good;
}

std::vector<pool_snapshot> operator_view::pools() const {
    const auto config = configuration();
    std::vector<pool_snapshot> list;
    for (const auto& entry : of_.pools.all()) {
        pool_snapshot row;
        row.database = entry->database;
        row.user = entry->user;
        row.limits = pool_limits(*config, entry->database, entry->user);
        row.taken = entry->shared.taken();
        if (const auto beside = entry->for_replication.load()) {
            row.replication = beside->shared.taken();
        }
        row.names_known = row.limits.mode == pool::pool_mode::session || entry->names->known();
        if (const auto beside = entry->for_listening.load()) {
            row.listening = beside->shared.taken();
            for (const auto& counters : beside->counters) {
                row.channels += counters->channels.load();
            }
        }
        row.max_replication = replication_limits(*config, entry->database, entry->user).maxconn;
        row.health = entry->shared.state();
        for (const auto& counters : entry->counters) {
            row.per_worker.push_back(counters.get());
        }
        list.push_back(std::move(row));
    }
    return list;
}

process_snapshot operator_view::process() const {
    constexpr auto cancel = static_cast<std::size_t>(pool::client_close::cancel_request);
    process_snapshot row;
    row.clients = of_.clients.load(std::memory_order_relaxed);
    row.max_clients = configuration()->max_clients;
    row.accepted = accepted_;
    for (const auto& worker : of_.workers) {
        const auto& counters = worker->counters();
        row.cancel_requests += counters.closes[cancel].load();
        row.statements += counters.statements.load();
        row.statement_bytes += counters.statement_bytes.load();
        for (std::size_t i = 0; i < row.login_failures.size(); ++i) {
            row.login_failures[i] += i == cancel ? 0 : counters.login_failures[i].load();
        }
    }
    row.reloads = reloads_;
    row.reload_failures = reload_failures_;
    row.last_reload_ok = last_reload_ok_;
    row.workers = static_cast<std::uint32_t>(of_.workers.size());
    row.dropped_log_lines = of_.log.dropped();
    return row;
}

readiness operator_view::ready() const {
    if (shutting_down_) {
        return {false, "shutting down"};
    }
    const auto entries = of_.pools.all();
    if (entries.empty()) {
        return {true, "no pool yet: nobody has logged in"};
    }
    for (const auto& entry : entries) {
        if (entry->shared.state() == pool::ledger::health::up ||
            entry->shared.state() == pool::ledger::health::full) {
            return {true, "ready"};
        }
        if (entry->shared.state() == pool::ledger::health::unknown &&
            pool_limits(*configuration(), entry->database, entry->user).minconn == 0) {
            return {true, "ready: a server is opened when somebody asks for one"};
        }
    }
    const auto failure = entries.front()->failure.load();
    return {false, "no database can be reached" + (failure ? ": " + failure->message : "")};
}

/// Asks every worker and answers on the ops thread when the last of them has.
template <typename Row>
void operator_view::collect(std::function<std::vector<Row>(const engine&, time_point)> from,
                            rows_callback<Row> done) {
    struct gathering {
        std::vector<Row> rows;
        std::size_t missing;
        rows_callback<Row> done;
    };
    const auto all =
        std::make_shared<gathering>(gathering{{}, of_.workers.size(), std::move(done)});
    for (const auto& worker : of_.workers) {
        worker->run([this, from, all](engine& e, time_point at) {
            asio::post(of_.ops, [all, rows = from(e, at)]() mutable {
                std::move(rows.begin(), rows.end(), std::back_inserter(all->rows));
                if (--all->missing == 0) {
                    all->done(std::move(all->rows));
                }
            });
        });
    }
}

void operator_view::collect_clients(rows_callback<client_row> done) {
    collect<client_row>([](const engine& e, time_point at) { return e.client_rows(at); },
                        std::move(done));
}

void operator_view::collect_servers(rows_callback<server_row> done) {
    collect<server_row>([](const engine& e, time_point at) { return e.server_rows(at); },
                        std::move(done));
}

void operator_view::collect_leases(rows_callback<lease_row> done) {
    collect<lease_row>([](const engine& e, time_point at) { return e.lease_rows(at, nullptr); },
                       std::move(done));
}

void operator_view::collect_pools(rows_callback<pool_row> done) {
    collect<pool_row>([](const engine& e, time_point at) { return e.pool_rows(at); },
                      std::move(done));
}

void operator_view::collect_pins(rows_callback<pin_row> done) {
    collect<pin_row>([](const engine& e, time_point at) { return e.pin_rows(at); },
                     std::move(done));
}

void operator_view::reload(reload_callback done) { of_.reload(std::move(done)); }

void operator_view::shutdown() { asio::post(of_.ops, of_.shutdown); }

} // namespace pgweir::daemon
