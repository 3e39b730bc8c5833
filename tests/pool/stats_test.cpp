// Buckets, sums and the SQLSTATE index; and that a reader in another thread is allowed.
#include "pool/stats.hpp"

#include <doctest/doctest.h>

#include <string_view>
#include <thread>

using namespace pgweir::pool;
using namespace std::chrono_literals;

namespace {

std::size_t index_of(std::string_view sqlstate) { return stats::class_index(sqlstate); }

} // namespace

TEST_CASE("a counter adds, subtracts and is set") {
    counter one;
    one.add();
    one.add(5);
    one.subtract();
    CHECK(one.load() == 5);
    one.subtract(5);
    CHECK(one.load() == 0);
    one.set(42);
    CHECK(one.load() == 42);
}

TEST_CASE("a duration falls into the first bucket whose bound it does not exceed") {
    constexpr auto above_all = duration_histogram::upper_bounds_seconds.size();
    struct row {
        duration value;
        std::size_t bucket;
    };
    const row rows[] = {
        {-1s, 0}, // a clock that went backwards
        {0ns, 0},         {1ns, 0},    {100us, 0},        {100'001ns, 1}, {250us, 1},
        {250'001ns, 2},   {500us, 2},  {1ms, 3},          {2'500us, 4},   {5ms, 5},
        {10ms, 6},        {25ms, 7},   {25'000'001ns, 8}, {50ms, 8},      {100ms, 9},
        {250ms, 10},      {500ms, 11}, {1s, 12},          {2'500ms, 13},  {5s, 14},
        {10s, 15},        {25s, 16},   {50s, 17},         {100s, 18},     {100s + 1ns, above_all},
        {24h, above_all},
    };
    for (const auto& row : rows) {
        CAPTURE(row.value.count());
        duration_histogram histogram;
        histogram.observe(row.value);
        for (std::size_t i = 0; i <= above_all; ++i) {
            CAPTURE(i);
            CHECK(histogram.bucket(i) == (i == row.bucket ? 1 : 0));
        }
        CHECK(histogram.count() == 1);
    }
}

TEST_CASE("count and sum of a histogram are those of all that was observed") {
    duration_histogram histogram;
    CHECK(histogram.count() == 0);
    CHECK(histogram.sum_seconds() == 0.0);
    for (const auto value : {duration(1ms), duration(2s), duration(-5s), duration(500ms)}) {
        histogram.observe(value);
    }
    CHECK(histogram.count() == 4);
    CHECK(histogram.sum_seconds() == doctest::Approx(2.501));
}

TEST_CASE("errors are counted by the first two characters of a SQLSTATE") {
    CHECK(index_of("00000") == 0);
    CHECK(index_of("01000") == 1);
    CHECK(index_of("08P01") == 8);
    CHECK(index_of("53300") == 5 * 36 + 3);
    CHECK(index_of("XX000") == 33 * 36 + 33);
    CHECK(index_of("ZZZZZ") == 36 * 36 - 1);
    CHECK(index_of("42P01") != index_of("40001"));
}

TEST_CASE("what is no SQLSTATE counts as an internal error") {
    for (const std::string_view junk : {"     ", "4230\n", "x2301", "42p01", "-----", "5330\xff"}) {
        CAPTURE(junk);
        CHECK(index_of(junk) == index_of("XX000"));
    }
}

TEST_CASE("a reader on another thread sees numbers that only rise") {
    stats shared;
    std::jthread writer([&] {
        for (int i = 0; i < 50'000; ++i) {
            shared.transactions.add();
            shared.query_time.observe(duration(i));
        }
    });
    std::uint64_t last = 0;
    while (last < 50'000) {
        const auto now = shared.transactions.load();
        REQUIRE(now >= last);
        last = now;
    }
    writer.join();
    CHECK(shared.query_time.count() == 50'000);
}
