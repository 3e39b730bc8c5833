// See sample.hpp.
#include "tests/daemon/ops/sample.hpp"

namespace pgweir::daemon {

sample_pools::sample_pools() {
    using namespace std::chrono_literals;
    for (auto& worker : first) {
        worker.clients.set(30);
        worker.clients_active.set(6);
        worker.clients_waiting.set(4);
        worker.servers_idle.set(1);
        worker.servers_connecting.set(2);
        worker.servers_in_use.set(6);
        worker.clients_pinned.set(1);
        worker.pins_now[3].set(1);
        worker.pins_by_reason[3].add(5);
        worker.pinned_ns[3].add(1'250'000'000);
        worker.transactions.add(1000);
        worker.queries.add(2000);
        worker.exhausted.add(7);
        worker.wait_timeouts.add(3);
        worker.bytes_from_clients.add(123'456'789'012);
        worker.logins.add(40);
        worker.server_connects.add(8);
        worker.server_closes[static_cast<std::size_t>(pool::server_close::idle_timeout)].add(2);
        worker.client_closes[static_cast<std::size_t>(pool::client_close::terminate)].add(5);
        worker.errors_by_class[pool::stats::class_index("23505")].add(9);
        worker.wait_time.observe(3ms);
        worker.transaction_time.observe(40us);
        worker.transaction_time.observe(200s);
        worker.query_time.observe(1ms);
    }
    // A server that moved from the second worker to the first one between two reads.
    second[0].servers_idle.set(1);
    second[1].servers_idle.subtract(2);
}

snapshot_source sample_pools::source() const {
    snapshot_source source;
    source.pools = [this] {
        std::vector<pool_snapshot> pools(2);
        pools[0].database = "fitness_club";
        pools[0].user = "bot";
        pools[0].limits.maxconn = 48;
        pools[0].limits.minconn = 5;
        pools[0].taken = 18;
        pools[0].health = pool::ledger::health::up;
        pools[0].per_worker = {&first[0], &first[1]};
        // Names that a client chose to break the formats they are printed in.
        pools[1].database = "a\"b\\c\nd\xff<script>";
        pools[1].user = "o'neil & \"co\"";
        pools[1].limits.maxconn = 0;
        pools[1].health = pool::ledger::health::unreachable;
        pools[1].per_worker = {&second[0], &second[1]};
        return pools;
    };
    source.process = [] {
        process_snapshot process;
        process.clients = 61;
        process.max_clients = 20'000;
        process.accepted = 99;
        process.login_failures[static_cast<std::size_t>(pool::client_close::login_refused)] = 4;
        process.reloads = 2;
        process.reload_failures = 1;
        process.last_reload_ok = false;
        process.workers = 2;
        return process;
    };
    return source;
}

} // namespace pgweir::daemon
