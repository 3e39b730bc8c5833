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
