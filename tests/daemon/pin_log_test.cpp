// What SHOW PINS lists.
#include "daemon/engine/pin_log.hpp"

#include <doctest/doctest.h>

#include <string>

using namespace pgweir::daemon;
using namespace std::chrono_literals;
using pgweir::protocol::pin_reason;

namespace {

pin_log::key key_of(std::string statement, std::string application = "bot") {
    return {"fitness_club", "bot", std::move(application), pin_reason::listen,
            std::move(statement)};
}

} // namespace

TEST_CASE("pin_log: the same statement of the same application is one row") {
    pin_log log;
    const pgweir::pool::time_point start{1h};
    auto& first = log.begin(key_of("LISTEN a"), start);
    auto& again = log.begin(key_of("LISTEN a"), start + 2s);
    CHECK(&first == &again);
    (void)log.begin(key_of("LISTEN a", "worker"), start);
    --first.now;
    first.pinned += 3s;
    const auto rows = log.rows(start + 5s);
    REQUIRE(rows.size() == 2);
    CHECK(rows[0].application_name == "bot");
    CHECK(rows[0].reason == "listen");
    CHECK(rows[0].statement == "LISTEN a");
    CHECK(rows[0].times == 2);
    CHECK(rows[0].pinned_clients == 1);
    CHECK(rows[0].pinned == 3s);
    CHECK(rows[0].since == 3s);
    CHECK(rows[1].application_name == "worker");
}

TEST_CASE("pin_log: is bounded") {
    pin_log log;
    const pgweir::pool::time_point now{1h};
    auto& first = log.begin(key_of("LISTEN 0"), now);
    for (std::size_t i = 1; i < 2 * pin_log::max_rows; ++i) {
        (void)log.begin(key_of("LISTEN " + std::to_string(i)), now);
    }
    CHECK(&log.begin(key_of("LISTEN 0"), now) == &first); // what is known still has its own
    const auto rows = log.rows(now);
    CHECK(rows.size() == pin_log::max_rows + 1);
    std::uint64_t times = 0, others = 0;
    for (const auto& row : rows) {
        times += row.times;
        others += row.statement == "(others)" ? row.times : 0;
    }
    CHECK(times == 2 * pin_log::max_rows + 1);
    CHECK(others == pin_log::max_rows);
}
