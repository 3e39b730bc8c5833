// "did you mean": the known word that is closest to an unknown one. Pure.
// Tests: tests/config/nearest_test.cpp.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string_view>

namespace pgweir::config {

/// Letters to insert, drop, replace or swap with their neighbour to get from one to the other.
[[nodiscard]] std::size_t edit_distance(std::string_view from, std::string_view to);

/// Nothing when none is near enough to be meant. Of equally near ones the first.
[[nodiscard]] std::optional<std::string_view> nearest(std::string_view word,
                                                      std::span<const std::string_view> known);

} // namespace pgweir::config
