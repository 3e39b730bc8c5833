// Who listens to which channel.
#include "pool/channel_registry.hpp"

#include <doctest/doctest.h>

#include <string>
#include <vector>

using namespace pgweir::pool;

TEST_CASE("channel_registry: the first and the last are told apart") {
    channel_registry<int> who;
    CHECK(who.empty());
    CHECK(who.add("news", 1));
    CHECK_FALSE(who.add("news", 1)); // twice is once, though it is still alone
    CHECK_FALSE(who.add("news", 2));
    CHECK(who.add("more", 2));
    CHECK(who.channels() == std::vector<std::string>{"more", "news"});
    CHECK(who.listeners("news") == std::vector<int>{1, 2});
    CHECK(who.listeners("nothing").empty());

    CHECK_FALSE(who.remove("news", 3)); // never was there
    CHECK_FALSE(who.remove("nothing", 1));
    CHECK_FALSE(who.remove("news", 1));
    CHECK_FALSE(who.remove("news", 1)); // has gone already
    CHECK(who.listeners("news") == std::vector<int>{2});
    CHECK(who.remove("news", 2));
    CHECK(who.remove("more", 2));
    CHECK(who.empty());
    CHECK(who.add("news", 1));
}
