// Random conversations (tests/support/conversation_generator.hpp), played direct and through; one
// that differs is made as short as it can be while it still differs, and printed as a script.
//
// Owner: main. One thread.
#pragma once

#include "integration/differential/runner.hpp"

#include <chrono>
#include <cstdint>
#include <vector>

namespace pgweir::differential {

struct random_options {
    std::uint64_t first_seed = 1, seeds = 1'000;
    bool doubtful = false; // test::generator_options::doubtful_copies
    std::chrono::steady_clock::duration at_most = std::chrono::hours(24 * 365);
    std::size_t most_failures = 3; // then it is enough
    std::chrono::milliseconds patience = std::chrono::seconds(10);
};

/// Each seed through one of the places that have enough servers for it, in turns. True: all alike.
[[nodiscard]] bool run_random(runner& run, admin& outside, std::vector<through>& places,
                              const random_options& options);

/// The conversation of a seed, with what it needs to be a script.
[[nodiscard]] script random_script(std::uint64_t seed, bool doubtful);

} // namespace pgweir::differential
