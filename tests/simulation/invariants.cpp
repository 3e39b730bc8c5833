#include "tests/simulation/invariants.hpp"

#include <algorithm>

namespace pgweir::simulation {

namespace {

using std::to_string;

/// A client may wait so long although a server is idle somewhere or could be opened: messages
/// between workers, late timers and back-off included.
constexpr auto forgotten_after = milliseconds(700);

/// A waiter on another worker may be served first if it came at most so much later: the pool's
/// migration margin, and messages under way.
constexpr auto order_margin = milliseconds(10);

} // namespace

void invariants::after_step() {
    bound_holds();
    engines_are_sound();
    nobody_is_forgotten();
    constexpr std::uint64_t look_every = 8;
    if (++looks_ % look_every == 0) {
        waiters_are_in_order();
        audits_find_nothing();
        nonsense_ends_a_server();
    }
}

void invariants::bound_changes(std::uint32_t from, std::uint32_t to) {
    bound = std::max({bound, from, to});
    lower_bound_ = to;
}

void invariants::bound_holds() {
    std::uint32_t most = 0;
    for (const auto& [key, entry] : daemon_.pools) {
        const auto open = postgres_.backends(entry->database, entry->user);
        most = std::max({most, open, entry->shared.taken()});
        if (open > bound) {
            shared_.violation("PostgreSQL has " + to_string(open) + " backends for " + key.first +
                              ", but maxconn is " + to_string(bound));
        }
        if (entry->shared.taken() > bound) {
            shared_.violation("the ledger counts " + to_string(entry->shared.taken()) +
                              " servers, but maxconn is " + to_string(bound));
        }
    }
    if (lower_bound_ != 0 && most <= lower_bound_ && daemon_.messages == 0) {
        bound = lower_bound_;
        lower_bound_ = 0;
    }
}

void invariants::engines_are_sound() {
    for (std::size_t i = 0; i < daemon_.workers.size(); ++i) {
        for (const auto& sentence : daemon_.workers[i]->engine.broken_invariants()) {
            shared_.violation("worker " + to_string(i) + ": " + sentence);
        }
    }
}

void invariants::nobody_is_forgotten() {
    for (const auto& [key, entry] : daemon_.pools) {
        std::uint64_t waiting = 0;
        std::uint64_t idle = 0;
        std::uint64_t connecting = 0;
        for (const auto& counters : entry->counters) {
            waiting += counters->clients_waiting.load();
            idle += counters->servers_idle.load();
            connecting += counters->servers_connecting.load();
        }
        const bool may_grow = entry->shared.taken() < bound && lower_bound_ == 0 &&
                              entry->shared.state() == pool::ledger::health::up && connecting == 0;
        // Where not every server does for every client, it may have to wait for a new one, which
        // may have to wait for PostgreSQL.
        const auto state = entry->shared.state();
        const bool idle_would_do =
            idle != 0 && (any_server_does || state == pool::ledger::health::up ||
                          state == pool::ledger::health::full);
        auto& since = stuck_since_[entry.get()];
        if (waiting == 0 || (!idle_would_do && !may_grow) || shutting_down) {
            since = time_point::max();
            continue;
        }
        since = std::min(since, shared_.time.now());
        if (shared_.time.now() - since > forgotten_after) {
            shared_.violation(to_string(waiting) + " clients wait although " + to_string(idle) +
                              " servers are idle and " + to_string(entry->shared.taken()) + " of " +
                              to_string(bound) + " are open");
            since = time_point::max();
        }
    }
}

void invariants::waiters_are_in_order() {
    const auto now = shared_.time.now();
    std::map<std::uint64_t, place_in_queue> queue;
    std::vector<place_in_queue> served;
    for (std::uint32_t w = 0; w < daemon_.workers.size(); ++w) {
        for (const auto& row : daemon_.workers[w]->engine.client_rows(now)) {
            if (row.state == "waiting" && row.waited != duration(0)) {
                queue.insert({row.id, {now - row.waited, w, row.database + '/' + row.user}});
            } else if (const auto before = queue_.find(row.id);
                       before != queue_.end() && row.server_id != 0) {
                served.push_back(before->second);
            }
        }
    }
    for (const auto& lucky : served) {
        for (const auto& [id, poor] : queue) {
            const auto margin = poor.worker == lucky.worker ? duration(0) : duration(order_margin);
            const bool waited_before = queue_.contains(id) && queue_.at(id).since == poor.since;
            if (poor.pool == lucky.pool && waited_before && poor.since + margin < lucky.since) {
                shared_.violation("a client on worker " + to_string(poor.worker) +
                                  " was overtaken by one on worker " + to_string(lucky.worker) +
                                  " that had waited less");
            }
        }
    }
    queue_ = std::move(queue);
}

void invariants::audits_find_nothing() {
    for (const auto& [key, entry] : daemon_.pools) {
        for (const auto& counters : entry->counters) {
            for (std::size_t i = 0; i < counters->leaks.size(); ++i) {
                if (counters->leaks[i].load() != 0) {
                    const auto kind = static_cast<protocol::pin_reason>(1U << i);
                    shared_.violation("an audit has found what nobody had noticed: " +
                                      std::string(protocol::to_string(kind)));
                }
            }
        }
    }
}

void invariants::nonsense_ends_a_server() {
    if (!shared_.nonsense_talked) {
        return;
    }
    const auto now = shared_.time.now();
    for (const auto& worker : daemon_.workers) {
        for (const auto& row : worker->engine.server_rows(now)) {
            const auto* const backend = postgres_.find(row.process_id);
            if (backend == nullptr || !backend->nonsense_was_read()) {
                continue;
            }
            const auto heard = nonsense_heard_by_.emplace(row.process_id, row.client_id).first;
            if (row.state == "idle" || (row.client_id != 0 && row.client_id != heard->second)) {
                shared_.violation("backend " + to_string(row.process_id) +
                                  " has talked nonsense, but its server is " + row.state);
            }
        }
    }
}

void invariants::when_quiet() {
    if (const auto* const talker = postgres_.talks_nonsense()) {
        shared_.violation("backend " + to_string(talker->process_id) +
                          " has lost its mind, and is still in use");
    }
    std::size_t servers = 0;
    for (const auto& [key, entry] : daemon_.pools) {
        std::uint64_t idle = 0;
        for (const auto& counters : entry->counters) {
            idle += counters->servers_idle.load();
            const auto& c = *counters;
            for (const auto& [name, value] : {std::pair{"clients", c.clients.load()},
                                              {"clients_active", c.clients_active.load()},
                                              {"clients_waiting", c.clients_waiting.load()},
                                              {"clients_pinned", c.clients_pinned.load()},
                                              {"servers_connecting", c.servers_connecting.load()},
                                              {"servers_in_use", c.servers_in_use.load()},
                                              {"servers_resetting", c.servers_resetting.load()},
                                              {"servers_closing", c.servers_closing.load()}}) {
                if (value != 0) {
                    shared_.violation("everybody has left, but " + std::string(name) + " is " +
                                      to_string(value));
                }
            }
        }
        servers += idle;
        if (entry->shared.taken() != idle) {
            shared_.violation("the ledger counts " + to_string(entry->shared.taken()) +
                              " servers, but " + to_string(idle) + " are idle");
        }
        const auto open = postgres_.backends(entry->database, entry->user);
        if (open != idle) {
            shared_.violation("PostgreSQL has " + to_string(open) + " backends, but " +
                              to_string(idle) + " servers are idle");
        }
    }
    for (const auto& worker : daemon_.workers) {
        if (worker->engine.counters().clients.load() != 0) {
            shared_.violation("everybody has left, but a worker still counts " +
                              to_string(worker->engine.counters().clients.load()) + " clients");
        }
    }
    if (daemon_.clients != 0) {
        shared_.violation("everybody has left, but " + to_string(daemon_.clients) +
                          " clients are counted against max_clients");
    }
    if (!daemon_.logging_in.empty()) {
        shared_.violation("everybody has left, but somebody still counts as logging in from " +
                          daemon_.logging_in.begin()->first);
    }
    if (daemon_.open_sockets != servers) {
        shared_.violation(to_string(daemon_.open_sockets) + " sockets are open for " +
                          to_string(servers) + " idle servers");
    }
}

void invariants::at_end() {
    for (const auto& worker : daemon_.workers) {
        if (!worker->engine.empty()) {
            shared_.violation("a worker is not empty after the shutdown");
        }
    }
    for (const auto& [key, entry] : daemon_.pools) {
        if (entry->shared.taken() != 0) {
            shared_.violation("the ledger still counts " + to_string(entry->shared.taken()) +
                              " servers after the shutdown");
        }
    }
    if (postgres_.backends() != 0) {
        shared_.violation("PostgreSQL still has " + to_string(postgres_.backends()) +
                          " backends after the shutdown");
    }
    if (daemon_.open_sockets != 0) {
        shared_.violation(to_string(daemon_.open_sockets) + " sockets left after the shutdown");
    }
}

} // namespace pgweir::simulation
