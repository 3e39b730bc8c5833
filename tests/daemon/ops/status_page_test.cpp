// The page at `/`, made from the sample pools.
#include "daemon/status_page.hpp"
#include "tests/daemon/ops/sample.hpp"

#include <doctest/doctest.h>

using namespace pgweir::daemon;

TEST_CASE("the page shows every pool and escapes what clients chose") {
    const sample_pools sample;
    const auto source = sample.source();
    const auto page = status_page(source.pools(), source.process());
    CHECK(page.find("<td>fitness_club</td><td>bot</td><td>up</td>") != std::string::npos);
    CHECK(page.find("<td>25 %</td>") != std::string::npos);
    CHECK(page.find("a&quot;b\\c\nd\\xff&lt;script&gt;") != std::string::npos);
    CHECK(page.find("o&#39;neil &amp; &quot;co&quot;") != std::string::npos);
    CHECK(page.find("<script") == std::string::npos);
    CHECK(page.find("unreachable") != std::string::npos);
    CHECK(page.find("The last reload was refused.") != std::string::npos);
}

TEST_CASE("a daemon that nobody has used says so") {
    CHECK(status_page({}, {}).find("No pool yet") != std::string::npos);
}
