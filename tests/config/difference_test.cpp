// What a reload would change, in the words of the log.
#include "config/difference.hpp"
#include "tests/config/support.hpp"

using namespace pgweir::config;
using namespace pgweir::config::testing;

namespace {

const std::string base = "databases:\n"
                         "  shop: { host: a, user: o, password: hunter1 }\n"
                         "  archive: { maxconn: 9 }\n"
                         "users: { app: { password: hunter1 }, bob: { password: b } }\n";

using all = std::vector<std::string>;

} // namespace

TEST_CASE("no difference") {
    const auto same = good(base);
    CHECK(compare(same, same).empty());
    CHECK(compare(same, same).lines().empty());
    CHECK(!compare(same, same).needs_restart());
    CHECK(after_reload(same, same) == same);
    // Another order, comments, and defaults written out are no difference.
    CHECK(compare(same, good("# x\npool: { minconn: 5 }\n"
                             "users: { bob: { password: b }, app: { password: hunter1 } }\n"
                             "databases:\n"
                             "  archive: { maxconn: 9, host: 127.0.0.1 }\n"
                             "  shop: { host: a, user: o, password: hunter1 }\n"))
              .empty());
}

TEST_CASE("changes, a line each") {
    struct change {
        std::string text;
        all says;
        bool restart;
    };
    const auto running = good(base);
    const std::vector<change> table{
        {base + "pool: { maxconn: 80 }", {"pool.maxconn: 50 -> 80"}, false},
        {base + "pool: { mode: session }",
         {"pool.mode: transaction -> session (needs a restart)"},
         true},
        {base + "pool: { session_state: { listen: reject }, pin_idle_timeout: 5s }",
         {"pool.pin_idle_timeout: 0 -> 5s", "pool.session_state.listen: virtualise -> reject"},
         false},
        {base + "pool: { observe: true }", {"pool.observe: false -> true"}, false},
        {base + "pool: { audit_every: 0 }", {"pool.audit_every: 10000 -> 0"}, false},
        {base + "workers: 4", {"workers: auto -> 4 (needs a restart)"}, true},
        {base + "slow_query: off\nmax_clients: 5\nlog: { level: debug }",
         {"max_clients: 20000 -> 5", "slow_query: 500ms -> off", "log.level: info -> debug"},
         false},
        {base + "auth: { mock_secret: 0123456789abcdef }",
         {"auth.mock_secret: (none) -> ***"},
         false},
        {base + "auth: { query_user: q }", {"auth.query_user: (none) -> q"}, false},
        {base + "console: { admin_users: [app] }", {"console.admin_users: [] -> [app]"}, false},
        {base + "listen: [{ port: 1 }, { address: '::1' }]",
         {"listen: 127.0.0.1:6432 -> 127.0.0.1:1, [::1]:6432 (needs a restart)"},
         true},
        {"databases:\n"
         "  shop: { host: b, user: o, password: hunter2, mode: session }\n"
         "  new: {}\n"
         "users: { app: { password: hunter2 }, carl: { password: c } }\n",
         {"database added: new", "database removed: archive", "databases.shop.host: a -> b",
          "databases.shop.password: changed",
          "databases.shop.mode: transaction -> session (needs a restart)", "user added: carl",
          "user removed: bob", "user changed: app"},
         true},
        {"databases:\n"
         "  shop: { host: a }\n"
         "  archive: { maxconn: 9 }\n"
         "users: { app: { password: hunter1 }, bob: { password: b } }\n",
         {"databases.shop.user: o -> (none)", "databases.shop.password: *** -> (none)"},
         false},
    };
    for (const auto& each : table) {
        const auto& text = each.text;
        const auto& says = each.says;
        const auto& restart = each.restart;
        CAPTURE(text);
        const auto found = compare(running, good(text));
        CHECK(found.lines() == says);
        CHECK(found.needs_restart() == restart);
        CHECK(!found.empty());
        for (const auto& line : found.lines()) {
            CHECK(line.find("hunter") == std::string::npos);
        }
    }
}

