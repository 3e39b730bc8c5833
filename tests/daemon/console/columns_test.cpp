// The columns of every SHOW against tests/golden/console_columns.txt.
#include "daemon/console_result.hpp"
#include "tests/daemon/console/fake_source.hpp"

#include <doctest/doctest.h>

#include <fstream>
#include <set>
#include <sstream>

using namespace pgweir::daemon;

TEST_CASE("columns are the golden ones") {
    std::ifstream file(PGWEIR_CONSOLE_COLUMNS);
    REQUIRE(file);
    std::set<std::string> seen{"SHOW HELP", "SHOW"}; // have no columns of their own
    for (std::string line; std::getline(file, line);) {
        if (line.empty() || line[0] == '#') {
            continue;
        }
        const auto name = "SHOW " + line.substr(0, line.find(' '));
        CAPTURE(name);
        console_fixture f;
        f.source.clients.resize(1);
        f.source.servers.resize(1);
        f.source.leases.resize(1);
        f.source.pins.resize(1);
        const auto got = f.ask("watcher", name);
        CHECK(got.kinds == "TDCZ");
        CHECK(got.tag == "SHOW");
        std::string found = name.substr(5);
        for (const auto& column : got.columns) {
            found += " " + column.name + ":" +
                     std::string(to_string(static_cast<column_type>(column.type)));
        }
        CHECK(found == line);
        seen.insert(name);
    }
    for (const auto& row : console_commands()) {
        if (row.words.starts_with("SHOW") && !row.help.empty()) {
            CAPTURE(row.words);
            CHECK(seen.contains(std::string(row.words)));
        }
    }
}
