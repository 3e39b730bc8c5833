// So many places for those who have not logged in.
#include "daemon/login_places.hpp"

#include <doctest/doctest.h>

TEST_CASE("login_places: behind a load balancer, an address is learned later") {
    pgweir::daemon::login_places places;
    for (int i = 0; i < 4; ++i) {
        CHECK(places.enter("", 5, 2)); // the bound of an address is not theirs
    }
    CHECK(places.learn("a", 2));
    CHECK(places.learn("a", 2));
    CHECK_FALSE(places.learn("a", 2));
    CHECK(places.learn("b", 2));
    CHECK(places.in_all() == 4);
    CHECK_FALSE(places.enter("a", 5, 2));
    CHECK(places.enter("", 5, 2));
    CHECK_FALSE(places.enter("", 5, 2)); // but the bound of all is
    places.leave("");                    // the one that was refused, still without an address
    CHECK(places.in_all() == 4);
    CHECK_FALSE(places.enter("a", 5, 2));
    places.leave("a");
    CHECK(places.enter("a", 5, 2));
    for (const auto* const each : {"a", "a", "b", ""}) {
        places.leave(each);
    }
    CHECK(places.in_all() == 0);
}

TEST_CASE("login_places: who is refused is told of once a minute") {
    pgweir::daemon::login_places places;
    const std::chrono::steady_clock::time_point now{std::chrono::hours(1)};
    CHECK(places.is_news(now));
    CHECK_FALSE(places.is_news(now + std::chrono::seconds(59)));
    CHECK(places.is_news(now + std::chrono::seconds(60)));
}

TEST_CASE("login_places: so many from one address, and so many in all") {
    pgweir::daemon::login_places places;
    CHECK(places.enter("a", 3, 2));
    CHECK(places.enter("a", 3, 2));
    CHECK_FALSE(places.enter("a", 3, 2));
    CHECK(places.enter("b", 3, 2));
    CHECK_FALSE(places.enter("c", 3, 2));
    CHECK(places.in_all() == 3);
    places.leave("a");
    CHECK(places.enter("c", 3, 2));
    places.leave("nobody");
    CHECK(places.in_all() == 3);
}
