// config/example.yaml is complete, is the defaults, and lets nobody in.
#include "config/document.hpp"
#include "config/settings.hpp"
#include "config/text.hpp"
#include "tests/config/support.hpp"

#include <algorithm>
#include <set>
#include <sstream>

using namespace pgweir::config;
using namespace pgweir::config::testing;

namespace {

std::string example() { return source_file("config/example.yaml"); }

/// With every commented-out setting switched on: lines such as "    # user: owner".
std::string with_all_switched_on(const std::string& text) {
    std::istringstream lines(text);
    std::string result;
    for (std::string line; std::getline(lines, line);) {
        const auto hash = line.find_first_not_of(' ');
        if (hash != std::string::npos && line.compare(hash, 2, "# ") == 0) {
            const auto key = line.substr(hash + 2, line.find(": ", hash) - hash - 2);
            const bool is_setting =
                line.find(": ", hash) != std::string::npos &&
                std::any_of(settings().begin(), settings().end(), [&](const setting& row) {
                    return row.short_key() == key || row.key == key;
                });
            if (is_setting) {
                line.erase(hash, 2);
            }
        }
        result += line + "\n";
    }
    return result;
}

void gather_keys(const node& from, const std::string& prefix, std::set<std::string>& into) {
    for (const auto& item : from.items) {
        gather_keys(item, prefix, into);
    }
    for (const auto& each : from.entries) {
        const bool named = prefix == "databases." || prefix == "users.";
        const auto key = prefix + (named ? "<name>" : each.key);
        into.insert(key);
        gather_keys(each.value, key + ".", into);
    }
}

} // namespace

TEST_CASE("the example is the defaults") {
    const auto result = parse(example(), world{}.options());
    INFO(joined(lines(result.errors())));
    REQUIRE(result);
    CHECK(result.warnings().empty());

    auto made = result.value();
    REQUIRE(made.databases.size() == 1);
    REQUIRE(made.users.size() == 1);
    database defaults;
    defaults.name = defaults.dbname = "fitness_club";
    CHECK(made.databases[0] == defaults);
    made.databases.clear();
    made.users.clear();
    CHECK(made == configuration{});
}

TEST_CASE("the example has every setting of the table") {
    const auto text = with_all_switched_on(example());
    const auto document = read_document(text);
    REQUIRE(std::holds_alternative<node>(document));
    std::set<std::string> keys;
    gather_keys(std::get<node>(document), "", keys);
    for (const auto& row : settings()) {
        CAPTURE(row.key);
        CHECK(keys.contains(std::string(row.key)));
    }
}

TEST_CASE("the example loads with everything switched on that is commented out") {
    const auto text = with_all_switched_on(example());
    CHECK(text != example());
    const auto made = good(text, {.environment = {{"FITNESS_CLUB_PASSWORD", "s"},
                                                  {"PGWEIR_MOCK_SECRET", "0123456789abcdef"}},
                                  .files = {}});
    CHECK(made.databases.at(0).user == "fitness_club_owner");
    CHECK(made.databases.at(0).password.reveal() == "s");
    CHECK(made.mock_secret.reveal() == "0123456789abcdef");
}

TEST_CASE("the example lets nobody in who has not proved who they are") {
    const auto made = good(example());
    CHECK(made.auth == auth_method::scram_sha_256);
    CHECK(made.admin_users.empty());
    CHECK(made.stats_users.empty());
    for (const auto& each : made.users) {
        CHECK(form_of(each.password.reveal()) == secret_form::scram);
    }
    for (const auto& each : made.listen) {
        CHECK(is_loopback(each.address));
    }
    CHECK(is_loopback(made.metrics_address));
}
