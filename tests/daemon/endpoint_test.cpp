// The names of sockets' addresses.
#include "daemon/endpoint.hpp"

#include <doctest/doctest.h>

#include <arpa/inet.h>
#include <cstring>
#include <netinet/in.h>

using namespace pgweir;

namespace {

std::string named(const char* text) {
    sockaddr_storage address{};
    sockaddr_in in{};
    sockaddr_in6 in6{};
    if (::inet_pton(AF_INET, text, &in.sin_addr) == 1) {
        in.sin_family = AF_INET;
        in.sin_port = htons(4711);
        std::memcpy(&address, &in, sizeof in);
    } else {
        REQUIRE(::inet_pton(AF_INET6, text, &in6.sin6_addr) == 1);
        in6.sin6_family = AF_INET6;
        in6.sin6_port = htons(4711);
        std::memcpy(&address, &in6, sizeof in6);
    }
    const auto [name, port] = daemon::name_of(address);
    CHECK(port == 4711);
    CHECK(config::to_text(*daemon::ip_of(address)) == name);
    return name;
}

} // namespace

TEST_CASE("a client has one name, by whatever socket it comes") {
    CHECK(named("192.0.2.7") == "192.0.2.7");
    CHECK(named("::ffff:192.0.2.7") == "192.0.2.7"); // of a socket that listens to both families
    CHECK(named("::1") == "::1");
    CHECK(named("2001:DB8:0:0:0::7") == "2001:db8::7");
    sockaddr_storage local{};
    local.ss_family = AF_UNIX;
    CHECK(!daemon::ip_of(local));
    CHECK(daemon::name_of(local) == std::pair(std::string(daemon::local_peer), std::uint16_t{0}));
}
