// "did you mean": distances, and when not to guess.
#include "config/nearest.hpp"
#include "tests/config/support.hpp"

using namespace pgweir::config;

TEST_CASE("edit distance") {
    struct row {
        std::string_view from, to;
        std::size_t distance;
    };
    const std::vector<row> table{{"", "", 0},
                                 {"", "abc", 3},
                                 {"abc", "", 3},
                                 {"abc", "abc", 0},
                                 {"maxcon", "maxconn", 1},
                                 {"maxxconn", "maxconn", 1},
                                 {"maxkonn", "maxconn", 1},
                                 {"mxaconn", "maxconn", 1},
                                 {"kitten", "sitting", 3},
                                 {"ca", "abc", 3}};
    for (const auto& each : table) {
        const auto& from = each.from;
        const auto& to = each.to;
        const auto distance = each.distance;
        CAPTURE(from);
        CAPTURE(to);
        CHECK(edit_distance(from, to) == distance);
        CHECK(edit_distance(to, from) == distance);
    }
}

TEST_CASE("the nearest word, if any is near") {
    const std::vector<std::string_view> known{"minconn", "maxconn", "mode", "wait_timeout",
                                              "idle_timeout"};
    const std::vector<std::pair<std::string, std::optional<std::string_view>>> table{
        {"maxcon", "maxconn"},
        {"mincon", "minconn"},
        {"max_conn", "maxconn"},
        {"moed", "mode"},
        {"m0de", "mode"},
        {"waittimeout", "wait_timeout"},
        {"idle_time", "idle_timeout"},
        {"default_pool_size", {}},
        {"x", {}},
        {"", {}},
        {std::string(65, 'm'), {}},
        {std::string(100'000, 'm'), {}},
    };
    for (const auto& each : table) {
        const auto& word = each.first;
        const auto& meant = each.second;
        CAPTURE(word);
        CHECK((nearest(word, known) == meant));
    }
    CHECK(nearest("maxconn", {}) == std::nullopt);
}
