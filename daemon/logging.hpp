// The log: structured events, one line each, to stderr through spdlog's asynchronous logger.
//
// Nobody who logs ever waits for whoever reads the log: the queue is bounded, the oldest lines give
// way, and how many did is counted and told. One thread of the logger's own writes.
//
// Owner: main (no registry, no global). Thread: log(), logs() and set_level() any. Life: from
// start-up to the very end; the destructor writes what is queued as long as the reader takes it.
// Tests: tests/daemon/ops/logging_test.cpp.
#pragma once

#include "daemon/engine/ports.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace pgweir::daemon {

enum class log_layout : std::uint8_t {
    text, // 2026-01-02T03:04:05.678Z info    client closed client=17 reason=terminate
    json, // {"time":"2026-01-02T03:04:05.678Z","level":"info","event":"client closed","client":17}
};

/// Values longer than this are cut and end in "…".
inline constexpr std::size_t max_log_value_bytes = 2048;

/// One line without its line feed. Always valid UTF-8 and free of control characters, whatever the
/// fields hold. In JSON, a field called time, level or event gets a `_` behind its name.
[[nodiscard]] std::string format_log_line(std::chrono::system_clock::time_point time,
                                          log_severity severity, std::string_view event,
                                          const log_field* fields, std::size_t field_count,
                                          log_layout layout);

/// True when `fd` is the journal's stream (sd-daemon's JOURNAL_STREAM=device:inode): then each line
/// starts with its priority, `<6>`.
[[nodiscard]] bool is_journal(int fd);

class logger {
public:
    struct options {
        log_layout layout = log_layout::text;
        log_severity level = log_severity::info;
        int fd = 2;
        std::size_t queue_lines = 4096;
        bool priority_prefix = false;
        /// How long the writing thread waits for a reader that does not read before it drops a
        /// line.
        std::chrono::milliseconds patience{1000};
    };
    explicit logger(const options& how);
    logger(const logger&) = delete;
    logger& operator=(const logger&) = delete;
    ~logger();

    /// Never blocks for I/O and never throws.
    void log(log_severity severity, std::string_view event,
             std::initializer_list<log_field> fields) noexcept;
    [[nodiscard]] bool logs(log_severity severity) const;
    void set_level(log_severity level);
    void set_layout(log_layout layout);
    /// Lines that were never written.
    [[nodiscard]] std::uint64_t dropped() const;

private:
    struct state;
    std::unique_ptr<state> state_;
};

} // namespace pgweir::daemon
