#include "daemon/logging.hpp"

#include "daemon/utf8.hpp"

#include <spdlog/async_logger.h>
#include <spdlog/details/null_mutex.h>
#include <spdlog/details/thread_pool.h>
#include <spdlog/sinks/base_sink.h>

#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <charconv>
#include <climits>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <utility>

namespace pgweir::daemon {

namespace {

struct severity_row {
    std::string_view name;
    std::string_view padded;   // so that events line up
    std::string_view priority; // syslog's, as sd-daemon(3) wants it
    spdlog::level::level_enum level;
};

constexpr severity_row severities[] = {
    {"debug", "debug  ", "<7>", spdlog::level::debug},
    {"info", "info   ", "<6>", spdlog::level::info},
    {"warning", "warning", "<4>", spdlog::level::warn},
    {"error", "error  ", "<3>", spdlog::level::err},
};

const severity_row& row(log_severity severity) {
    return severities[static_cast<std::size_t>(severity)];
}

// 2026-01-02T03:04:05.678Z
std::string format_time(std::chrono::system_clock::time_point time) {
    const auto since = std::chrono::floor<std::chrono::milliseconds>(time.time_since_epoch());
    const auto whole = std::chrono::floor<std::chrono::seconds>(since);
    const std::time_t seconds = whole.count();
    std::tm utc{};
    ::gmtime_r(&seconds, &utc);
    char date[32];
    const auto length = std::strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%S", &utc);
    char millis[8];
    std::snprintf(millis, sizeof(millis), ".%03dZ", static_cast<int>((since - whole).count()));
    return std::string(date, length) + millis;
}

void append_hex(std::string& out, std::string_view prefix, unsigned char c) {
    constexpr char digits[] = "0123456789abcdef";
    out += prefix;
    out += digits[c >> 4U];
    out += digits[c & 0xfU];
}

/// Four hexadecimal digits of a character that turns or breaks a line where it is shown (Unicode's
/// bidirectional controls and its separators of lines and paragraphs); empty of any other.
std::string_view digits_of_unseen(std::string_view sequence) {
    static constexpr std::pair<std::string_view, std::string_view> unseen[] = {
        {"\u061c", "061c"}, {"\u200e", "200e"}, {"\u200f", "200f"}, {"\u2028", "2028"},
        {"\u2029", "2029"}, {"\u202a", "202a"}, {"\u202b", "202b"}, {"\u202c", "202c"},
        {"\u202d", "202d"}, {"\u202e", "202e"}, {"\u2066", "2066"}, {"\u2067", "2067"},
        {"\u2068", "2068"}, {"\u2069", "2069"},
    };
    for (const auto& [character, digits] : unseen) {
        if (character == sequence) {
            return digits;
        }
    }
    return {};
}

/// Escapes quotes, backslashes, control characters; what is not UTF-8 becomes \xNN as text (in JSON
/// the backslash of that is escaped in turn).
void append_escaped(std::string& out, std::string_view text, log_layout layout) {
    const bool json = layout == log_layout::json;
    while (!text.empty()) {
        const auto c = static_cast<unsigned char>(text.front());
        const auto length = utf8_sequence(text);
        if (length == 0) {
            append_hex(out, json ? "\\\\x" : "\\x", c);
            text.remove_prefix(1);
            continue;
        }
        if (c == '"' || c == '\\') {
            out += '\\';
            out += static_cast<char>(c);
        } else if (c == '\n') {
            out += "\\n";
        } else if (c == '\t') {
            out += "\\t";
        } else if (c < 0x20 || c == 0x7f) {
            append_hex(out, json ? "\\u00" : "\\x", c);
        } else if (c == 0xc2 && static_cast<unsigned char>(text[1]) < 0xa0) {
            // C1 controls (U+0080 to U+009F): terminals obey some of them.
            append_hex(out, json ? "\\u00" : "\\x", static_cast<unsigned char>(text[1]));
        } else if (const auto digits = digits_of_unseen(text.substr(0, length)); !digits.empty()) {
            out += "\\u";
            out += digits;
        } else {
            out += text.substr(0, length);
        }
        text.remove_prefix(length);
    }
}

bool needs_quotes(std::string_view text) {
    if (text.empty()) {
        return true;
    }
    for (const char c : text) {
        const auto byte = static_cast<unsigned char>(c);
        if (byte <= 0x20 || byte == 0x7f || c == '"' || c == '\\' || c == '=' || byte >= 0x80) {
            return true;
        }
    }
    return false;
}

void append_text(std::string& out, std::string_view text, log_layout layout) {
    const bool cut = text.size() > max_log_value_bytes;
    if (cut) {
        text = utf8_prefix(text, max_log_value_bytes);
    }
    const bool quoted = layout == log_layout::json || cut || needs_quotes(text);
    if (quoted) {
        out += '"';
    }
    append_escaped(out, text, layout);
    if (cut) {
        out += "…";
    }
    if (quoted) {
        out += '"';
    }
}

void append_value(std::string& out, const log_field& field, log_layout layout) {
    char digits[32];
    if (const auto* text = std::get_if<std::string_view>(&field.value)) {
        append_text(out, *text, layout);
    } else if (const auto* whole = std::get_if<std::int64_t>(&field.value)) {
        out.append(digits, std::to_chars(digits, digits + sizeof(digits), *whole).ptr);
    } else if (const auto real = std::get<double>(field.value); std::isfinite(real)) {
        out.append(digits, std::to_chars(digits, digits + sizeof(digits), real).ptr);
    } else {
        out += layout == log_layout::json ? "null" : "-"; // JSON has no infinity
    }
}

void append_json_name(std::string& out, std::string_view name) {
    out += ",\"";
    append_escaped(out, name, log_layout::json);
    if (name == "time" || name == "level" || name == "event") {
        out += '_';
    }
    out += "\":";
}

// Writes to a descriptor without ever waiting for long: what the reader does not take in time is
// dropped. The descriptor stays blocking (its flags are shared with whoever gave it to us), so a
// piece is written only after poll() said there is room, and no piece is larger than PIPE_BUF,
// which a pipe that polls writable takes whole.
class descriptor_sink final : public spdlog::sinks::base_sink<spdlog::details::null_mutex> {
public:
    descriptor_sink(const logger::options& how)
        : fd_(how.fd)
        , priority_prefix_(how.priority_prefix)
        , patience_(how.patience) {}

