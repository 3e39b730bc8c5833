// The table itself: its rows are whole, and say what the code does.
#include "config/settings.hpp"
#include "config/text.hpp"
#include "tests/config/support.hpp"

#include <algorithm>
#include <set>

using namespace pgweir::config;
using namespace pgweir::config::testing;

namespace {

/// One of everything that has settings.
struct owners {
    configuration whole;
    pool_settings pool;
    listen_address listen;
    database db;
    user who;

    setting_owner of(const setting& row) {
        if (row.key.starts_with(listen_prefix)) {
            return &listen;
        }
        if (row.key.starts_with(database_prefix)) {
            return &db;
        }
        if (row.key.starts_with(user_prefix)) {
            return &who;
        }
        return is_in_pool(row) ? setting_owner(&pool) : setting_owner(&whole);
    }
};

} // namespace

TEST_CASE("every row is whole") {
    std::set<std::string_view> keys;
    for (const auto& row : settings()) {
        CAPTURE(row.key);
        CHECK(keys.insert(row.key).second);
        CHECK(!row.doc.empty());
        CHECK(row.doc.ends_with('.'));
        CHECK(row.doc.find('|') == std::string_view::npos); // the reference is a table
        CHECK(row.least <= row.most);
        CHECK(find_setting(row.key) == &row);
        CHECK(!type_of(row).empty());
        CHECK(must_be(row).starts_with("must be "));
    }
    CHECK(find_setting("pool.nothing") == nullptr);
    CHECK(find_setting("pool") == nullptr);
}

TEST_CASE("every default is the member's own, and within its bounds") {
    owners fresh;
    for (const auto& row : settings()) {
        CAPTURE(row.key);
        CHECK(text_of(row, fresh.of(row)) == row.fallback);
        if (row.fallback.empty() || is_list(row)) {
            continue;
        }
        owners assigned;
        CHECK(assign(row, assigned.of(row), row.fallback) == std::nullopt);
        CHECK(same(row, fresh.of(row), assigned.of(row)));
    }
}

TEST_CASE("what is written can be read again") {
    const std::vector<std::pair<std::string, std::string>> values{
        {"pool.minconn", "7"},
        {"pool.mode", "session"},
        {"pool.wait_timeout", "90s"},
        {"slow_query", "off"},
        {"slow_query", "1ms"},
        {"workers", "auto"},
        {"workers", "12"},
        {"metrics.port", "0"},
        {"log.connections", "false"},
        {"log.level", "warning"},
        {"auth.method", "md5"},
        {"auth.userlist", "users.txt"},
        {"listen.address", "::1"},
        {"databases.<name>.host", "/run/postgresql"},
        {"databases.<name>.unix_socket_directory", "/run/postgresql"},
    };
    for (const auto& each : values) {
        const auto& key = each.first;
        const auto& text = each.second;
        CAPTURE(key);
        owners first;
        const auto& row = *find_setting(key);
        CHECK(assign(row, first.of(row), text) == std::nullopt);
        CHECK(text_of(row, first.of(row)) == text);
        owners second;
        CHECK(!same(row, first.of(row), second.of(row)) == (text != row.fallback));
        copy(row, first.of(row), second.of(row));
        CHECK(same(row, first.of(row), second.of(row)));
    }
}

