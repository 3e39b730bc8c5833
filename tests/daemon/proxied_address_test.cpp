// A PROXY header's line is read in protocol/, which may not know config/: they are to agree on what
// an address is.
#include "config/address.hpp"
#include "protocol/proxy_header.hpp"

#include <doctest/doctest.h>

#include <string>

using namespace pgweir;

namespace {

std::optional<config::ip_address> proxied(const std::string& text) {
    const bool v6 = text.find(':') != text.npos;
    const auto line = (v6 ? "PROXY TCP6 " + text + " ::1" : "PROXY TCP4 " + text + " 10.0.0.1") +
                      " 4711 5432\r\n";
    const auto got = protocol::read_proxy_header(protocol::as_bytes(line));
    const auto* const header = std::get_if<protocol::proxy_header>(&got);
    if (header == nullptr || !header->source) {
        return std::nullopt;
    }
    CHECK(header->source->port == 4711);
    return config::ip_address{.bytes = header->source->address,
                              .size_bytes = header->source->address_bytes()};
}

} // namespace

TEST_CASE("an address in a PROXY header is what it is in the configuration") {
    for (const std::string good :
         {"127.0.0.1", "0.0.0.0", "255.255.255.255", "::", "::1", "1::", "0:0:0:0:0:0:0:1",
          "2001:DB8::7", "2001:0db8:0:0:1:0:0:7", "1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7::",
          "::2:3:4:5:6:7:8", "1::3:4:5:6:7:8", "::ffff:192.0.2.1", "::1.2.3.4", "1:2::3:1.2.3.4",
          "1:2:3:4:5:6:1.2.3.4", "ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255"}) {
        CAPTURE(good);
        REQUIRE(config::read_address(good));
        CHECK(proxied(good) == config::read_address(good));
    }
    for (const std::string bad : {"",
                                  "127.1",
                                  "1.2.3",
                                  "1.2.3.4.5",
                                  "1.2.3.256",
                                  "1.2.3.1000",
                                  "01.2.3.4",
                                  "1.2.3.00",
                                  "1.2.3.",
                                  ".1.2.3",
                                  "1..2.3",
                                  "1.2.3.-4",
                                  "+1.2.3.4",
                                  "1.2.3.0x4",
                                  "a.b.c.d",
                                  ":",
                                  ":::",
                                  "1:",
                                  ":1",
                                  "1:2",
                                  "1::2::3",
                                  "1:::2",
                                  "::1:",
                                  ":1::2",
                                  "1:2:3:4:5:6:7:8:9",
                                  "1:2:3:4:5:6:7:8::",
                                  "::1:2:3:4:5:6:7:8",
                                  "1::2:3:4:5:6:7:8",
                                  "12345::",
                                  "::g",
                                  "::-1",
                                  "::0x1",
                                  "1.2.3.4::",
                                  "::1.2.3.4:5",
                                  "::1.2.3",
                                  "::1.2.3.256",
                                  "1:2:3:4:5:6:7:1.2.3.4",
                                  "1:2:3:4:5:6:7:8:1.2.3.4",
                                  "1:2:3:4:5:6::1.2.3.4",
                                  "fe80::1%eth0"}) {
        CAPTURE(bad);
        CHECK(!config::read_address(bad));
        CHECK(!proxied(bad));
    }
}
