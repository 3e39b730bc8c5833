// This machine's own addresses. Names need a name server: integration.
#include "daemon/host_facts.hpp"

#include <doctest/doctest.h>

#include <algorithm>

using namespace pgweir;

TEST_CASE("the loopback interface is this machine's") {
    const auto own = daemon::own_networks();
    const auto loopback = std::find_if(own.begin(), own.end(), [](const config::network& each) {
        return each.address == *config::read_address("127.0.0.1");
    });
    REQUIRE(loopback != own.end());
    CHECK(loopback->contains(*config::read_address("127.0.0.1")));
    CHECK(!loopback->contains(*config::read_address("10.255.255.254")));
}

TEST_CASE("a user namespace knows all users, or some of them") {
    CHECK(daemon::knows_all_users("         0          0 4294967295\n"));
    CHECK(daemon::knows_all_users("0 0 65534\n65534 65534 4294901761\n"));
    for (const auto* const map :
         {"", "0 0 1\n", "0 0 1\n998 998 1\n", "0 100000 65536\n", "junk"}) {
        CAPTURE(map);
        CHECK(!daemon::knows_all_users(map));
    }
}
