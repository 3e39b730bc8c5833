// Lines as they are written, and a logger on a pipe whose reader may be slow, stuck or gone.
#include "daemon/logging.hpp"

#include <doctest/doctest.h>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <limits>
#include <string>
#include <thread>
#include <vector>

using namespace pgweir::daemon;

namespace {

// 2026-01-02T03:04:05.678Z
constexpr std::chrono::system_clock::time_point when{std::chrono::milliseconds(1767323045678)};

std::string line(log_layout layout, std::string_view event, std::vector<log_field> fields,
                 log_severity severity = log_severity::info) {
    return format_log_line(when, severity, event, fields.data(), fields.size(), layout);
}

struct pipe_ends {
    int read_end = -1;
    int write_end = -1;
    pipe_ends() {
        int fds[2];
        REQUIRE(::pipe2(fds, O_CLOEXEC) == 0);
        read_end = fds[0];
        write_end = fds[1];
    }
    ~pipe_ends() {
        ::close(read_end);
        close_write();
    }
    void close_write() {
        if (write_end >= 0) {
            ::close(write_end);
        }
        write_end = -1;
    }
    std::string read_all() {
        close_write();
        std::string all;
        char piece[4096];
        for (ssize_t n; (n = ::read(read_end, piece, sizeof(piece))) > 0;) {
            all.append(piece, static_cast<std::size_t>(n));
        }
        return all;
    }
};

std::size_t count(std::string_view text, std::string_view what) {
    std::size_t found = 0;
    for (auto at = text.find(what); at != text.npos; at = text.find(what, at + what.size())) {
        ++found;
    }
    return found;
}

logger::options to(const pipe_ends& pipe) {
    logger::options how;
    how.fd = pipe.write_end;
    return how;
}

} // namespace

TEST_CASE("one line per event, as text or as JSON") {
    const std::vector<log_field> fields{
        {"client", std::int64_t{17}}, {"reason", "terminate"}, {"seconds", 0.25}};
    CHECK(line(log_layout::text, "client closed", fields) ==
          "2026-01-02T03:04:05.678Z info    client closed client=17 reason=terminate seconds=0.25");
    CHECK(line(log_layout::json, "client closed", fields) ==
          R"({"time":"2026-01-02T03:04:05.678Z","level":"info","event":"client closed",)"
          R"("client":17,"reason":"terminate","seconds":0.25})");
    CHECK(line(log_layout::text, "x", {}, log_severity::warning) ==
          "2026-01-02T03:04:05.678Z warning x");
    CHECK(line(log_layout::json, "x", {{"level", "high"}, {"time", std::int64_t{1}}})
              .ends_with(R"("event":"x","level_":"high","time_":1})"));
}

