// Names of things. Strong types without conversions; no value is ever used twice.
#pragma once

#include <chrono>
#include <compare>
#include <cstdint>
#include <functional>

namespace pgweir::pool {

/// A client connection. The worker that owns it is in the top 8 bits.
struct client_id {
    std::uint64_t value = 0;
    auto operator<=>(const client_id&) const = default;
    [[nodiscard]] explicit operator bool() const { return value != 0; }
};

/// A server connection. Keeps its id when it moves to another worker.
struct server_id {
    std::uint64_t value = 0;
    auto operator<=>(const server_id&) const = default;
    [[nodiscard]] explicit operator bool() const { return value != 0; }
};

/// Index of a worker, from 0.
struct worker_index {
    std::uint32_t value = 0;
    auto operator<=>(const worker_index&) const = default;
};

/// Monotonic time, always passed in. In the simulator it is virtual.
using time_point = std::chrono::time_point<std::chrono::steady_clock, std::chrono::nanoseconds>;
using duration = std::chrono::nanoseconds;

} // namespace pgweir::pool

template <>
struct std::hash<pgweir::pool::client_id> {
    std::size_t operator()(pgweir::pool::client_id id) const noexcept {
        return std::hash<std::uint64_t>{}(id.value);
    }
};
template <>
struct std::hash<pgweir::pool::server_id> {
    std::size_t operator()(pgweir::pool::server_id id) const noexcept {
        return std::hash<std::uint64_t>{}(id.value);
    }
};