TEST_CASE("a value that is refused changes nothing") {
    for (const auto& row : settings()) {
        CAPTURE(row.key);
        for (const std::string& bad : {std::string("\x01"), std::string(10'000, 'x')}) {
            owners tried;
            owners fresh;
            CHECK(assign(row, tried.of(row), bad) != std::nullopt);
            CHECK(same(row, tried.of(row), fresh.of(row)));
        }
    }
}

TEST_CASE("numbers and durations hold at their bounds and not beyond") {
    for (const auto& row : settings()) {
        const auto bounds = bounds_of(row);
        const auto to = bounds.find(" to ");
        if (to == std::string::npos || bounds.starts_with("up") || bounds.ends_with("bytes")) {
            continue;
        }
        CAPTURE(row.key);
        owners all;
        CHECK(assign(row, all.of(row), bounds.substr(0, to)) == std::nullopt);
        CHECK(assign(row, all.of(row), bounds.substr(to + 4)) == std::nullopt);
        const bool is_time = row.most > 1'000'000;
        const auto above = is_time ? std::to_string(row.most / 1'000'000 + 1) + "ms"
                                   : std::to_string(row.most + 1);
        CHECK(assign(row, all.of(row), above) != std::nullopt);
        if (row.least > 0) {
            CHECK(assign(row, all.of(row), "0") != std::nullopt);
        }
        CHECK(assign(row, all.of(row), "-1") != std::nullopt);
    }
}

TEST_CASE("names come one by one") {
    const auto& row = *find_setting("console.admin_users");
    owners all;
    CHECK(assign(row, all.of(row), "alice") == std::nullopt);
    CHECK(assign(row, all.of(row), "bob") == std::nullopt);
    CHECK(text_of(row, all.of(row)) == "[alice, bob]");
}

TEST_CASE("a secret is never told") {
    owners all;
    for (const auto& row : settings()) {
        if (is_secret(row)) {
            CHECK(assign(row, all.of(row), "hunter2 of hunters") == std::nullopt);
            CHECK(text_of(row, all.of(row)) == "***");
        }
    }
}

TEST_CASE("keys under a prefix") {
    using keys = std::vector<std::string_view>;
    CHECK(keys_under("") == keys{"listen", "databases", "users", "pool", "auth", "tls", "console",
                                 "proxy_protocol", "workers", "max_clients", "statement_memory",
                                 "shutdown_timeout", "functions_interval", "slow_query", "metrics",
                                 "log"});
    CHECK(keys_under("metrics.") == keys{"address", "port"});
    CHECK(keys_under("users.<name>.") == keys{"password"});
    CHECK(keys_under("nothing.").empty());
}

TEST_CASE("all of a listen address needs a restart") {
    // compare() and after_reload() take the list as one.
    for (const auto& row : settings()) {
        if (row.key.starts_with(listen_prefix)) {
            CHECK(row.needs == change_needs::restart);
        }
    }
}

TEST_CASE("no key of a database is a key of its pool") {
    const auto own = keys_under(database_prefix);
    for (const auto key : keys_under(pool_prefix)) {
        CHECK(std::find(own.begin(), own.end(), key) == own.end());
    }
}

TEST_CASE("rows of SHOW CONFIG") {
    const auto made = good("listen: [{ port: 1 }, { address: '::1', port: 2 }]\n"
                           "pool: { maxconn: 7 }\nworkers: 3\nslow_query: off\n"
                           "console: { admin_users: [app] }\n"
                           "databases: { shop: { user: o, password: hunter2 } }\n"
                           "users: { app: { password: hunter2 } }");
    const auto rows = show_settings(made);
    const auto row = [&](std::string_view key) {
        const auto found = std::find_if(rows.begin(), rows.end(),
                                        [&](const shown_setting& each) { return each.key == key; });
        REQUIRE(found != rows.end());
        return *found;
    };
    const auto is = [&](std::string key, std::string value, std::string fallback, bool changeable) {
        CAPTURE(key);
        const auto shown = row(key);
        CHECK(shown.value == value);
        CHECK(shown.fallback == fallback);
        CHECK(shown.changeable == changeable);
    };
    is("listen.address", "127.0.0.1, ::1", "127.0.0.1", false);
    is("listen.port", "1, 2", "6432", false);
    is("pool.maxconn", "7", "50", true);
    is("pool.mode", "transaction", "transaction", false);
    is("workers", "3", "auto", false);
    is("slow_query", "off", "500ms", true);
    is("console.admin_users", "[app]", "[]", true);
    for (const auto& each : rows) {
        CHECK(each.value.find("hunter2") == std::string::npos);
        CHECK(!each.key.starts_with("users."));
        CHECK(!each.key.starts_with("databases."));
    }
}
