// Totals and averages per database, as SHOW STATS and its siblings print them. Averages are over
// the last whole period of a minute; in the first one, over the time since the start.
//
// Owner: the console. Thread: ops. Life: the process. Sans-io.
// Tests: tests/daemon/console/stats_test.cpp.
#pragma once

#include "daemon/ops_snapshot.hpp"

#include <array>
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <vector>

namespace pgweir::daemon {

/// What is measured, in the order of the columns. Times are in microseconds.
enum class measure : std::uint8_t {
    assignments,
    transactions,
    queries,
    received,
    sent,
    transaction_time,
    query_time,
    wait_time,
    // Counted where the pooler handles prepared statements itself; it does not yet.
    client_parses,
    server_parses,
    binds,
};
inline constexpr std::size_t measures = 11;

class measure_totals {
public:
    [[nodiscard]] std::uint64_t operator[](measure which) const {
        return values_[static_cast<std::size_t>(which)];
    }
    std::uint64_t& operator[](measure which) { return values_[static_cast<std::size_t>(which)]; }
    measure_totals& operator+=(const measure_totals& other);
    /// What was added since; never below 0.
    [[nodiscard]] measure_totals since(const measure_totals& earlier) const;

private:
    std::array<std::uint64_t, measures> values_{};
};

using totals_by_database = std::map<std::string, measure_totals, std::less<>>;

[[nodiscard]] totals_by_database totals_of(std::span<const pool_snapshot> pools);

/// Per second; but times per transaction, query or assignment.
[[nodiscard]] measure_totals averages_of(const measure_totals& grown, pool::duration over);

struct stats_row {
    std::string database;
    measure_totals total;
    measure_totals average;
};

class stats_history {
public:
    static constexpr pool::duration period = std::chrono::seconds(60);

    explicit stats_history(pool::time_point started);
    /// Is the next sample due?
    [[nodiscard]] bool due(pool::time_point now) const { return now - newer_.taken >= period; }
    void add(pool::time_point now, totals_by_database totals);

    /// One row per database, by name.
    [[nodiscard]] std::vector<stats_row> rows(pool::time_point now,
                                              const totals_by_database& totals) const;
    /// All databases together.
    [[nodiscard]] stats_row sum(pool::time_point now, const totals_by_database& totals) const;

private:
    struct sample {
        pool::time_point taken{};
        totals_by_database totals;
    };
    /// What averages are made of: what was added between two samples.
    struct window {
        const totals_by_database& from;
        const totals_by_database& to;
        pool::duration over;
    };
    [[nodiscard]] window last_period(pool::time_point now, const totals_by_database& totals) const;

    sample older_, newer_;      // at first newer_ is the start: nothing was counted yet
    bool whole_period_ = false; // a period has ended
};

} // namespace pgweir::daemon