TEST_CASE("a pool's setting counts for each database that has none of its own") {
    const auto found = compare(good(base), good(base + "pool: { maxconn: 80 }"));
    REQUIRE(found.databases_changed.size() == 1);
    CHECK(found.databases_changed[0].name == "shop");
    CHECK(found.databases_changed[0].settings ==
          std::vector<setting_change>{{.key = "databases.shop.maxconn",
                                       .before = "50",
                                       .after = "80",
                                       .needs = change_needs::reload}});
}

TEST_CASE("many names become a count") {
    std::string users;
    for (int i = 0; i < 6; ++i) {
        users += "\"u" + std::to_string(i) + "\" \"x\"\n";
    }
    const world in{.environment = {}, .files = {{"u", users}}};
    const auto found = compare(good(base), good(base + "auth: { userlist: u }", in));
    CHECK(found.lines() == all{"auth.userlist: (none) -> u", "users added: 6"});
}

TEST_CASE("a user who moves to the userlist has not changed") {
    const world in{.environment = {}, .files = {{"u", "\"bob\" \"b\""}}};
    const auto found = compare(good(base), good("databases:\n"
                                                "  shop: { host: a, user: o, password: hunter1 }\n"
                                                "  archive: { maxconn: 9 }\n"
                                                "users: { app: { password: hunter1 } }\n"
                                                "auth: { userlist: u }\n",
                                                in));
    CHECK(found.lines() == all{"auth.userlist: (none) -> u"});
}

TEST_CASE("after a reload, what needs a restart is as it was") {
    const auto running = good(base);
    const auto wanted = good("databases:\n"
                             "  shop: { host: b, mode: session, maxconn: 7 }\n"
                             "  new: { mode: statement }\n"
                             "users: { app: { password: x } }\n"
                             "pool: { mode: statement, maxconn: 20 }\n"
                             "listen: [{ port: 1 }]\n"
                             "workers: 2\nmax_clients: 7\n"
                             "metrics: { address: '::1', port: 0 }\n"
                             "log: { format: json, level: error }\n");
    const auto now = after_reload(running, wanted);
    CHECK(now.listen == running.listen);
    CHECK(now.workers == running.workers);
    CHECK(now.metrics_address == running.metrics_address);
    CHECK(now.metrics_port == running.metrics_port);
    CHECK(now.format == running.format);
    CHECK(now.pool.mode == pool_mode::transaction);
    CHECK(now.pool.maxconn == 20);
    CHECK(now.max_clients == 7);
    CHECK(now.level == log_level::error);
    CHECK(now.find_database("shop")->host == "b");
    CHECK(now.find_database("shop")->pool.mode == pool_mode::transaction);
    CHECK(now.find_database("shop")->pool.maxconn == 7);
    CHECK(now.find_database("new")->pool.mode == pool_mode::statement);
    CHECK(now.find_user("bob") == nullptr);
    // All that is left to do is what needs a restart, and nothing of that has been done.
    CHECK(compare(now, wanted).needs_restart());
    for (const auto& each : compare(now, wanted).settings) {
        CHECK(each.needs == change_needs::restart);
    }
    CHECK(!compare(running, now).needs_restart());
}

TEST_CASE("every setting of the whole is seen when it changes") {
    for (const auto& row : settings()) {
        if (row.key.find('<') != std::string_view::npos || row.key.starts_with(listen_prefix)) {
            continue;
        }
        CAPTURE(row.key);
        const configuration before;
        configuration after;
        const auto owner = is_in_pool(row) ? setting_owner(&after.pool) : setting_owner(&after);
        bool changed = false;
        for (const auto* value :
             {"7", "7s", "false", "true", "session", "md5", "debug", "json", "::1", "never",
              "reject", "require", "1.3", "10.0.0.0/8", "0123456789abcdef"}) {
            changed = changed || (!assign(row, owner, value) && after != before);
        }
        REQUIRE(changed);
        const auto found = compare(before, after);
        REQUIRE(found.settings.size() == 1);
        CHECK(found.settings[0].key == row.key);
        CHECK(found.settings[0].needs == row.needs);
        const auto now = after_reload(before, after);
        CHECK((now == before) == (row.needs == change_needs::restart));
    }
}
