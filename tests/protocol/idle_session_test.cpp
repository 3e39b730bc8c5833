// idle_session_timeout as PostgreSQL reads it: the values are those that `SHOW` gives for them
// there.
#include "protocol/idle_session.hpp"

#include <doctest/doctest.h>

#include <optional>
#include <string>

using namespace pgweir::protocol;
using namespace std::chrono_literals;
using std::chrono::milliseconds;

TEST_CASE("idle_session_timeout is read as PostgreSQL reads it") {
    struct row {
        std::string value;
        std::optional<milliseconds> read; // what PostgreSQL 15 shows for it
    };
    for (const auto& [value, read] : {
             row{"0", 0ms},
             row{"200", 200ms},
             row{"200ms", 200ms},
             row{" 200 ms ", 200ms},
             row{"\t200\n", 200ms},
             row{"2s", 2s},
             row{"2min", 2min},
             row{"1h", 1h},
             row{"1d", 24h},
             row{"24d", 24 * 24h},
             row{"1500us", 2ms}, // to even
             row{"2500us", 2ms},
             row{"400us", 0ms},
             row{"0.2s", 200ms},
             row{"1.0005s", 1000ms}, // a multiple of the next smaller unit
             row{"0.0001h", 0ms},
             row{"0.1h", 6min},
             row{".5s", 500ms},
             row{"1e3", 1s},
             row{"1E2ms", 100ms},
             row{"0x10", 16ms},
             row{"010", 8ms},
             row{"+5", 5ms},
             row{"2147483647", milliseconds(2'147'483'647)},
             row{"2147483648", std::nullopt},
             row{"25d", std::nullopt},
             row{"99999999999999999999", std::nullopt},
             row{"1e400", std::nullopt},
             row{"-1", std::nullopt},
             row{"-0.4", 0ms},
             row{"", std::nullopt},
             row{"ms", std::nullopt},
             row{"nan", std::nullopt},
             row{"off", std::nullopt},
             row{"2S", std::nullopt},
             row{"2 s x", std::nullopt},
             row{"2sec", std::nullopt},
             row{"2kB", std::nullopt},
         }) {
        CAPTURE(value);
        CHECK(read_milliseconds(value) == read);
    }
}

TEST_CASE("what the session has set counts, else what the server has of its own") {
    CHECK(idle_limit_of({}, 0ms) == 0ms);
    CHECK(idle_limit_of({}, 7s) == 7s);
    CHECK(idle_limit_of({{"work_mem", "7MB"}}, 7s) == 7s);
    CHECK(idle_limit_of({{"idle_session_timeout", "2s"}}, 7s) == 2s);
    CHECK(idle_limit_of({{"idle_session_timeout", "0"}}, 7s) == 0ms);
    CHECK(idle_limit_of({{"idle_session_timeout", "nonsense"}}, 7s) == 0ms); // never came to be
}

TEST_CASE("a session without a limit is nearest to the server's own") {
    const setting_map path{{"search_path", "a"}};
    const setting_map limited{{"idle_session_timeout", "2s"}, {"search_path", "a"}};
    const setting_map unlimited{{"idle_session_timeout", "0"}, {"search_path", "a"}};
    CHECK(without_idle_limit(limited, 0ms) == path);
    CHECK(without_idle_limit(path, 0ms) == path);
    CHECK(without_idle_limit(limited, 7s) == unlimited);
    CHECK(without_idle_limit(path, 7s) == unlimited);
}
