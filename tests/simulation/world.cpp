#include "tests/simulation/world.hpp"

#include <cstdio>

namespace pgweir::simulation {

void world::violation(std::string sentence) {
    constexpr std::size_t enough = 20;
    if (violations.size() < enough) {
        trace(0, "VIOLATION", [&] { return sentence; });
        violations.push_back(std::move(sentence));
    }
}

void world::line(std::string_view what, const std::string& text) {
    const auto since = time.now().time_since_epoch() - seconds(1'000);
    char stamp[32];
    std::snprintf(stamp, sizeof stamp, "%12.6f  ", std::chrono::duration<double>(since).count());
    auto& last = lines.emplace_back(stamp);
    last += what;
    last.append(what.size() < 12 ? 12 - what.size() : 1, ' ');
    last += text;
}

} // namespace pgweir::simulation
