// The channels of a client, on their way from its server to the listening connection and back.
#include "protocol/client_channels.hpp"

#include <doctest/doctest.h>

#include <string>
#include <vector>

using namespace pgweir::protocol;
using stage = client_channels::stage;
using names = std::vector<std::string>;

namespace {

constexpr std::string_view fence = "pgweir_fence";

// LISTEN was carried out by the server, which listens to `there` now; all goes well.
void move_all(client_channels& channels, const channel_set& there) {
    channels.asked();
    (void)channels.told(there);
    REQUIRE(channels.joined(channels.serial()));
    channels.fence_sent(fence);
    channels.left_server();
    channels.arrived(channels.serial());
    channels.server_unlistens();
}

unlisten of(std::string channel) { return {std::move(channel)}; }

} // namespace

TEST_CASE("client_channels: a move, step by step") {
    client_channels channels;
    CHECK(channels.empty());
    channels.asked();
    const auto changes = channels.told({"a", "b"});
    CHECK(changes.fresh == names{"a", "b"});
    CHECK(changes.gone.empty());
    CHECK(channels.now() == stage::joining);
    CHECK(channels.server_listens());
    CHECK_FALSE(channels.serves("a")); // the server's are the client's
    CHECK_FALSE(channels.delivers("a"));

    CHECK_FALSE(channels.joined(channels.serial() - 1)); // of an earlier one
    CHECK(channels.joined(channels.serial()));
    CHECK_FALSE(channels.joined(channels.serial()));
    CHECK(channels.now() == stage::joined);
    channels.fence_sent(fence);
    CHECK_FALSE(channels.serves("a"));

    SUBCASE("the server tells of the fence first") {
        channels.left_server();
        CHECK(channels.now() == stage::settled);
        CHECK(channels.serves("a"));         // what the server tells comes otherwise
        CHECK_FALSE(channels.delivers("a")); // … what stands in front of the fence there
        channels.arrived(channels.serial() - 1);
        CHECK_FALSE(channels.delivers("a"));
        channels.arrived(channels.serial());
    }
    SUBCASE("the listening connection does") {
        CHECK_FALSE(channels.delivers("a"));
        channels.arrived(channels.serial());
        CHECK(channels.delivers("a")); // what stands behind the fence there
        CHECK_FALSE(channels.serves("a"));
        channels.left_server();
    }
    SUBCASE("it is lost meanwhile") {
        channels.all_arrived();
        channels.left_server();
    }
    CHECK(channels.serves("a"));
    CHECK(channels.delivers("a"));
    CHECK(channels.delivers("b"));
    CHECK_FALSE(channels.delivers("c"));
    CHECK(channels.missing());
    CHECK(channels.server_listens());
    channels.server_unlistens();
    CHECK_FALSE(channels.server_listens());
    CHECK(channels.all_gone() == names{"a", "b"});
    CHECK(channels.empty());
}

TEST_CASE("client_channels: the fence of ours is no channel of the client's") {
    client_channels channels;
    channels.asked();
    (void)channels.told({"a"});
    (void)channels.joined(channels.serial());
    channels.fence_sent(fence);
    channels.left_server();
    channels.asked(); // before UNLISTEN *
    const auto changes = channels.told({"a", "b", std::string(fence)});
    CHECK(changes.fresh == names{"b"});
    CHECK(changes.gone.empty());
}

TEST_CASE("client_channels: what a client does while it waits for a move") {
    client_channels channels;
    channels.asked();
    (void)channels.told({"a", "b"});
    const auto first = channels.serial();
    channels.asked(); // UNLISTEN a; LISTEN c
    const auto changes = channels.told({"b", "c"});
    CHECK(changes.fresh == names{"b", "c"});
    CHECK(changes.gone == names{"a"});
    CHECK_FALSE(channels.joined(first));
    CHECK(channels.joined(channels.serial()));
    SUBCASE("it stays") {
        CHECK(channels.stay() == names{"b", "c"});
        CHECK(channels.now() == stage::settled);
        CHECK(channels.server_listens());
    }
    SUBCASE("it says DISCARD ALL") {
        CHECK(channels.all_gone() == names{"b", "c"});
        CHECK_FALSE(channels.server_listens());
        CHECK(channels.now() == stage::settled);
    }
}