TEST_CASE("values cannot break out of their line") {
    struct {
        std::string_view value, text, json;
    } const rows[] = {
        {"", R"("")", R"("")"},
        {"plain", "plain", R"("plain")"},
        {"two words", R"("two words")", R"("two words")"},
        {"a=b", R"("a=b")", R"("a=b")"},
        {"a\nb\tc\r", R"("a\nb\tc\x0d")", R"("a\nb\tc\u000d")"},
        {"say \"no\" \\", R"("say \"no\" \\")", R"("say \"no\" \\")"},
        {"\x1b[2J", R"("\x1b[2J")", R"("\u001b[2J")"},
        {"Zürich", R"("Zürich")", R"("Zürich")"},
        {"\xff\xc3", R"("\xff\xc3")", R"("\\xff\\xc3")"},
        {"a\u202eb\u2028\u2066\u061c", R"("a\u202eb\u2028\u2066\u061c")",
         R"("a\u202eb\u2028\u2066\u061c")"},
        {"\xc2\x9b"
         "2J",
         R"("\x9b2J")", R"("\u009b2J")"},
    };
    for (const auto& row : rows) {
        CAPTURE(row.text);
        CHECK(line(log_layout::text, "e", {{"v", row.value}})
                  .ends_with(" e v=" + std::string(row.text)));
        CHECK(line(log_layout::json, "e", {{"v", row.value}})
                  .ends_with(",\"v\":" + std::string(row.json) + "}"));
    }
    CHECK(line(log_layout::json, "e", {{"v", std::numeric_limits<double>::infinity()}})
              .ends_with("\"v\":null}"));
    const std::string nul("a\0b", 3);
    CHECK(line(log_layout::json, "e", {{"v", nul}}).ends_with("\"v\":\"a\\u0000b\"}"));
}

TEST_CASE("a long value is cut between characters") {
    std::string value;
    while (value.size() < 3 * max_log_value_bytes) {
        value += "€";
    }
    const auto text = line(log_layout::json, "e", {{"v", value}});
    CHECK(text.size() < max_log_value_bytes + 120);
    CHECK(text.ends_with("€…\"}"));
}

TEST_CASE("lines come out in order; the destructor writes what is queued") {
    pipe_ends pipe;
    {
        logger log(to(pipe));
        for (std::int64_t i = 0; i < 100; ++i) {
            log.log(log_severity::info, "step", {{"i", i}});
        }
        log.log(log_severity::debug, "not written", {});
        CHECK_FALSE(log.logs(log_severity::debug));
        log.set_level(log_severity::debug);
        log.log(log_severity::debug, "written", {});
        log.set_level(log_severity::error);
        log.log(log_severity::warning, "not written", {});
        log.set_layout(log_layout::json);
        log.log(log_severity::error, "last", {});
        CHECK(log.dropped() == 0);
    }
    const auto text = pipe.read_all();
    CHECK(count(text, "\n") == 102);
    CHECK(text.find("step i=0\n") < text.find("step i=99\n"));
    CHECK(text.find("not written") == text.npos);
    CHECK(text.ends_with("\"level\":\"error\",\"event\":\"last\"}\n"));
}

TEST_CASE("a reader that does not read stops nobody; what was dropped is counted") {
    pipe_ends pipe;
    const std::string bulk(1000, 'x');
    constexpr int lines = 2000;
    std::uint64_t dropped = 0;
    const auto begin = std::chrono::steady_clock::now();
    {
        auto how = to(pipe);
        how.queue_lines = 64;
        how.patience = std::chrono::milliseconds(10);
        logger log(how);
        for (int i = 0; i < lines; ++i) { // 2 MB into a pipe of 64 KiB
            log.log(log_severity::info, "bulk", {{"text", bulk}});
        }
        CHECK(std::chrono::steady_clock::now() - begin < std::chrono::seconds(5));
        dropped = log.dropped();
        CHECK(dropped > 0);
    }
    CHECK(std::chrono::steady_clock::now() - begin < std::chrono::seconds(20));
    const auto text = pipe.read_all();
    CHECK(count(text, "bulk text=") > 0);
    CHECK(count(text, "bulk text=") < lines);
}

TEST_CASE("when lines had to give way, the log says so") {
    pipe_ends pipe;
    std::string text;
    {
        auto how = to(pipe);
        how.queue_lines = 8;
        how.patience = std::chrono::seconds(10);
        logger log(how);
        const std::string bulk(2000, 'x');
        for (int i = 0; i < 200; ++i) { // the writing thread is stuck behind the full pipe
            log.log(log_severity::info, "bulk", {{"text", bulk}});
        }
        CHECK(log.dropped() > 0);
        // Reading lets it go on.
        char piece[4096];
        while (text.find("log lines dropped count=") == text.npos) {
            const auto n = ::read(pipe.read_end, piece, sizeof(piece));
            REQUIRE(n > 0);
            text.append(piece, static_cast<std::size_t>(n));
        }
    }
}

TEST_CASE("a reader that has gone costs the lines and nothing else") {
    ::signal(SIGPIPE, SIG_IGN); // as the daemon does
    pipe_ends pipe;
    ::close(pipe.read_end);
    pipe.read_end = -1;
    auto how = to(pipe);
    logger log(how);
    log.log(log_severity::info, "nobody reads this", {});
    while (log.dropped() == 0) {
        std::this_thread::yield();
    }
    CHECK(log.dropped() == 1);
}

TEST_CASE("several threads may log at once") {
    pipe_ends pipe;
    std::string text;
    std::thread reader([&] {
        char piece[4096];
        for (ssize_t n; (n = ::read(pipe.read_end, piece, sizeof(piece))) > 0;) {
            text.append(piece, static_cast<std::size_t>(n));
        }
    });
    {
        logger log(to(pipe));
        std::vector<std::thread> threads;
        for (std::int64_t t = 0; t < 4; ++t) {
            threads.emplace_back([&log, t] {
                for (std::int64_t i = 0; i < 200; ++i) {
                    log.log(log_severity::info, "step", {{"thread", t}, {"i", i}});
                }
            });
        }
        for (auto& thread : threads) {
            thread.join();
        }
    }
    pipe.close_write();
    reader.join();
    CHECK(count(text, "\n") == 800);
    for (const auto* who : {"thread=0 ", "thread=1 ", "thread=2 ", "thread=3 "}) {
        CHECK(count(text, who) == 200);
    }
}

TEST_CASE("under the journal each line says its priority") {
    pipe_ends pipe;
    struct stat info {};
    REQUIRE(::fstat(pipe.write_end, &info) == 0);
    const auto stream = std::to_string(info.st_dev) + ":" + std::to_string(info.st_ino);
    ::setenv("JOURNAL_STREAM", stream.c_str(), 1);
    CHECK(is_journal(pipe.write_end));
    ::setenv("JOURNAL_STREAM", "1:2", 1);
    CHECK_FALSE(is_journal(pipe.write_end));
    ::unsetenv("JOURNAL_STREAM");
    CHECK_FALSE(is_journal(pipe.write_end));
    {
        auto how = to(pipe);
        how.priority_prefix = true;
        logger log(how);
        log.log(log_severity::warning, "a", {});
        log.log(log_severity::error, "b", {});
    }
    const auto text = pipe.read_all();
    CHECK(text.starts_with("<4>2"));
    CHECK(count(text, "\n<3>2") == 1);
}
