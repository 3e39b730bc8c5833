// What is known already is answered after as long as a look-up takes.
#include "daemon/held_answers.hpp"
#include "daemon/look_up_times.hpp"

#include <doctest/doctest.h>

#include <atomic>
#include <future>
#include <set>
#include <vector>

using namespace pgweir::daemon;
using namespace std::chrono_literals;

TEST_CASE("look_up_times: one of the last, and not for long") {
    look_up_times times;
    CHECK(times.empty());
    CHECK(times.draw(7) == look_up_times::unknown);
    times.learn(600us);
    CHECK_FALSE(times.empty());
    for (std::uint32_t dice = 0; dice < 40; ++dice) {
        CHECK(times.draw(dice) == 600us); // not of those that have not been
    }
    SUBCASE("all of the last, and none from before them, as often as each other") {
        for (int count = 1; count <= 20; ++count) {
            CHECK(times.are_few() == (count < 16)); // with the one from before
            times.learn(std::chrono::microseconds(count));
        }
        std::multiset<look_up_times::duration> drawn;
        for (std::uint32_t dice = 0; dice < 3 * look_up_times::remembered; ++dice) {
            drawn.insert(times.draw(dice));
        }
        for (int count = 5; count <= 20; ++count) {
            CHECK(drawn.count(std::chrono::microseconds(count)) == 3);
        }
    }
    SUBCASE("bounds") {
        times = {};
        times.learn(5s);
        CHECK(times.draw(0) == look_up_times::longest);
        times = {};
        times.learn(-1us);
        CHECK(times.draw(0) == 0us);
    }
}

TEST_CASE("held_answers: each at its time, none after the end") {
    std::vector<int> told;
    std::promise<void> all;
    std::atomic<bool> late = false;
    {
        held_answers held;
        const auto begun = held_answers::clock::now();
        // The later one first: the thread sleeps until then, and is woken for the other.
        held.put(begun + 40ms, [&] {
            told.push_back(2);
            all.set_value();
        });
        held.put(begun + 20ms, [&] { told.push_back(1); });
        held.put(begun + 1h, [&] { late = true; });
        REQUIRE(all.get_future().wait_for(30s) == std::future_status::ready);
        CHECK(held_answers::clock::now() >= begun + 40ms);
        held.stop();
        held.put(begun, [&] { late = true; });
    }
    CHECK(told == std::vector{1, 2});
    CHECK_FALSE(late);
}
