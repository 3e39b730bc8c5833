// Prometheus metrics from a snapshot. Each metric is one row of the tables in metrics.cpp (plus its
// line in tests/golden/metrics.txt).
//
// Labels are `database` and `user` only, and where a metric is split further `state`, `reason` or
// `class`; never a client, an address or a statement. What a scrape costs does not depend on the
// number of clients.
//
// Owner: main. Thread: the ops thread (Collect is const and keeps nothing).
// Tests: tests/daemon/ops/metrics_test.cpp, tests/golden (names, promtool).
#pragma once

#include "daemon/ops_snapshot.hpp"

#include <prometheus/collectable.h>
#include <prometheus/metric_family.h>

#include <string>
#include <vector>

namespace pgweir::daemon {

class metrics_collector : public prometheus::Collectable {
public:
    explicit metrics_collector(snapshot_source source)
        : source_(std::move(source)) {}

    /// Every metric there is, those without a sample too.
    [[nodiscard]] std::vector<prometheus::MetricFamily> Collect() const override;

private:
    snapshot_source source_;
};

/// The Content-Type of metrics_text().
inline constexpr char metrics_content_type[] = "text/plain; version=0.0.4; charset=utf-8";

/// Prometheus' text format.
[[nodiscard]] std::string metrics_text(const prometheus::Collectable& from);

} // namespace pgweir::daemon