TEST_CASE("client_channels: UNLISTEN outside a transaction block") {
    client_channels channels;
    move_all(channels, {"a", "b", "c"});
    channels.sent({of("a"), of("nothing")});
    SUBCASE("succeeds") {
        channels.transaction_ended();
        channels.asked();
        CHECK(channels.told({}).gone == names{"a"});
        CHECK(channels.delivers("b"));
    }
    SUBCASE("fails") {
        channels.failed();
        channels.transaction_ended();
        channels.asked();
        CHECK(channels.told({}).gone.empty());
    }
    SUBCASE("of all") {
        channels.sent({{}});
        channels.transaction_ended();
        channels.asked();
        CHECK(channels.told({}).gone == names{"a", "b", "c"});
        CHECK(channels.empty());
    }
    SUBCASE("then LISTEN") {
        channels.transaction_ended();
        channels.asked();
        const auto changes = channels.told({"a"});
        CHECK(changes.gone.empty());
        CHECK(changes.fresh.empty());
        CHECK(channels.delivers("a"));
    }
    SUBCASE("what is said behind the question is not in its answer") {
        channels.transaction_ended();
        channels.asked();
        channels.sent({of("b")});
        channels.transaction_ended();
        CHECK(channels.told({}).gone == names{"a"});
        channels.asked();
        CHECK(channels.told({}).gone == names{"b"});
    }
}

TEST_CASE("client_channels: UNLISTEN in a transaction block is undone with its trace") {
    client_channels channels;
    move_all(channels, {"a", "b"});
    CHECK_FALSE(channels.trace()); // nothing was said
    channels.sent({of("a")});
    const auto first = channels.trace();
    REQUIRE(first);
    CHECK_FALSE(channels.trace());
    channels.sent({of("b")});
    const auto second = channels.trace();
    REQUIRE(second);
    CHECK(*first != *second);
    channels.transaction_ended();
    channels.asked();
    SUBCASE("none") { CHECK(channels.told({*first, *second}).gone == names{"a", "b"}); }
    SUBCASE("one, by ROLLBACK TO") { CHECK(channels.told({*first}).gone == names{"a"}); }
    SUBCASE("all, by ROLLBACK") {
        CHECK(channels.told({}).gone.empty());
        CHECK_FALSE(channels.server_listens());
    }
    CHECK(channels.now() == stage::settled);
}

TEST_CASE("client_channels: an error undoes what was said since the last answer") {
    client_channels channels;
    move_all(channels, {"a", "b"});
    channels.sent({of("a")});
    const auto trace = channels.trace();
    channels.sent({of("b")});
    channels.failed(); // then ROLLBACK TO, COMMIT
    CHECK_FALSE(channels.trace());
    channels.asked();
    CHECK(channels.told({*trace}).gone == names{"a"});
    CHECK(channels.delivers("b"));
}

TEST_CASE("client_channels: a server that listens to all says all") {
    client_channels channels;
    move_all(channels, {"a", "b"});
    CHECK(channels.missing());
    channels.carried_by_server();
    CHECK_FALSE(channels.missing());
    channels.sent({of("b")}); // in a text that undoes it again
    CHECK_FALSE(channels.trace());
    channels.transaction_ended();
    channels.asked();
    SUBCASE("all are there") { CHECK(channels.told({"a", "b"}).gone.empty()); }
    SUBCASE("one has gone, one has come") {
        const auto changes = channels.told({"b", "c"});
        CHECK(changes.gone == names{"a"});
        CHECK(changes.fresh == names{"c"});
    }
    CHECK(channels.server_listens());
}

TEST_CASE("client_channels: a channel may be left before its fence has come") {
    client_channels channels;
    channels.asked();
    (void)channels.told({"a"});
    (void)channels.joined(channels.serial());
    channels.fence_sent(fence);
    channels.left_server();
    channels.server_unlistens();
    channels.sent({of("a")});
    channels.transaction_ended();
    channels.asked();
    CHECK(channels.told({}).gone == names{"a"});
    channels.arrived(channels.serial());
    CHECK_FALSE(channels.delivers("a"));
    CHECK(channels.empty());
}
