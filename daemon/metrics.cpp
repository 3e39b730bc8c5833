#include "daemon/metrics.hpp"

#include "daemon/process_usage.hpp"
#include "daemon/utf8.hpp"
#include "protocol/session_audit.hpp"
#include "protocol/session_state.hpp"

#include <prometheus/client_metric.h>
#include <prometheus/text_serializer.h>

#include <algorithm>
#include <bit>
#include <sstream>
#include <string_view>
#include <utility>

namespace pgweir::daemon {

namespace {

using pool::stats;
using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;
using labels = std::vector<ClientMetric::Label>;

void add(MetricFamily& family, labels with, double value) {
    ClientMetric metric;
    metric.label = std::move(with);
    if (family.type == MetricType::Counter) {
        metric.counter.value = value;
    } else {
        metric.gauge.value = value;
    }
    family.metric.push_back(std::move(metric));
}

void add(MetricFamily& family, labels with, std::uint64_t value) {
    add(family, std::move(with), static_cast<double>(value));
}

labels operator+(labels left, ClientMetric::Label right) {
    left.push_back(std::move(right));
    return left;
}

// One row per metric of a pool ------------------------------------------------------------------

struct counter_row {
    const char* name;
    const char* help;
    pool::counter stats::*member;
};

constexpr counter_row counters[] = {
    {"pgweir_transactions_total", "Transactions that ended.", &stats::transactions},
    {"pgweir_pinned_transactions_total",
     "Those of them whose client had kept its server from the transaction before (pins).",
     &stats::transactions_pinned},
    {"pgweir_queries_total", "Queries that ended.", &stats::queries},
    {"pgweir_pool_assignments_total", "Times a client was given a server.", &stats::assignments},
    {"pgweir_pool_exhausted_total",
     "Times a client had to wait because the pool had reached maxconn.", &stats::exhausted},
    {"pgweir_pool_wait_timeouts_total",
     "Clients that were refused because no server came free within wait_timeout.",
     &stats::wait_timeouts},
    {"pgweir_pool_migrations_total", "Servers that moved from one worker to another.",
     &stats::migrations},
    {"pgweir_logins_total", "Clients that logged in.", &stats::logins},
    {"pgweir_prepared_statements_found_total",
     "Uses of a prepared statement that the server connection already had.",
     &stats::statements_found},
    {"pgweir_prepared_statements_provided_total",
     "Prepared statements that a server connection had to be given before they were used.",
     &stats::statements_provided},
    {"pgweir_prepared_statements_evicted_total",
     "Prepared statements that a server connection gave up for another.",
     &stats::statements_evicted},
    {"pgweir_prepared_statements_retried_total",
     "Batches sent once more because PostgreSQL had dropped or outdated their statement.",
     &stats::statements_retried},
    {"pgweir_pins_total", "Times a client kept its server beyond the end of a transaction.",
     &stats::pins},
    {"pgweir_session_audits_total",
     "Times that PostgreSQL was asked what the session of a free server connection has.",
     &stats::audits},
    {"pgweir_session_audits_failed_total", "Those of them that got no answer.",
     &stats::audits_failed},
    {"pgweir_catalogue_questions_total",
     "Times that PostgreSQL was asked which functions, views and triggers change a session.",
     &stats::catalogue_questions},
    {"pgweir_catalogue_questions_failed_total", "Those of them that got no answer.",
     &stats::catalogue_questions_failed},
    {"pgweir_notifications_total",
     "Notifications that clients were told of by the listening connection.", &stats::notifications},
    {"pgweir_listen_gaps_total",
     "Times the listening connection was lost, so that notifications may have been.",
     &stats::listen_gaps},
    {"pgweir_server_connects_total", "Server connections that were opened and logged in.",
     &stats::server_connects},
    {"pgweir_client_received_bytes_total", "Bytes received from clients.",
     &stats::bytes_from_clients},
    {"pgweir_client_sent_bytes_total", "Bytes sent to clients.", &stats::bytes_to_clients},
    {"pgweir_server_received_bytes_total", "Bytes received from PostgreSQL.",
     &stats::bytes_from_servers},
    {"pgweir_server_sent_bytes_total", "Bytes sent to PostgreSQL.", &stats::bytes_to_servers},
};

struct gauge_row {
    const char* name;
    const char* help;
    double (*value)(const pool_snapshot&);
};

constexpr gauge_row gauges[] = {
    {"pgweir_pool_up", "1 while PostgreSQL can be reached for this pool, 0 while it cannot.",
     [](const pool_snapshot& pool) { return pool.reachable() ? 1.0 : 0.0; }},
    {"pgweir_pool_size", "Server connections that count against maxconn: connecting and open.",
     [](const pool_snapshot& pool) { return static_cast<double>(pool.taken); }},
    {"pgweir_pool_maxconn", "Most server connections this pool may have.",
     [](const pool_snapshot& pool) { return static_cast<double>(pool.limits.maxconn); }},
    {"pgweir_pool_minconn", "Server connections that are kept open.",
     [](const pool_snapshot& pool) { return static_cast<double>(pool.limits.minconn); }},
    {"pgweir_pool_utilisation_ratio", "Servers in use divided by maxconn.",
     [](const pool_snapshot& pool) { return pool.utilisation(); }},
    {"pgweir_pool_catalogue_known",
     "1 while it is known which functions, views and triggers change a session, 0 while any may.",
     [](const pool_snapshot& pool) { return pool.names_known ? 1.0 : 0.0; }},
    {"pgweir_replication_connections",
     "Server connections for replication, which count beside maxconn.",
     [](const pool_snapshot& pool) { return static_cast<double>(pool.replication); }},
    {"pgweir_max_replication_connections", "Most of them that this pool may have.",
     [](const pool_snapshot& pool) { return static_cast<double>(pool.max_replication); }},
    {"pgweir_listening_connections",
     "Server connections that listen for clients, which count beside maxconn.",
     [](const pool_snapshot& pool) { return static_cast<double>(pool.listening); }},
    {"pgweir_listening_channels", "Channels that they listen to.",
     [](const pool_snapshot& pool) { return static_cast<double>(pool.channels); }},
    {"pgweir_pool_listening_clients", "Clients that listen through them now.",
     [](const pool_snapshot& pool) {
         return static_cast<double>(pool.sum_now(&stats::clients_listening));
     }},
    {"pgweir_pool_pinned_clients", "Clients that keep their server between transactions now.",
     [](const pool_snapshot& pool) {
         return static_cast<double>(pool.sum_now(&stats::clients_pinned));
     }},
};

struct histogram_row {
    const char* name;
    const char* help;
    pool::duration_histogram stats::*member;
};

constexpr histogram_row histograms[] = {
    {"pgweir_pool_wait_seconds", "How long clients waited for a server, of those that had to.",
     &stats::wait_time},
    {"pgweir_transaction_duration_seconds",
     "Time from a transaction's first message to its end, waiting included.",
     &stats::transaction_time},
    {"pgweir_query_duration_seconds", "Time from a query to the end of its answer.",
     &stats::query_time},
};

struct state_row {
    const char* state;
    pool::counter stats::*member;
};

constexpr state_row server_states[] = {
    {"connecting", &stats::servers_connecting}, {"idle", &stats::servers_idle},
    {"in_use", &stats::servers_in_use},         {"resetting", &stats::servers_resetting},
    {"closing", &stats::servers_closing},
};

// What the rows become --------------------------------------------------------------------------

struct labelled_pool {
    pool_snapshot snapshot;
    labels names;
};

void add_histogram(MetricFamily& family, const labelled_pool& pool,
                   pool::duration_histogram stats::*member) {
    using histogram = pool::duration_histogram;
    constexpr auto bounds = histogram::upper_bounds_seconds;
    std::array<std::uint64_t, bounds.size() + 1> buckets{};
    ClientMetric metric;
    metric.label = pool.names;
    for (const auto* worker : pool.snapshot.per_worker) {
        const histogram& of_worker = worker->*member;
        for (std::size_t i = 0; i < buckets.size(); ++i) {
            buckets[i] += of_worker.bucket(i);
        }
        metric.histogram.sample_sum += of_worker.sum_seconds();
    }
    // The count is made from the very buckets that are shown: a value observed in between would
    // otherwise make the two differ, which Prometheus takes for a broken histogram.
    std::uint64_t cumulative = 0;
    for (std::size_t i = 0; i < bounds.size(); ++i) {
        cumulative += buckets[i];
        metric.histogram.bucket.push_back({cumulative, bounds[i]});
    }
    metric.histogram.sample_count = cumulative + buckets.back();
    family.metric.push_back(std::move(metric));
}

void add_server_states(MetricFamily& family, const labelled_pool& pool) {
    for (const auto& row : server_states) {
        add(family, pool.names + ClientMetric::Label{"state", row.state},
            pool.snapshot.sum_now(row.member));
    }
}

void add_client_states(MetricFamily& family, const labelled_pool& pool) {
    const auto all = pool.snapshot.sum_now(&stats::clients);
    const auto active = pool.snapshot.sum_now(&stats::clients_active);
    const auto waiting = pool.snapshot.sum_now(&stats::clients_waiting);
    const auto busy = std::min(all, active + waiting);
    add(family, pool.names + ClientMetric::Label{"state", "active"}, active);
    add(family, pool.names + ClientMetric::Label{"state", "waiting"}, waiting);
    add(family, pool.names + ClientMetric::Label{"state", "idle"}, all - busy);
}

// Every reason is exported from the start, at 0: a rate() sees the first event only then.
template <typename Reason, std::size_t Count>
void add_closes(MetricFamily& family, const labelled_pool& pool,
                std::array<pool::counter, Count> stats::*member) {
    for (std::size_t i = 0; i < Count; ++i) {
        std::uint64_t sum = 0;
        for (const auto* worker : pool.snapshot.per_worker) {
            sum += (worker->*member)[i].load();
        }
        const auto reason = pool::to_string(static_cast<Reason>(i));
        add(family, pool.names + ClientMetric::Label{"reason", std::string(reason)}, sum);
    }
}

void add_client_closes(MetricFamily& family, const labelled_pool& pool) {
    add_closes<pool::client_close>(family, pool, &stats::client_closes);
}

void add_server_closes(MetricFamily& family, const labelled_pool& pool) {
    add_closes<pool::server_close>(family, pool, &stats::server_closes);
}

template <auto member>
void add_pins(MetricFamily& family, const labelled_pool& pool) {
    for (std::size_t i = 0; i < stats::pin_reasons; ++i) {
        std::uint64_t sum = 0;
        for (const auto* worker : pool.snapshot.per_worker) {
            sum += (worker->*member)[i].load();
        }
        const auto reason = protocol::to_string(static_cast<protocol::pin_reason>(1U << i));
        const bool is_time = member == &stats::pinned_ns;
        add(family, pool.names + ClientMetric::Label{"reason", std::string(reason)},
            static_cast<double>(sum) / (is_time ? 1e9 : 1));
    }
}

void add_leaks(MetricFamily& family, const labelled_pool& pool) {
    for (const auto kind : protocol::session_audit::kinds) {
        const auto i = static_cast<std::size_t>(std::countr_zero(static_cast<unsigned>(kind)));
        std::uint64_t sum = 0;
        for (const auto* worker : pool.snapshot.per_worker) {
            sum += worker->leaks[i].load();
        }
        add(family,
            pool.names + ClientMetric::Label{"kind", std::string(protocol::to_string(kind))}, sum);
    }
}

// 1,296 classes can be counted, a few dozen exist: only those that occurred are exported.
void add_errors(MetricFamily& family, const labelled_pool& pool) {
    constexpr std::string_view digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ";
    for (std::size_t i = 0; i < digits.size() * digits.size(); ++i) {
        std::uint64_t sum = 0;
        for (const auto* worker : pool.snapshot.per_worker) {
            sum += worker->errors_by_class[i].load();
        }
        if (sum > 0) {
            const char sqlstate_class[] = {digits[i / 36], digits[i % 36]};
            add(family, pool.names + ClientMetric::Label{"class", std::string(sqlstate_class, 2)},
                sum);
        }
    }
}

struct split_row {
    const char* name;
    const char* help;
    MetricType type;
    void (*add)(MetricFamily&, const labelled_pool&);
};

constexpr split_row splits[] = {
    {"pgweir_pool_servers", "Server connections by state.", MetricType::Gauge, add_server_states},
    {"pgweir_pool_clients", "Logged-in clients: active (has a server), waiting (for one), idle.",
     MetricType::Gauge, add_client_states},
    {"pgweir_client_closes_total", "Logged-in clients that ended, by reason.", MetricType::Counter,
     add_client_closes},
    {"pgweir_server_closes_total", "Server connections that ended, by reason.", MetricType::Counter,
     add_server_closes},
    {"pgweir_pool_pins", "Clients that keep their server between transactions now, by reason.",
     MetricType::Gauge, add_pins<&stats::pins_now>},
    {"pgweir_pool_pins_total", "Times that a client began to keep its server, by reason.",
     MetricType::Counter, add_pins<&stats::pins_by_reason>},
    {"pgweir_pool_pinned_seconds_total",
     "How long clients kept their servers, by reason, up to the end of their last transaction.",
     MetricType::Counter, add_pins<&stats::pinned_ns>},
    {"pgweir_session_leak_detected_total",
     "Server connections on which a client had left session state that was not noticed, by kind.",
     MetricType::Counter, add_leaks},
    {"pgweir_errors_total", "Errors that PostgreSQL sent to clients, by SQLSTATE class.",
     MetricType::Counter, add_errors},
};

// One row per metric of the process -------------------------------------------------------------

struct process_facts {
    process_snapshot daemon;
    process_usage usage;
};

struct process_row {
    const char* name;
    const char* help;
    MetricType type;
    double (*value)(const process_facts&);
};

constexpr process_row process_metrics[] = {
    {"pgweir_clients", "Client connections, logged in or not.", MetricType::Gauge,
     [](const process_facts& is) { return static_cast<double>(is.daemon.clients); }},
    {"pgweir_prepared_statements",
     "Distinct prepared statements that clients refer to; each worker counts its own.",
     MetricType::Gauge,
     [](const process_facts& is) { return static_cast<double>(is.daemon.statements); }},
    {"pgweir_prepared_statement_bytes",
     "Memory held for the texts of prepared statements (statement_memory bounds it per worker).",
     MetricType::Gauge,
     [](const process_facts& is) { return static_cast<double>(is.daemon.statement_bytes); }},
    {"pgweir_max_clients", "Most client connections that are let in.", MetricType::Gauge,
     [](const process_facts& is) { return static_cast<double>(is.daemon.max_clients); }},
    {"pgweir_accepted_connections_total", "Connections accepted from clients.", MetricType::Counter,
     [](const process_facts& is) { return static_cast<double>(is.daemon.accepted); }},
    {"pgweir_cancel_requests_total", "Connections that carried a CancelRequest.",
     MetricType::Counter,
     [](const process_facts& is) { return static_cast<double>(is.daemon.cancel_requests); }},
    {"pgweir_config_reloads_total", "Configurations taken over by a reload.", MetricType::Counter,
     [](const process_facts& is) { return static_cast<double>(is.daemon.reloads); }},
    {"pgweir_config_reload_failures_total", "Reloads refused because of an error in the file.",
     MetricType::Counter,
     [](const process_facts& is) { return static_cast<double>(is.daemon.reload_failures); }},
    {"pgweir_config_last_reload_successful", "1 unless the last reload was refused.",
     MetricType::Gauge,
     [](const process_facts& is) { return is.daemon.last_reload_ok ? 1.0 : 0.0; }},
    {"pgweir_log_dropped_lines_total",
     "Log lines dropped because they could not be written in time.", MetricType::Counter,
     [](const process_facts& is) { return static_cast<double>(is.daemon.dropped_log_lines); }},
    {"pgweir_workers", "Worker threads.", MetricType::Gauge,
     [](const process_facts& is) { return static_cast<double>(is.daemon.workers); }},
    {"process_cpu_seconds_total", "User and system CPU time spent, in seconds.",
     MetricType::Counter, [](const process_facts& is) { return is.usage.cpu_seconds; }},
    {"process_resident_memory_bytes", "Resident memory in bytes.", MetricType::Gauge,
     [](const process_facts& is) { return static_cast<double>(is.usage.resident_bytes); }},
    {"process_open_fds", "Open file descriptors.", MetricType::Gauge,
     [](const process_facts& is) { return static_cast<double>(is.usage.open_fds); }},
    {"process_max_fds", "Most file descriptors that may be open.", MetricType::Gauge,
     [](const process_facts& is) { return static_cast<double>(is.usage.max_fds); }},
    {"process_start_time_seconds", "When the process started, in seconds since the epoch.",
     MetricType::Gauge, [](const process_facts& is) { return is.usage.start_time_seconds; }},
};

MetricFamily login_failures(const process_snapshot& daemon) {
    MetricFamily family{"pgweir_login_failures_total",
                        "Connections that ended before their login was complete, by reason.",
                        MetricType::Counter,
                        {}};
    for (std::size_t i = 0; i < pool::client_close_count; ++i) {
        const auto reason = static_cast<pool::client_close>(i);
        if (reason != pool::client_close::cancel_request) {
            add(family, {{"reason", std::string(pool::to_string(reason))}},
                daemon.login_failures[i]);
        }
    }
    return family;
}

template <typename Value>
MetricFamily for_each_pool(const char* name, const char* help, MetricType type,
                           const std::vector<labelled_pool>& pools, Value value) {
    MetricFamily family{name, help, type, {}};
    family.metric.reserve(pools.size());
    for (const auto& pool : pools) {
        value(family, pool);
    }
    return family;
}

void collect_pools(std::vector<MetricFamily>& out, const std::vector<labelled_pool>& pools) {
    for (const auto& row : gauges) {
        out.push_back(for_each_pool(row.name, row.help, MetricType::Gauge, pools,
                                    [&](MetricFamily& family, const labelled_pool& pool) {
                                        add(family, pool.names, row.value(pool.snapshot));
                                    }));
    }
    for (const auto& row : counters) {
        out.push_back(for_each_pool(row.name, row.help, MetricType::Counter, pools,
                                    [&](MetricFamily& family, const labelled_pool& pool) {
                                        add(family, pool.names, pool.snapshot.sum(row.member));
                                    }));
    }
    for (const auto& row : histograms) {
        out.push_back(for_each_pool(row.name, row.help, MetricType::Histogram, pools,
                                    [&](MetricFamily& family, const labelled_pool& pool) {
                                        add_histogram(family, pool, row.member);
                                    }));
    }
    for (const auto& row : splits) {
        out.push_back(for_each_pool(row.name, row.help, row.type, pools, row.add));
    }
}

} // namespace

std::uint64_t pool_snapshot::sum(pool::counter stats::*which) const {
    std::uint64_t total = 0;
    for (const auto* worker : per_worker) {
        total += (worker->*which).load();
    }
    return total;
}

std::uint64_t pool_snapshot::sum_now(pool::counter stats::*which) const {
    const auto total = static_cast<std::int64_t>(sum(which));
    return total < 0 ? 0 : static_cast<std::uint64_t>(total);
}

double pool_snapshot::utilisation() const {
    const auto in_use = static_cast<double>(sum_now(&stats::servers_in_use));
    return limits.maxconn == 0 ? 0.0 : in_use / static_cast<double>(limits.maxconn);
}

std::string_view build_version() { return PGWEIR_VERSION; }

std::vector<MetricFamily> metrics_collector::Collect() const {
    std::vector<labelled_pool> pools;
    for (auto& snapshot : source_.pools()) {
        labels names{{"database", to_valid_utf8(snapshot.database)},
                     {"user", to_valid_utf8(snapshot.user)}};
        pools.push_back({std::move(snapshot), std::move(names)});
    }
    std::vector<MetricFamily> out;
    collect_pools(out, pools);

    const process_facts facts{source_.process(), read_process_usage()};
    out.push_back(login_failures(facts.daemon));
    for (const auto& row : process_metrics) {
        MetricFamily family{row.name, row.help, row.type, {}};
        add(family, {}, row.value(facts));
        out.push_back(std::move(family));
    }
    MetricFamily build{
        "pgweir_build_info", "Always 1; the version is the label.", MetricType::Gauge, {}};
    add(build, {{"version", std::string(build_version())}}, 1.0);
    out.push_back(std::move(build));
    return out;
}

std::string metrics_text(const prometheus::Collectable& from) {
    std::ostringstream out;
    prometheus::TextSerializer().Serialize(out, from.Collect());
    return std::move(out).str();
}

} // namespace pgweir::daemon
