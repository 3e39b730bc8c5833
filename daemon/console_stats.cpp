#include "daemon/console_stats.hpp"

#include <utility>

namespace pgweir::daemon {

namespace {

constexpr std::uint64_t ns_per_us = 1000;

/// Where a measure is counted, and what one of its units is worth.
struct measure_row {
    measure which;
    pool::counter pool::stats::*counted;
    std::uint64_t divisor = 1;
    /// A time: averaged per one of these instead of per second.
    measure per{};
    bool is_time = false;
};

constexpr measure_row rows_of_measures[] = {
    {.which = measure::assignments, .counted = &pool::stats::assignments},
    {.which = measure::transactions, .counted = &pool::stats::transactions},
    {.which = measure::queries, .counted = &pool::stats::queries},
    {.which = measure::received, .counted = &pool::stats::bytes_from_clients},
    // What PgBouncer calls sent is what came from PostgreSQL to be sent on.
    {.which = measure::sent, .counted = &pool::stats::bytes_from_servers},
    {.which = measure::transaction_time,
     .counted = &pool::stats::transaction_ns,
     .divisor = ns_per_us,
     .per = measure::transactions,
     .is_time = true},
    {.which = measure::query_time,
     .counted = &pool::stats::query_ns,
     .divisor = ns_per_us,
     .per = measure::queries,
     .is_time = true},
    {.which = measure::wait_time,
     .counted = &pool::stats::wait_ns,
     .divisor = ns_per_us,
     .per = measure::assignments,
     .is_time = true},
};

measure_totals totals_in(const totals_by_database& totals, std::string_view database) {
    const auto found = totals.find(database);
    return found == totals.end() ? measure_totals{} : found->second;
}

measure_totals sum_of(const totals_by_database& totals) {
    measure_totals sum;
    for (const auto& [name, each] : totals) {
        sum += each;
    }
    return sum;
}

} // namespace

measure_totals& measure_totals::operator+=(const measure_totals& other) {
    for (std::size_t i = 0; i < measures; ++i) {
        values_[i] += other.values_[i];
    }
    return *this;
}

measure_totals measure_totals::since(const measure_totals& earlier) const {
    measure_totals grown;
    for (std::size_t i = 0; i < measures; ++i) {
        grown.values_[i] = values_[i] > earlier.values_[i] ? values_[i] - earlier.values_[i] : 0;
    }
    return grown;
}

totals_by_database totals_of(std::span<const pool_snapshot> pools) {
    totals_by_database totals;
    for (const auto& pool : pools) {
        measure_totals own;
        for (const auto& row : rows_of_measures) {
            own[row.which] = pool.sum(row.counted) / row.divisor;
        }
        totals[pool.database] += own;
    }
    return totals;
}

measure_totals averages_of(const measure_totals& grown, pool::duration over) {
    const auto seconds = std::chrono::duration<double>(over).count();
    measure_totals average;
    for (const auto& row : rows_of_measures) {
        if (row.is_time) {
            const auto count = grown[row.per];
            average[row.which] = count == 0 ? 0 : grown[row.which] / count;
        } else if (seconds > 0) {
            average[row.which] =
                static_cast<std::uint64_t>(static_cast<double>(grown[row.which]) / seconds);
        }
    }
    return average;
}

stats_history::stats_history(pool::time_point started) { newer_.taken = started; }

void stats_history::add(pool::time_point now, totals_by_database totals) {
    older_ = std::exchange(newer_, sample{now, std::move(totals)});
    whole_period_ = true;
}

stats_history::window stats_history::last_period(pool::time_point now,
                                                 const totals_by_database& totals) const {
    if (whole_period_) {
        return {older_.totals, newer_.totals, newer_.taken - older_.taken};
    }
    return {newer_.totals, totals, now - newer_.taken};
}

std::vector<stats_row> stats_history::rows(pool::time_point now,
                                           const totals_by_database& totals) const {
    const auto period_now = last_period(now, totals);
    std::vector<stats_row> rows;
    for (const auto& [database, total] : totals) {
        const auto grown =
            totals_in(period_now.to, database).since(totals_in(period_now.from, database));
        rows.push_back({database, total, averages_of(grown, period_now.over)});
    }
    return rows;
}

stats_row stats_history::sum(pool::time_point now, const totals_by_database& totals) const {
    const auto period_now = last_period(now, totals);
    const auto grown = sum_of(period_now.to).since(sum_of(period_now.from));
    return {"", sum_of(totals), averages_of(grown, period_now.over)};
}

} // namespace pgweir::daemon
