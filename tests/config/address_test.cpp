// Addresses as bytes, networks and masks.
#include "config/address.hpp"

#include <doctest/doctest.h>

#include <string>
#include <utility>
#include <vector>

using namespace pgweir::config;

namespace {

std::string hex(const ip_address& of) {
    constexpr std::string_view digits = "0123456789abcdef";
    std::string result;
    for (std::size_t i = 0; i < of.size_bytes; ++i) {
        result += digits[of.bytes[i] >> 4];
        result += digits[of.bytes[i] & 15];
    }
    return result;
}

std::string hex_of(std::string_view text) {
    const auto address = read_address(text);
    return address ? hex(*address) : "none";
}

} // namespace

TEST_CASE("addresses and their bytes") {
    const std::vector<std::pair<std::string, std::string>> table{
        {"127.0.0.1", "7f000001"},
        {"255.255.255.0", "ffffff00"},
        {"0.0.0.0", "00000000"},
        {"::", "00000000000000000000000000000000"},
        {"::1", "00000000000000000000000000000001"},
        {"fe80::", "fe800000000000000000000000000000"},
        {"2001:db8::7", "20010db8000000000000000000000007"},
        {"2001:DB8:1:2:3:4:5:6", "20010db8000100020003000400050006"},
        {"1:2:3:4:5:6:1.2.3.4", "00010002000300040005000601020304"},
        {"::ffff:10.1.2.3", "00000000000000000000ffff0a010203"},
        {"1::2.3.4.5", "00010000000000000000000002030405"},
        {"1:2:3::8", "00010002000300000000000000000008"},
        {"127.1", "none"},
        {"fe80::1%eth0", "none"},
        {"1::2::3", "none"},
        {"localhost", "none"},
        {"", "none"},
    };
    for (const auto& each : table) {
        CAPTURE(each.first);
        CHECK(hex_of(each.first) == each.second);
    }
}

TEST_CASE("an address in one of several networks") {
    const std::vector<std::string> networks{"10.0.0.0/24", "2001:db8::/32"};
    for (const auto* const inside : {"10.0.0.7", "::ffff:10.0.0.7", "2001:db8::1"}) {
        CAPTURE(inside);
        CHECK(is_within(*read_address(inside), networks));
        CHECK_FALSE(is_within(*read_address(inside), {}));
    }
    for (const auto* const outside : {"10.0.1.7", "2001:db9::1"}) {
        CAPTURE(outside);
        CHECK_FALSE(is_within(*read_address(outside), networks));
    }
}

TEST_CASE("IPv4 in IPv6's clothes") {
    CHECK(hex(without_mapping(*read_address("::ffff:10.1.2.3"))) == "0a010203");
    for (const auto* same : {"::10.1.2.3", "::fffe:10.1.2.3", "::1", "10.1.2.3"}) {
        CAPTURE(same);
        CHECK(without_mapping(*read_address(same)) == *read_address(same));
    }
}

TEST_CASE("the one spelling of an address") {
    const std::vector<std::pair<std::string, std::string>> table{
        {"127.0.0.1", "127.0.0.1"},
        {"0.0.0.0", "0.0.0.0"},
        {"0:0:0:0:0:0:0:1", "::1"},
        {"0000:0000::0001", "::1"},
        {"0:0:0:0:0:0:0:0", "::"},
        {"2001:DB8::7", "2001:db8::7"},
        {"2001:0db8:0:0:1:0:0:7", "2001:db8::1:0:0:7"}, // the first of two
        {"2001:0:0:1:0:0:0:7", "2001:0:0:1::7"},        // the longer
        {"1:2:3:4:5:6:7:0", "1:2:3:4:5:6:7:0"},         // a single zero is written
        {"1:2:3:4:5:6:0:0", "1:2:3:4:5:6::"},
        {"::1.2.3.4", "::102:304"},
        {"::ffff:192.0.2.1", "::ffff:c000:201"},
    };
    for (const auto& each : table) {
        CAPTURE(each.first);
        CHECK(to_text(*read_address(each.first)) == each.second);
        CHECK(read_address(each.second) == read_address(each.first));
    }
}

TEST_CASE("masks") {
    CHECK(hex(mask_of(0, 4)) == "00000000");
    CHECK(hex(mask_of(1, 4)) == "80000000");
    CHECK(hex(mask_of(12, 4)) == "fff00000");
    CHECK(hex(mask_of(32, 4)) == "ffffffff");
    CHECK(hex(mask_of(65, 16)) == "ffffffffffffffff8000000000000000");
    CHECK(hex(mask_of(128, 16)) == "ffffffffffffffffffffffffffffffff");
}

TEST_CASE("networks") {
    struct row {
        std::string address, mask, client;
        bool inside;
    };
    const std::vector<row> table{
        {"10.0.0.0", "255.0.0.0", "10.255.0.1", true},
        {"10.0.0.0", "255.0.0.0", "11.0.0.1", false},
        {"10.1.2.3", "255.0.0.0", "10.9.9.9", true}, // bits beyond the mask mean nothing
        {"10.0.0.1", "255.0.0.255", "10.7.7.1", true},
        {"10.0.0.1", "255.0.0.255", "10.7.7.2", false},
        {"0.0.0.0", "0.0.0.0", "192.168.0.1", true},
        {"0.0.0.0", "0.0.0.0", "::1", false},
        {"::", "::", "::1", true},
        {"::", "::", "127.0.0.1", false},
        {"2001:db8::", "ffff:ffff::", "2001:db8:ffff::1", true},
        {"2001:db8::", "ffff:ffff::", "2001:db9::1", false},
    };
    for (const auto& each : table) {
        CAPTURE(each.address);
        CAPTURE(each.client);
        const network range{.address = *read_address(each.address),
                            .mask = *read_address(each.mask)};
        CHECK(range.contains(*read_address(each.client)) == each.inside);
    }
}
