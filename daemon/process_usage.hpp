// What the kernel says this process uses: for the process_* metrics and the status page.
//
// Thread: any; no state but a cached start time. Linux only (/proc).
// Tests: tests/daemon/ops/metrics_test.cpp.
#pragma once

#include <cstdint>

namespace pgweir::daemon {

struct process_usage {
    double cpu_seconds = 0;
    std::uint64_t resident_bytes = 0;
    std::uint64_t open_fds = 0;
    std::uint64_t max_fds = 0;
    double start_time_seconds = 0; // since the epoch
};

/// What cannot be read is 0.
[[nodiscard]] process_usage read_process_usage();

} // namespace pgweir::daemon
