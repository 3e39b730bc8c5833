// Tests of protocol/startup.hpp: the first packet, by whomever it was sent.
#include "protocol/startup.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

using namespace pgweir::protocol;
using namespace std::string_literals;

namespace {

using pairs = std::vector<std::pair<std::string, std::string>>;

std::string packet(std::uint32_t code, std::string_view body = {}) {
    std::string out;
    message_writer(out).begin_untyped().u32(code).raw(body).end();
    return out;
}

std::string startup(const pairs& parameters, std::uint32_t version = protocol_3_0) {
    std::string body;
    for (const auto& [name, value] : parameters) {
        body += name + '\0' + value + '\0';
    }
    return packet(version, body + '\0');
}

startup_packet read(const std::string& wire) {
    bytes in = as_bytes(wire);
    auto result = read_startup_packet(in);
    const bool taken = !std::holds_alternative<std::monostate>(result) &&
                       !std::holds_alternative<startup_refusal>(result);
    CHECK(in.size() == (taken ? 0 : wire.size()));
    return result;
}

startup_message accepted(const std::string& wire) {
    auto result = read(wire);
    REQUIRE(std::holds_alternative<startup_message>(result));
    return std::get<startup_message>(std::move(result));
}

startup_refusal refused(const std::string& wire) {
    auto result = read(wire);
    REQUIRE(std::holds_alternative<startup_refusal>(result));
    return std::get<startup_refusal>(std::move(result));
}

} // namespace

TEST_CASE("a startup message says who wants which database with which settings") {
    const auto found = accepted(startup({{"user", "ann"},
                                         {"database", "club"},
                                         {"application_name", "bot"},
                                         {"options", "-c geqo=off"},
                                         {"DateStyle", "ISO"}}));
    CHECK(found.user == "ann");
    CHECK(found.database == "club");
    CHECK(found.minor_version == 0);
    CHECK(found.replication == replication_kind::none);
    CHECK(found.settings ==
          pairs{{"application_name", "bot"}, {"options", "-c geqo=off"}, {"DateStyle", "ISO"}});
    CHECK(found.unknown_protocol_options.empty());
}

TEST_CASE("the database is the user's name where none is given") {
    CHECK(accepted(startup({{"user", "ann"}})).database == "ann");
    CHECK(accepted(startup({{"user", "ann"}, {"database", ""}})).database == "ann");
}

TEST_CASE("of a setting given twice the last counts, whatever its case") {
    const auto found = accepted(startup({{"user", "ann"},
                                         {"datestyle", "ISO"},
                                         {"TimeZone", "UTC"},
                                         {"DateStyle", "German"},
                                         {"user", "bob"}}));
    CHECK(found.user == "bob");
    CHECK(found.settings == pairs{{"datestyle", "German"}, {"TimeZone", "UTC"}});
}

TEST_CASE("a packet that is not whole yet is waited for, at every byte") {
    for (const auto& wire :
         {startup({{"user", "ann"}, {"database", "club"}}), packet(ssl_request_code),
          packet(gssenc_request_code), packet(cancel_request_code, "\0\0\0\1key!"s)}) {
        for (std::size_t length = 0; length < wire.size(); ++length) {
            CAPTURE(length);
            CHECK(std::holds_alternative<std::monostate>(read(wire.substr(0, length))));
        }
    }
}

TEST_CASE("what follows the packet is left alone") {
    const auto wire = startup({{"user", "ann"}}) + "next";
    bytes in = as_bytes(wire);
    CHECK(std::holds_alternative<startup_message>(read_startup_packet(in)));
    CHECK(as_text(in) == "next");
}

TEST_CASE("requests for encryption are their code and nothing else") {
    CHECK(std::holds_alternative<ssl_request>(read(packet(ssl_request_code))));
    CHECK(std::holds_alternative<gssenc_request>(read(packet(gssenc_request_code))));
    CHECK(refused(packet(ssl_request_code, "x")).code == error::invalid_startup_packet);
    CHECK(refused(packet(gssenc_request_code, "x")).code == error::invalid_startup_packet);
}

