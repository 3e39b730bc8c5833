// The headers of both versions, whole, cut and malformed, and what is none.
#include "protocol/proxy_header.hpp"

#include <doctest/doctest.h>

#include <sstream>
#include <string>
#include <string_view>

using namespace pgweir::protocol;

namespace {

/// "10.0.0.1 4711", "2001:db8:0:0:0:0:0:7 4711".
std::string spelled(const ip_endpoint& of) {
    std::ostringstream text;
    for (std::size_t i = 0; i < of.address_bytes(); ++i) {
        if (of.family == ip_endpoint::address_family::ipv4) {
            text << (i == 0 ? "" : ".") << int{of.address[i]};
        } else if (i % 2 == 0) {
            text << (i == 0 ? "" : ":") << std::hex << (of.address[i] << 8 | of.address[i + 1]);
        }
    }
    text << " " << std::dec << of.port;
    return text.str();
}

/// "10.0.0.1 4711 (9)", "itself (9)", "more", or why it is refused.
std::string read(std::string_view text) {
    const auto got = read_proxy_header(as_bytes(text));
    if (const auto* const header = std::get_if<proxy_header>(&got)) {
        const auto size = " (" + std::to_string(header->size_bytes) + ")";
        return header->source ? spelled(*header->source) + size : "itself" + size;
    }
    const auto* const refused = std::get_if<proxy_header_refused>(&got);
    return refused != nullptr ? refused->why : "more";
}

std::string binary(char command, char family, std::string_view body) {
    std::string out("\r\n\r\n\0\r\nQUIT\n", 12);
    out += {command, family, static_cast<char>(body.size() >> 8), static_cast<char>(body.size())};
    return out.append(body);
}

using namespace std::string_view_literals;
constexpr auto tcp_4 = "\x0a\0\0\1\x0a\0\0\2\x12\x67\x15\x38"sv;

} // namespace

TEST_CASE("proxy_header: a line") {
    CHECK(read("PROXY TCP4 10.0.0.1 10.0.0.2 4711 5432\r\n") == "10.0.0.1 4711 (40)");
    CHECK(read("PROXY TCP6 2001:DB8::7 ::1 65535 0\r\nmore") == "2001:db8:0:0:0:0:0:7 65535 (36)");
    CHECK(read("PROXY UNKNOWN\r\n") == "itself (15)");
    for (const auto* const bad :
         {"PROXY TCP4 10.0.0.1 10.0.0.2 4711\r\n", "PROXY TCP5 10.0.0.1 10.0.0.2 1 2\r\n",
          "PROXY  TCP4 10.0.0.1 10.0.0.2 1 2\r\n", "PROXY TCP4 10.0.0.1 10.0.0.2 1 2 \r\n",
          "PROXY \r\n", "PROXY UNKNOWNS\r\n"}) {
        CHECK(read(bad) == "the line is malformed");
    }
    for (const auto* const bad :
         {"PROXY TCP4 ::1 10.0.0.2 1 2\r\n", "PROXY TCP4 10.0.0.1 x 1 2\r\n",
          "PROXY TCP4 10.0.0.1 10.0.0.2 65536 2\r\n", "PROXY TCP4 10.0.0.1 10.0.0.2 1 -2\r\n",
          "PROXY TCP4 10.0.0.1 10.0.0.256 1 2\r\n", "PROXY TCP4 10.0.0.1 10.0.0.2 01 2\r\n",
          "PROXY TCP4 10.0.0.1 10.0.0.2  2\r\n"}) {
        CHECK(read(bad) == "an address is malformed");
    }
    CHECK(read("PROXY " + std::string(101, 'x')) == "the line is too long");
    CHECK(read("PROXY " + std::string(100, 'x')) == "more");
}

TEST_CASE("2026-48772: UNKNOWN says nothing of where a client is, whatever follows") {
    CHECK(read("PROXY UNKNOWN 127.0.0.1 127.0.0.1 1 2\r\n") == "itself (39)");
    CHECK(read(binary(0x20, 0x11, tcp_4)) == "itself (28)");                   // LOCAL
    CHECK(read(binary(0x21, 0x00, tcp_4)) == "itself (28)");                   // UNSPEC
    CHECK(read(binary(0x21, 0x31, std::string(216, '\1'))) == "itself (232)"); // a Unix socket
}

TEST_CASE("proxy_header: bytes") {
    CHECK(read(binary(0x21, 0x11, tcp_4)) == "10.0.0.1 4711 (28)");
    CHECK(read(binary(0x21, 0x11, std::string(tcp_4) + std::string("\3\0\4abcd", 7))) ==
          "10.0.0.1 4711 (35)");
    CHECK(read(binary(0x21, 0x21,
                      std::string(15, '\0') + '\1' + std::string(16, '\2') + "\x12\x67\x15\x38")) ==
          "0:0:0:0:0:0:0:1 4711 (52)");
    CHECK(read(binary(0x21, 0x11, tcp_4.substr(1))) == "an address is cut off");
    CHECK(read(binary(0x21, 0x21, tcp_4)) == "an address is cut off");
    CHECK(read(binary(0x11, 0x11, tcp_4)) == "the version or command is unknown");
    CHECK(read(binary(0x22, 0x11, tcp_4)) == "the version or command is unknown");
}

TEST_CASE("proxy_header: what follows the addresses is skipped, up to a bound") {
    const auto of_size = [](std::size_t size) {
        return binary(0x21, 0x11, std::string(tcp_4) + std::string(size - 28, 'x'));
    };
    CHECK(read(of_size(1'025) + "more") == "10.0.0.1 4711 (1025)");
    CHECK(read(of_size(most_proxy_header_bytes) + "more") == "10.0.0.1 4711 (4096)");
    CHECK(read(of_size(most_proxy_header_bytes).substr(0, most_proxy_header_bytes - 1)) == "more");
    const auto too_long = of_size(most_proxy_header_bytes + 1);
    CHECK(read(too_long) == "it is too long");
    CHECK(read(too_long.substr(0, 16)) == "it is too long"); // nothing more is waited for
    CHECK(read(binary(0x20, 0x00, std::string(4'081, 'x'))) == "it is too long");
}

TEST_CASE("proxy_header: split at every byte, and what is none") {
    for (const auto& whole : {std::string("PROXY TCP4 10.0.0.1 10.0.0.2 4711 5432\r\n"),
                              std::string("PROXY UNKNOWN\r\n"), binary(0x21, 0x11, tcp_4)}) {
        for (std::size_t size = 0; size < whole.size(); ++size) {
            CHECK(read(whole.substr(0, size)) == "more");
        }
        CHECK(read(whole).ends_with("(" + std::to_string(whole.size()) + ")"));
    }
    for (const auto none :
         {"\0\0\0\x08\x04\xd2\x16\x2f"sv, "PROXX"sv, "\r\n\r\r"sv, "\x16\x03\x01"sv}) {
        CHECK(read(none) == "there is none");
    }
}