    std::atomic<std::uint64_t> dropped{0};
    std::atomic<bool> closing{false};
    std::atomic<log_layout> layout{log_layout::text};
    /// Outlives every call: its destructor waits for the thread that makes them. (Not a shared
    /// pointer: the last one must not go on that very thread.)
    spdlog::details::thread_pool* queue = nullptr;

protected:
    void sink_it_(const spdlog::details::log_msg& message) override {
        for (const auto& severity : severities) {
            if (severity.level == message.level) {
                write_line(severity, {message.payload.data(), message.payload.size()});
            }
        }
        tell_overruns(message.time);
    }
    void flush_() override {}

private:
    void write_line(const severity_row& severity, std::string_view text) {
        line_.clear();
        if (priority_prefix_) {
            line_ += severity.priority;
        }
        line_ += text;
        line_ += '\n';
        if (!write_all(line_)) {
            dropped.fetch_add(1, std::memory_order_relaxed);
        }
    }

    // A reader of the log should know that lines are missing, and where; once a second at most.
    void tell_overruns(std::chrono::system_clock::time_point now) {
        const std::uint64_t overruns = queue->overrun_counter();
        if (overruns == told_ || now - told_at_ < std::chrono::seconds(1)) {
            return;
        }
        const log_field field{"count", static_cast<std::int64_t>(overruns - told_)};
        told_ = overruns;
        told_at_ = now;
        write_line(row(log_severity::warning),
                   format_log_line(now, log_severity::warning, "log lines dropped", &field, 1,
                                   layout.load(std::memory_order_relaxed)));
    }

    bool write_all(std::string_view text) {
        if (cut_line_) { // the rest of a line that could not be finished
            if (!write_piece("\n")) {
                return false;
            }
            cut_line_ = false;
        }
        bool begun = false;
        while (!text.empty()) {
            const auto piece = text.substr(0, PIPE_BUF);
            const auto written = write_piece(piece);
            if (written == 0) {
                cut_line_ = begun;
                return false;
            }
            begun = true;
            text.remove_prefix(written);
        }
        return true;
    }

