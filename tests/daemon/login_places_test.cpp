// So many places for those who have not logged in.
#include "daemon/login_places.hpp"

#include <doctest/doctest.h>

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
