// See nearest.hpp.
#include "config/nearest.hpp"

#include <algorithm>
#include <array>
#include <vector>

namespace pgweir::config {

std::size_t edit_distance(std::string_view from, std::string_view to) {
    // Optimal string alignment; row i holds the distances of from[0..i) to every prefix of `to`.
    // Two rows back are needed for the swap.
    const auto width = to.size() + 1;
    std::array<std::vector<std::size_t>, 3> rows;
    for (auto& row : rows) {
        row.resize(width);
    }
    for (std::size_t j = 0; j < width; ++j) {
        rows[0][j] = j;
    }
    for (std::size_t i = 1; i <= from.size(); ++i) {
        auto& row = rows[i % 3];
        const auto& above = rows[(i + 2) % 3];
        const auto& two_above = rows[(i + 1) % 3];
        row[0] = i;
        for (std::size_t j = 1; j < width; ++j) {
            const std::size_t replace = from[i - 1] == to[j - 1] ? 0 : 1;
            row[j] = std::min({above[j] + 1, row[j - 1] + 1, above[j - 1] + replace});
            if (i > 1 && j > 1 && from[i - 1] == to[j - 2] && from[i - 2] == to[j - 1]) {
                row[j] = std::min(row[j], two_above[j - 2] + 1);
            }
        }
    }
    return rows[from.size() % 3].back();
}

std::optional<std::string_view> nearest(std::string_view word,
                                        std::span<const std::string_view> known) {
    constexpr std::size_t longest = 64; // no key is that long, and the work is bounded
    if (word.size() > longest) {
        return std::nullopt;
    }
    std::optional<std::string_view> best;
    std::size_t best_distance = 0;
    for (const auto candidate : known) {
        const auto distance = edit_distance(word, candidate);
        // One slip in three letters is a slip; more is another word.
        const auto allowed = std::max<std::size_t>(1, std::max(word.size(), candidate.size()) / 3);
        if (distance <= allowed && (!best || distance < best_distance)) {
            best = candidate;
            best_distance = distance;
        }
    }
    return best;
}

} // namespace pgweir::config
