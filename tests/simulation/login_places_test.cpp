// Where a connection counts that has not logged in: through a load balancer, nowhere but in all
// until the PROXY protocol's header has come, and then for the address that it names. Each place is
// given back once, whatever happens. One worker's engine in the simulator's world.
#include "tests/simulation/house.hpp"

#include <doctest/doctest.h>

#include <string>
#include <string_view>

using namespace pgweir::simulation;

namespace {

const std::string header = "PROXY TCP4 198.51.100.7 10.0.0.1 4711 6432\r\n";
const std::string unknown = "PROXY UNKNOWN\r\n";

/// Through a load balancer. Says what it is told to.
class stranger : socket_user {
public:
    stranger(house& in, std::string_view says)
        : end_(in.net.connect()) {
        end_[0]->set_user(this);
        in.state.workers[0]->accept(end_[1], pgweir::daemon::arrival{false, true, ""});
        say(says);
    }
    ~stranger() { end_[0]->set_user(nullptr); }
    stranger(const stranger&) = delete;
    stranger& operator=(const stranger&) = delete;

    void say(std::string_view what) { REQUIRE(end_[0]->send(what) == what.size()); }
    void leave() { end_[0]->close(); }
    [[nodiscard]] bool is_ended() const { return end_[0]->at_end(); }
    [[nodiscard]] bool is_let_in() const { return got_.starts_with('R'); }

private:
    void on_arrival() override {
        got_ += end_[0]->readable();
        end_[0]->take(end_[0]->readable().size());
    }
    void on_room() override {}

    std::array<network::end_ptr, 2> end_;
    std::string got_;
};

std::string startup() {
    std::string out;
    pgweir::protocol::message_writer packet(out);
    packet.begin_untyped().u32(3U << 16U);
    packet.c_string("user").c_string("app").c_string("database").c_string("shop").u8(0).end();
    return out;
}

std::size_t counted(const house& in, const std::string& place) {
    const auto at = in.state.logging_in.find(place);
    return at == in.state.logging_in.end() ? 0 : at->second;
}

} // namespace

TEST_CASE("through a load balancer, a login counts where the header says") {
    house in;
    stranger one(in, header.substr(0, 20));
    in.pass(milliseconds(100));
    CHECK(counted(in, "") == 1);
    one.say(header.substr(20));
    REQUIRE(in.until([&] { return counted(in, "198.51.100.7") == 1; }));
    CHECK(counted(in, "") == 0);
    SUBCASE("until it has logged in") {
        one.say(startup());
        REQUIRE(in.until([&] { return one.is_let_in(); }));
    }
    SUBCASE("until it has left") { one.leave(); }
    SUBCASE("until it has taken too long") { in.pass(seconds(20)); }
    REQUIRE(in.until([&] { return in.state.logging_in.empty(); }));
    CHECK(in.shared.violations.empty());
}

TEST_CASE("who sends no header counts in all, until it is ended or leaves") {
    house in;
    stranger silent(in, ""), wrong(in, ""), gone(in, "");
    in.pass(milliseconds(100));
    CHECK(counted(in, "") == 3);
    wrong.say("GET / HTTP/1.1\r\n");
    gone.leave();
    REQUIRE(in.until([&] { return counted(in, "") == 1; }));
    REQUIRE(in.until([&] { return silent.is_ended(); }));
    REQUIRE(in.until([&] { return in.state.logging_in.empty(); }));
    CHECK(in.shared.violations.empty());
}

TEST_CASE("too many from an address behind a load balancer: the next from there is closed") {
    house in;
    in.config->max_unauthenticated_per_address = 2;
    stranger first(in, header), second(in, header);
    REQUIRE(in.until([&] { return counted(in, "198.51.100.7") == 2; }));
    stranger third(in, header);
    REQUIRE(in.until([&] { return third.is_ended(); }));
    CHECK(counted(in, "") == 0);
    CHECK(counted(in, "198.51.100.7") == 2);
    // Nobody else is kept out, neither another of its clients nor the balancer itself.
    stranger other(in, "PROXY TCP4 198.51.100.8 10.0.0.1 4711 6432\r\n" + startup());
    stranger itself(in, unknown + startup());
    REQUIRE(in.until([&] { return other.is_let_in() && itself.is_let_in(); }));
    first.leave();
    REQUIRE(in.until([&] { return counted(in, "198.51.100.7") == 1; }));
    stranger again(in, header + startup());
    REQUIRE(in.until([&] { return again.is_let_in(); }));
    CHECK(in.shared.violations.empty());
}

TEST_CASE("a load balancer that speaks for itself counts for its own address") {
    house in;
    in.config->max_unauthenticated_per_address = 1;
    stranger first(in, unknown);
    in.pass(milliseconds(100));
    CHECK(counted(in, "") == 0);
    CHECK(in.state.logging_in.size() == 1);
    stranger second(in, unknown);
    REQUIRE(in.until([&] { return second.is_ended(); }));
    CHECK_FALSE(first.is_ended());
    CHECK(in.shared.violations.empty());
}
