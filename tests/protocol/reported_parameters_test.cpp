// What a server may report is bounded, by number and by size.
#include "protocol/reported_parameters.hpp"

#include <doctest/doctest.h>

#include <string>

using namespace pgweir::protocol;

TEST_CASE("reported_parameters: a thousand names") {
    reported_parameters known;
    for (std::size_t i = 0; i < most_parameters; ++i) {
        CHECK(note_parameter(known, "p" + std::to_string(i), "v"));
    }
    CHECK(note_parameter(known, "p7", "another"));
    CHECK(known["p7"] == "another");
    CHECK_FALSE(note_parameter(known, "more", "v"));
}

TEST_CASE("reported_parameters: a mebibyte") {
    reported_parameters known;
    const std::string large(most_parameter_bytes / 4, 'v');
    for (int time = 0; time < 10; ++time) {
        for (const auto* const name : {"a", "b", "c"}) {
            CHECK(note_parameter(known, name, large));
        }
    }
    CHECK(note_parameter(known, "d", "short"));
    CHECK_FALSE(note_parameter(known, "d", large));
}

TEST_CASE("reported_parameters: short ones fill no more than as much again") {
    reported_parameters known;
    CHECK(note_parameter(known, "large", std::string(most_parameter_bytes - 5, 'v')));
    std::size_t held = most_parameter_bytes;
    for (int i = 0; note_parameter(known, std::to_string(i), std::string(500, 'v')); ++i) {
        held += 500;
    }
    CHECK(held < 2 * most_parameter_bytes);
}
