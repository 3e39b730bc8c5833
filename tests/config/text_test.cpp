// Reading and writing values; the checks on whole files.
#include "config/text.hpp"
#include "tests/config/support.hpp"

#include <chrono>
#include <limits>

using namespace pgweir::config;
using namespace std::chrono_literals;

TEST_CASE("durations") {
    const std::vector<std::pair<std::string_view, std::optional<duration>>> table{
        {"0", 0s},
        {"0s", 0s},
        {"00", 0s},
        {"1ms", 1ms},
        {"500ms", 500ms},
        {"5s", 5s},
        {"10m", 10min},
        {"1h", 1h},
        {"2d", 48h},
        {"007s", 7s},
        {"106751d", 106'751 * 24h},
        {"106752d", duration::max()},
        {"99999999999999999999s", duration::max()},
        {"", {}},
        {"5", {}},
        {"s", {}},
        {"5 s", {}},
        {" 5s", {}},
        {"5s ", {}},
        {"5S", {}},
        {"5sec", {}},
        {"-5s", {}},
        {"+5s", {}},
        {"1.5s", {}},
        {"1h30m", {}},
        {"5us", {}},
        {"infinite", {}},
    };
    for (const auto& each : table) {
        const auto& text = each.first;
        const auto& meant = each.second;
        CAPTURE(text);
        CHECK((read_duration(text) == meant));
    }
    const std::vector<std::pair<duration, std::string>> written{
        {0s, "0"},      {1ms, "1ms"}, {1500ms, "1500ms"}, {60s, "1m"},     {90s, "90s"},
        {120min, "2h"}, {48h, "2d"},  {25h, "25h"},       {1us, "1000ns"},
    };
    for (const auto& each : written) {
        const auto& value = each.first;
        const auto& text = each.second;
        CAPTURE(text);
        CHECK(write_duration(value) == text);
    }
}

TEST_CASE("whole numbers") {
    constexpr auto most = std::numeric_limits<std::int64_t>::max();
    const std::vector<std::pair<std::string_view, std::optional<std::int64_t>>> table{
        {"0", 0},
        {"42", 42},
        {"+42", 42},
        {"-42", -42},
        {"007", 7},
        {"9223372036854775807", most},
        {"9223372036854775808", most},
        {"-9223372036854775809", -most},
        {"", {}},
        {"-", {}},
        {"+", {}},
        {"4 2", {}},
        {"0x10", {}},
        {"1e3", {}},
        {"1.0", {}},
        {"--1", {}},
        {"1_000", {}}};
    for (const auto& each : table) {
        const auto& text = each.first;
        const auto& meant = each.second;
        CAPTURE(text);
        CHECK(read_number(text) == meant);
    }
}

TEST_CASE("flags") {
    for (const auto* text : {"true", "yes", "on", "True", "YES", "oN"}) {
        CHECK(read_flag(text) == true);
    }
    for (const auto* text : {"false", "no", "off", "False", "NO"}) {
        CHECK(read_flag(text) == false);
    }
    for (const auto* text : {"", "1", "0", "y", "n", "maybe", "true "}) {
        CHECK(read_flag(text) == std::nullopt);
    }
}

TEST_CASE("addresses") {
    for (const auto* text : {"0.0.0.0", "127.0.0.1", "255.255.255.255", "::", "::1", "1::",
                             "2001:db8::7", "1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7::", "::2:3:4:5:6:7:8",
                             "::ffff:1.2.3.4", "1:2:3:4:5:6:1.2.3.4", "FE80::ABCD"}) {
        CAPTURE(text);
        CHECK(is_address(text));
    }
    for (const auto* text : {"",
                             "localhost",
                             "127.0.0",
                             "127.0.0.1.",
                             "127.0.0.256",
                             "127.0.0.01",
                             "1.2.3.4.5",
                             "a.b.c.d",
                             "1..2.3",
                             ":",
                             ":::",
                             "1:2:3:4:5:6:7",
                             "1:2:3:4:5:6:7:8:9",
                             "1:2:3:4:5:6:7:8::",
                             "1::2::3",
                             "12345::",
                             "g::",
                             "1:2:3:4:5:6:7:",
                             ":1:2:3:4:5:6:7",
                             "::1.2.3",
                             "1.2.3.4::",
                             "fe80::1%eth0",
                             "[::1]",
                             "127.0.0.1:80",
                             " ::1",
                             "*"}) {
        CAPTURE(text);
        CHECK(!is_address(text));
    }
    CHECK(!is_address(std::string(100'000, ':')));
    CHECK(is_loopback("127.0.0.1"));
    CHECK(is_loopback("127.1.2.3"));
    CHECK(is_loopback("::1"));
    for (const auto* text : {"0.0.0.0", "::", "10.0.0.1", "127.evil.example", "localhost", ""}) {
        CHECK(!is_loopback(text));
    }
}

TEST_CASE("hosts") {
    for (const auto* text : {"db", "db.example.org", "db-1_a", "10.0.0.1", "::1", "xn--bcher-kva",
                             "/var/run/postgresql", "/with space"}) {
        CAPTURE(text);
        CHECK(is_host(text));
    }
    for (const auto* text : {"", "-db", ".db", "a b", "a,b", "db:5432", "user@db", "postgres://db",
                             "relative/path", "/a\nb", "bücher"}) {
        CAPTURE(text);
        CHECK(!is_host(text));
    }
    CHECK(is_host("/" + std::string(91, 'a')));
    CHECK(!is_host("/" + std::string(92, 'a')));
    CHECK(is_host(std::string(253, 'a')));
    CHECK(!is_host(std::string(254, 'a')));
}

TEST_CASE("places count characters") {
    constexpr std::string_view text = "ab\nc\xc3\xa4\xe2\x82\xac x\n\n";
    CHECK(position_of(text, 0) == position{.line = 1, .column = 1});
    CHECK(position_of(text, 2) == position{.line = 1, .column = 3});
    CHECK(position_of(text, 3) == position{.line = 2, .column = 1});
    CHECK(position_of(text, 10) == position{.line = 2, .column = 5});
    CHECK(position_of(text, text.size()) == position{.line = 4, .column = 1});
    CHECK(position_of("", 0) == position{});
}

TEST_CASE("forms of secrets") {
    const std::string key(43, 'A');
    const std::string good = "SCRAM-SHA-256$4096:c2FsdA==$" + key + "=:" + key + "=";
    CHECK(form_of(good) == secret_form::scram);
    CHECK(form_of("md5" + std::string(32, 'a')) == secret_form::md5);
    for (const std::string& text :
         {std::string("hunter2"), std::string("md5"), "md5" + std::string(31, 'a'),
          "md5" + std::string(32, 'g'), std::string("SCRAM-SHA-1$"), std::string()}) {
        CAPTURE(text);
        CHECK(form_of(text) == secret_form::plaintext);
    }
    for (const std::string& text :
         {std::string("SCRAM-SHA-256$"), good + "x", good.substr(0, good.size() - 1),
          "SCRAM-SHA-256$0:c2FsdA==$" + key + "=:" + key + "=",
          "SCRAM-SHA-256$-1:c2FsdA==$" + key + "=:" + key + "=",
          "SCRAM-SHA-256$:c2FsdA==$" + key + "=:" + key + "=",
          "SCRAM-SHA-256$2147483648:c2FsdA==$" + key + "=:" + key + "=",
          "SCRAM-SHA-256$4096:$" + key + "=:" + key + "=",
          "SCRAM-SHA-256$4096:c2FsdA=$" + key + "=:" + key + "=",
          "SCRAM-SHA-256$4096:c2F*dA==$" + key + "=:" + key + "=",
          "SCRAM-SHA-256$4096$c2FsdA==:" + key + "=:" + key + "="}) {
        CAPTURE(text);
        CHECK(form_of(text) == secret_form::broken_scram);
    }
}

TEST_CASE("what may be repeated in a message") {
    CHECK(not_this("many") == ", not 'many'");
    CHECK(not_this("1.5s") == ", not '1.5s'");
    for (const std::string& text : {std::string(), std::string(33, 'a'), std::string("a@b"),
                                    std::string("a=b"), std::string("a:b"), std::string("a\nb")}) {
        CAPTURE(text);
        CHECK(not_this(text).empty());
    }
}
