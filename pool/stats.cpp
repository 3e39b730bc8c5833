// Histogram arithmetic and the SQLSTATE index of stats.hpp.
#include "pool/stats.hpp"

#include <algorithm>
#include <bit>

namespace pgweir::pool {

namespace {

constexpr auto bounds_ns = [] {
    std::array<std::int64_t, duration_histogram::upper_bounds_seconds.size()> result{};
    for (std::size_t i = 0; i < result.size(); ++i) {
        // Half a nanosecond: 0.00025 s has no exact double, and must still become 250,000 ns.
        result[i] =
            static_cast<std::int64_t>(duration_histogram::upper_bounds_seconds[i] * 1e9 + 0.5);
    }
    return result;
}();

/// The first bucket that a duration may be in, by the number of its bits.
constexpr auto first_bucket = [] {
    std::array<std::uint8_t, 65> result{};
    for (std::size_t bits = 1; bits < result.size(); ++bits) {
        const auto least = std::uint64_t{1} << (bits - 1);
        auto at = result[bits - 1];
        while (at < bounds_ns.size() && static_cast<std::uint64_t>(bounds_ns[at]) < least) {
            ++at;
        }
        result[bits] = at;
    }
    return result;
}();

/// 0 to 35, or 36 for what no SQLSTATE contains.
constexpr std::size_t digit(char c) {
    if (c >= '0' && c <= '9') {
        return static_cast<std::size_t>(c - '0');
    }
    if (c >= 'A' && c <= 'Z') {
        return static_cast<std::size_t>(c - 'A') + 10;
    }
    return 36;
}

} // namespace

void duration_histogram::observe(duration value) {
    // A clock that is read twice may not run backwards, but a sum must never either.
    const auto ns = std::max<std::int64_t>(value.count(), 0);
    std::size_t at = first_bucket[std::bit_width(static_cast<std::uint64_t>(ns))];
    while (at < bounds_ns.size() && bounds_ns[at] < ns) {
        ++at; // twice at most: bounds stand no closer than 2 to 1
    }
    buckets_[at].add();
    sum_ns_.add(static_cast<std::uint64_t>(ns));
}

std::uint64_t duration_histogram::count() const {
    std::uint64_t total = 0;
    for (const auto& one : buckets_) {
        total += one.load();
    }
    return total;
}

double duration_histogram::sum_seconds() const { return static_cast<double>(sum_ns_.load()) / 1e9; }

std::size_t stats::class_index(std::string_view sqlstate) {
    if (sqlstate.size() != 5 ||
        std::ranges::any_of(sqlstate, [](char c) { return digit(c) == 36; })) {
        return digit('X') * 36 + digit('X');
    }
    return digit(sqlstate[0]) * 36 + digit(sqlstate[1]);
}

} // namespace pgweir::pool