    /// Bytes written; 0: not in time, or never.
    std::size_t write_piece(std::string_view piece) {
        const auto wait =
            closing.load() ? std::min(patience_, std::chrono::milliseconds(20)) : patience_;
        const auto until = std::chrono::steady_clock::now() + wait;
        for (;;) {
            const auto left = std::chrono::ceil<std::chrono::milliseconds>(
                until - std::chrono::steady_clock::now());
            pollfd ready{fd_, POLLOUT, 0};
            const int found =
                ::poll(&ready, 1, static_cast<int>(std::max<std::int64_t>(0, left.count())));
            if (found == 0) {
                return 0;
            }
            if (found < 0 && errno != EINTR) {
                return 0;
            }
            if (found > 0) {
                const auto written = ::write(fd_, piece.data(), piece.size());
                if (written > 0) {
                    return static_cast<std::size_t>(written);
                }
                if (errno != EINTR && errno != EAGAIN) {
                    return 0;
                }
            }
        }
    }

    int fd_;
    bool priority_prefix_;
    std::chrono::milliseconds patience_;
    bool cut_line_ = false;
    std::uint64_t told_ = 0;
    std::chrono::system_clock::time_point told_at_{};
    std::string line_;
};

} // namespace

std::string format_log_line(std::chrono::system_clock::time_point time, log_severity severity,
                            std::string_view event, const log_field* fields,
                            std::size_t field_count, log_layout layout) {
    std::string out;
    out.reserve(160);
    if (layout == log_layout::json) {
        out += "{\"time\":\"" + format_time(time) + "\",\"level\":\"";
        out += row(severity).name;
        out += "\",\"event\":";
        append_text(out, event, layout);
        for (std::size_t i = 0; i < field_count; ++i) {
            append_json_name(out, fields[i].name);
            append_value(out, fields[i], layout);
        }
        out += '}';
        return out;
    }
    out += format_time(time);
    out += ' ';
    out += row(severity).padded;
    out += ' ';
    append_escaped(out, event, layout);
    for (std::size_t i = 0; i < field_count; ++i) {
        out += ' ';
        append_escaped(out, fields[i].name, layout);
        out += '=';
        append_value(out, fields[i], layout);
    }
    return out;
}

bool is_journal(int fd) {
    const char* stream = std::getenv("JOURNAL_STREAM");
    struct stat info {};
    if (stream == nullptr || ::fstat(fd, &info) != 0) {
        return false;
    }
    return std::to_string(info.st_dev) + ":" + std::to_string(info.st_ino) == stream;
}

struct logger::state {
    std::atomic<log_severity> level{log_severity::info};
    std::atomic<std::uint64_t> lost{0}; // for want of memory
    std::shared_ptr<descriptor_sink> sink;
    std::shared_ptr<spdlog::details::thread_pool> queue;
    std::shared_ptr<spdlog::async_logger> spd;
};

logger::logger(const options& how)
    : state_(std::make_unique<state>()) {
    state_->level = how.level;
    state_->sink = std::make_shared<descriptor_sink>(how);
    state_->sink->layout = how.layout;
    state_->sink->set_pattern("%v");
    state_->queue = std::make_shared<spdlog::details::thread_pool>(how.queue_lines, 1U);
    state_->sink->queue = state_->queue.get();
    state_->spd = std::make_shared<spdlog::async_logger>(
        "pgweir", state_->sink, state_->queue, spdlog::async_overflow_policy::overrun_oldest);
    state_->spd->set_level(spdlog::level::trace); // the level is ours, so that logs() is one load
}

logger::~logger() {
    state_->sink->closing = true;
    state_->spd.reset();
    state_->queue.reset(); // waits for its thread, which writes what is queued
}

void logger::log(log_severity severity, std::string_view event,
                 std::initializer_list<log_field> fields) noexcept {
    if (!logs(severity)) {
        return;
    }
    try {
        const auto line =
            format_log_line(std::chrono::system_clock::now(), severity, event, fields.begin(),
                            fields.size(), state_->sink->layout.load(std::memory_order_relaxed));
        state_->spd->log(row(severity).level, spdlog::string_view_t(line.data(), line.size()));
    } catch (const std::exception&) {
        state_->lost.fetch_add(1, std::memory_order_relaxed);
    }
}

bool logger::logs(log_severity severity) const {
    return severity >= state_->level.load(std::memory_order_relaxed);
}

void logger::set_level(log_severity level) {
    state_->level.store(level, std::memory_order_relaxed);
}

void logger::set_layout(log_layout layout) {
    state_->sink->layout.store(layout, std::memory_order_relaxed);
}

std::uint64_t logger::dropped() const {
    return state_->lost.load() + state_->sink->dropped.load() + state_->queue->overrun_counter();
}

} // namespace pgweir::daemon
