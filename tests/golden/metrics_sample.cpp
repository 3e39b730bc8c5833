// Prints what /metrics would say for the sample pools: the input of metrics_test.py.
#include "daemon/metrics.hpp"
#include "tests/daemon/ops/sample.hpp"

#include <iostream>

int main() {
    const pgweir::daemon::sample_pools sample;
    std::cout << metrics_text(pgweir::daemon::metrics_collector(sample.source()));
}
