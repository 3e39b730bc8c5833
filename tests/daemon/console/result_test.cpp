// Answers as bytes: encodings, NULLs, bounds of types, hostile texts.
#include "daemon/console_result.hpp"
#include "tests/daemon/console/answer.hpp"

#include <doctest/doctest.h>

#include <limits>

using namespace pgweir::daemon;

namespace {

struct sample {
    std::string text;
    optional_text perhaps;
    std::int64_t small = 0;
    std::uint64_t large = 0;
};

constexpr column<sample> sample_columns[] = {
    {"text", [](const sample& s) { return s.text; }},
    {"view", [](const sample& s) { return std::string_view(s.text); }},
    {"perhaps", [](const sample& s) { return s.perhaps; }},
    {"int4", [](const sample& s) { return int4{s.small}; }},
    {"int8", [](const sample& s) { return int8{s.large}; }},
    {"numeric", [](const sample& s) { return numeric{s.large}; }},
    {"decimal",
     [](const sample& s) {
         return numeric{s.large, 3};
     }},
    {"bytea", [](const sample& s) { return bytea{s.text}; }},
};

answer shown(std::vector<sample> rows) {
    return answer::read(console_answer::table(sample_columns, rows));
}

} // namespace

TEST_CASE("the type of a column follows from what its function returns") {
    const auto got = shown({});
    CHECK(got.kinds == "TCZ");
    const std::vector<answer::described> expected = {
        {"text", 25}, {"view", 25},      {"perhaps", 25},   {"int4", 23},
        {"int8", 20}, {"numeric", 1700}, {"decimal", 1700}, {"bytea", 17}};
    CHECK(got.columns == expected);
}

TEST_CASE("values in text format") {
    const auto most32 = std::numeric_limits<std::int32_t>::max();
    const auto most64 = std::numeric_limits<std::uint64_t>::max();
    const std::pair<sample, answer::row> rows[] = {
        {{"", {}, 0, 0}, {"", "", std::nullopt, "0", "0", "0", "0.000", "\\x"}},
        {{"a", "", -1, 7}, {"a", "a", "", "-1", "7", "7", "0.007", "\\x61"}},
        {{"ü", "NULL", most32, 12345},
         {"ü", "ü", "NULL", "2147483647", "12345", "12345", "12.345", "\\xc3bc"}},
        {{"x", {}, std::int64_t{most32} + 1, 1000},
         {"x", "x", std::nullopt, "2147483647", "1000", "1000", "1.000", "\\x78"}},
        {{"x", {}, std::numeric_limits<std::int64_t>::min(), most64},
         {"x", "x", std::nullopt, "-2147483648", "9223372036854775807", "18446744073709551615",
          "18446744073709551.615", "\\x78"}},
    };
    for (const auto& row : rows) {
        const auto& given = row.first;
        CAPTURE(given.text);
        const auto got = shown({given});
        CHECK(got.kinds == "TDCZ");
        REQUIRE(got.rows.size() == 1);
        CHECK(got.rows[0] == row.second);
    }
}

TEST_CASE("names that would like to be something else stay names") {
    // No byte of a name can end a cell, a row or a message: sizes are counted, not searched for.
    const std::string names[] = {
        "'; DROP TABLE x; --", "\",\n\t\r\\",          std::string("D\0\0\0\x04Z\0\0\0\5I", 11),
        std::string("\0", 1),  "Robert\"); SHUTDOWN;", std::string(100'000, 'x'),
        "🏋️ Zürich",
    };
    for (const auto& name : names) {
        CAPTURE(name.substr(0, 30));
        const auto got = shown({{name, name, 0, 0}, {name, {}, 0, 0}});
        REQUIRE(got.rows.size() == 2);
        CHECK(got.rows[0][0] == name);
        CHECK(got.rows[1][1] == name);
        CHECK(got.rows[0][2] == name);
    }
    // What is not UTF-8 would fail the client that reads it.
    CHECK(shown({{"caf\xe9", "caf\xe9", 0, 0}}).rows[0][0] == "caf\\xe9");
    CHECK(shown({{"caf\xe9", "caf\xe9", 0, 0}}).rows[0][2] == "caf\\xe9");
}

TEST_CASE("answers without rows") {
    const auto done = answer::read(console_answer::done("RELOAD"));
    CHECK(done.kinds == "CZ");
    CHECK(done.tag == "RELOAD");
    CHECK(answer::read(console_answer::empty_query()).kinds == "IZ");
    const auto value = answer::read(console_answer::value("TimeZone", "GMT"));
    CHECK(value.kinds == "TDCZ");
    CHECK(value.at(0, "TimeZone") == "GMT");
    const auto failed = answer::read(console_answer::failed(
        pgweir::protocol::error::console_privilege, {"no", "detail", "hint"}));
    CHECK(failed.kinds == "EZ");
    CHECK(failed.message() == "no");
    CHECK(failed.field('D') == "detail");
    CHECK(failed.field('H') == "hint");
}