TEST_CASE("a cancel request names its target; its key is 4 to 256 bytes") {
    for (const std::size_t key_bytes : {4U, 5U, 32U, 256U}) {
        CAPTURE(key_bytes);
        const std::string key(key_bytes, 'k');
        const auto result = read(packet(cancel_request_code, "\0\0\1\2"s + key));
        REQUIRE(std::holds_alternative<cancel_request>(result));
        CHECK(std::get<cancel_request>(result).target.process_id == 258);
        CHECK(std::get<cancel_request>(result).target.key == key);
    }
    for (const std::size_t body_bytes : {0U, 1U, 4U, 7U, 261U, 9000U}) {
        CAPTURE(body_bytes);
        CHECK(refused(packet(cancel_request_code, std::string(body_bytes, 'x'))).silent);
    }
}

TEST_CASE("ProxySQL 2026-48773, pg_doorman 3.0.5: length fields that cannot be") {
    struct row {
        std::uint32_t length;
        bool silent;
    };
    for (const auto& each :
         {row{0, false}, row{1, false}, row{4, false}, row{7, false}, row{10'001, false},
          row{0x00ffffff, false}, row{0x01000000, true}, row{0x7fffffff, true},
          row{0x80000000, true}, row{0xfffffffc, true}, row{0xffffffff, true}}) {
        const auto& length = each.length;
        const auto& silent = each.silent;
        CAPTURE(length);
        std::string wire;
        message_writer(wire).u32(length);
        // Refused by the length alone: nothing more is waited for.
        const auto refusal = refused(wire);
        CHECK(refusal.code == error::invalid_startup_packet);
        CHECK(refusal.silent == silent);
    }
}

TEST_CASE("2015-4054: no other message, and no other protocol, is a first packet") {
    for (const auto& wire : {"GET / HTTP/1.1\r\n\r\n"s, "\x16\x03\x01\x02\x00\x01\x00\x01"s,
                             "SSH-2.0-x\r\n"s, "p\0\0\0\7pw\0"s, "Q\0\0\0\15SELECT 1\0"s,
                             "X\0\0\0\4"s, "B\0\0\0\4"s, "P\0\0\0\4"s, "S\0\0\0\4"s}) {
        CAPTURE(wire);
        CHECK(refused(wire).silent);
    }
}

TEST_CASE("2012-4575: overlong names are truncated as PostgreSQL does it, or refused by size") {
    for (const std::size_t length : {62U, 63U, 64U, 65U, 255U, 1024U, 4900U}) {
        CAPTURE(length);
        const std::string name(length, 'n');
        const auto found = accepted(startup({{"user", name}, {"database", name}}));
        CHECK(found.user == std::string(std::min<std::size_t>(length, 63), 'n'));
        CHECK(found.database == found.user);
    }
    const auto refusal = refused(startup({{"user", std::string(10'000, 'n')}}));
    CHECK(refusal.code == error::invalid_startup_packet);
    CHECK_FALSE(refusal.silent);
}

TEST_CASE("a packet may be 10,000 bytes, not one more") {
    const auto rest = startup({{"user", "ann"}, {"x", ""}}).size();
    const auto fits = startup({{"user", "ann"}, {"x", std::string(max_startup_bytes - rest, 'v')}});
    REQUIRE(fits.size() == max_startup_bytes);
    CHECK(accepted(fits).settings.size() == 1);
    CHECK(refused(startup({{"user", "ann"}, {"x", std::string(max_startup_bytes - rest + 1, 'v')}}))
              .code == error::invalid_startup_packet);
}

TEST_CASE("no user, no session") {
    CHECK(refused(startup({})).code == error::no_user_name);
    CHECK(refused(startup({{"database", "club"}})).code == error::no_user_name);
    CHECK(refused(startup({{"user", ""}})).code == error::no_user_name);
    CHECK(row_of(error::no_user_name).sqlstate == "28000");
}

TEST_CASE("the terminator must be the last byte") {
    for (const auto& body :
         {""s, "user"s, "user\0"s, "user\0ann"s, "user\0ann\0"s, "user\0ann\0x"s, "user\0ann\0x\0"s,
          "user\0ann\0\0x"s, "user\0ann\0\0\0"s, "\0user\0ann\0\0"s}) {
        CAPTURE(body);
        const auto refusal = refused(packet(protocol_3_0, body));
        CHECK(refusal.code == error::invalid_startup_packet);
        CHECK(refusal.words.message ==
              "invalid startup packet layout: expected terminator as last byte");
        CHECK_FALSE(refusal.silent);
    }
}

TEST_CASE("major versions other than 3 are refused in PostgreSQL's words") {
    struct row {
        std::uint32_t version;
        std::string_view said;
    };
    for (const auto& each :
         {row{0x00020000, "2.0"}, row{0x00040000, "4.0"}, row{0, "0.0"},
          row{0xffffffff, "65535.65535"}, row{(1234U << 16) | 5681U, "1234.5681"}}) {
        const auto& version = each.version;
        const auto& said = each.said;
        CAPTURE(said);
        const auto refusal = refused(startup({{"user", "ann"}}, version));
        CHECK(refusal.code == error::unsupported_protocol);
        CHECK(refusal.words.message == "unsupported frontend protocol " + std::string(said) +
                                           ": server supports 3.0 to 3.2");
    }
}

TEST_CASE("newer minor versions and protocol options are for negotiation, not refusal") {
    const auto found = accepted(
        startup({{"user", "ann"}, {"_pq_.compression", "zstd"}, {"_pq_.x", ""}}, 0x00030002));
    CHECK(found.minor_version == 2);
    CHECK(found.unknown_protocol_options == std::vector<std::string>{"_pq_.compression", "_pq_.x"});
    CHECK(found.settings.empty());

    std::string out;
    append_negotiate_protocol_version(out, 0, found.unknown_protocol_options);
    CHECK(out == "v\0\0\0\44\0\3\0\0\0\0\0\2_pq_.compression\0_pq_.x\0"s);
}

TEST_CASE("replication is told apart with PostgreSQL's idea of a boolean") {
    for (const char* value : {"true", "TRUE", "t", "on", "1", "yes", "y"}) {
        CAPTURE(value);
        CHECK(accepted(startup({{"user", "ann"}, {"replication", value}})).replication ==
              replication_kind::physical);
    }
    CHECK(accepted(startup({{"user", "ann"}, {"replication", "database"}})).replication ==
          replication_kind::logical);
    for (const char* value : {"false", "f", "off", "of", "0", "no", "N"}) {
        CAPTURE(value);
        CHECK(accepted(startup({{"user", "ann"}, {"replication", value}})).replication ==
              replication_kind::none);
    }
    for (const char* value : {"", "o", "maybe", "2", "truee", "Database"}) {
        CAPTURE(value);
        const auto refusal = refused(startup({{"user", "ann"}, {"replication", value}}));
        CHECK(row_of(refusal.code).sqlstate == "22023");
        CHECK(refusal.words.message ==
              "invalid value for parameter \"replication\": \"" + std::string(value) + "\"");
    }
}

TEST_CASE("2026-107349: hostile options are kept as they were sent") {
    for (const char* value : {"-c=", "-c", "--", "-c a", "\\", "-c\\", "--=", "   "}) {
        CAPTURE(value);
        CHECK(accepted(startup({{"user", "ann"}, {"options", value}})).settings ==
              pairs{{"options", value}});
    }
}

TEST_CASE("thousands of different settings cost no more than their bytes") {
    pairs many{{"user", "ann"}};
    for (char a = 'a'; a <= 'z'; ++a) {
        for (char b = '0'; b <= 'z'; ++b) {
            many.push_back({{a, b}, ""});
        }
    }
    const auto found = accepted(startup(many));
    CHECK(found.settings.size() > 1000);
}
