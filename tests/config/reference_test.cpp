// docs/settings.md is what the table says.
#include "config/reference.hpp"
#include "config/settings.hpp"
#include "tests/config/support.hpp"

using namespace pgweir::config;
using namespace pgweir::config::testing;

TEST_CASE("docs/settings.md is what the table says") {
    // To write it anew: config_tests -ns -tc="write docs/settings.md"
    const bool same = source_file("docs/settings.md") == settings_reference();
    CHECK(same);
}

TEST_CASE("every setting is in the reference exactly once") {
    const auto text = settings_reference();
    for (const auto& row : settings()) {
        CAPTURE(row.key);
        const auto cell = "| `" + std::string(row.key) + "` |";
        const auto first = text.find(cell);
        CHECK(first != std::string::npos);
        CHECK(text.find(cell, first + 1) == std::string::npos);
    }
}

TEST_CASE("write docs/settings.md" * doctest::skip()) {
    std::ofstream(source_path("docs/settings.md"), std::ios::binary) << settings_reference();
}
