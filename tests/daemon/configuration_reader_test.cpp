// Reloads while one is under way, and one that never ends.
#include "daemon/configuration_reader.hpp"

#include <boost/asio.hpp>
#include <doctest/doctest.h>

#include <chrono>
#include <future>
#include <new>
#include <optional>
#include <string>
#include <vector>

namespace {

using namespace pgweir;
using namespace std::chrono_literals;
using reader = daemon::configuration_reader;

/// A file system that answers when it is let.
struct bench {
    boost::asio::io_context ops;
    std::vector<std::promise<reader::outcome>> files =
        std::vector<std::promise<reader::outcome>>(3);
    int begun = 0, used = 0;
    std::string told; // a letter each
    std::optional<reader> reads;

    bench() {
        reads.emplace(
            ops,
            reader::steps{
                .begin =
                    [this] {
                        return
                            [file = files[static_cast<std::size_t>(begun++)].get_future().share()] {
                                return file.get();
                            };
                    },
                .use =
                    [this](const reader::outcome& what) {
                        ++used;
                        return what.loaded.errors.empty() ? std::optional<std::string>()
                                                          : what.loaded.errors.front();
                    }});
    }
    void ask(const char* name) {
        reads->read([this, name](const std::optional<std::string>& problem) {
            told += name + problem.value_or("") + ";";
        });
    }
    void run_until_used(int count) {
        ops.restart();
        const auto work = boost::asio::make_work_guard(ops);
        const auto give_up = std::chrono::steady_clock::now() + 20s;
        while (used < count && std::chrono::steady_clock::now() < give_up) {
            ops.run_for(1ms);
        }
        REQUIRE(used == count);
    }
};

} // namespace

TEST_CASE_FIXTURE(bench, "configuration_reader: who asks meanwhile gets one more read") {
    ask("a");
    CHECK(reads->is_reading());
    ask("b"); // the file may have changed since it was read
    ask("c");
    CHECK(begun == 1);
    files[0].set_value({});
    run_until_used(1);
    CHECK(told == "a;");
    CHECK(begun == 2);
    reader::outcome bad;
    bad.loaded.errors = {"!"};
    files[1].set_value(bad);
    run_until_used(2);
    CHECK(told == "a;b!;c!;");
    CHECK_FALSE(reads->is_reading());
    ask("d");
    files[2].set_value({});
    run_until_used(3);
    CHECK(told == "a;b!;c!;d;");
}

TEST_CASE_FIXTURE(bench, "configuration_reader: a read that throws is refused, the next is not") {
    ask("a");
    files[0].set_exception(std::make_exception_ptr(std::bad_alloc()));
    run_until_used(1);
    CHECK(told == "athere is no thread to read it, or no memory;");
    ask("b");
    files[1].set_value({});
    run_until_used(2);
    CHECK(told.ends_with(";b;"));
}

TEST_CASE_FIXTURE(bench, "configuration_reader: nothing waits for one that hangs") {
    ask("a");
    ask("b");
    ops.run_for(10ms);
    reads.reset(); // it would hang here
    CHECK(told.empty());
    files[0].set_value({}); // and tells nobody any more
    ops.restart();
    ops.run_for(10ms);
    CHECK(told.empty());
}
