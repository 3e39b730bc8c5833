// What is wrong with a configuration, and where: tables of input and the exact words.
#include "tests/config/support.hpp"

#include <chrono>

using namespace pgweir::config;
using namespace pgweir::config::testing;
using namespace std::chrono_literals;

namespace {
struct mistake {
    std::string text;
    std::string says; // a line each
};

void check(const std::vector<mistake>& table) {
    for (const auto& each : table) {
        const auto& text = each.text;
        const auto& says = each.says;
        CAPTURE(text);
        CHECK(errors_of(text) == says);
    }
}
} // namespace

TEST_CASE("unknown keys: with the nearest one there is") {
    check({
        {"pool: { maxcon: 5 }" + rest, "1:9: unknown key 'maxcon', did you mean 'maxconn'?\n"},
        {"pool:\n  minconn: 1\n  mxaconn: 5" + rest,
         "3:3: unknown key 'mxaconn', did you mean 'maxconn'?\n"},
        {"poool: { maxconn: 5 }" + rest, "1:1: unknown key 'poool', did you mean 'pool'?\n"},
        {"Workers: 2" + rest, "1:1: unknown key 'Workers', did you mean 'workers'?\n"},
        {"maxconn: 5" + rest,
         "1:1: unknown key 'maxconn', did you mean 'maxconn' inside 'pool'?\n"},
        {"pool.maxconn: 5" + rest,
         "1:1: unknown key 'pool.maxconn', did you mean 'maxconn' inside 'pool'?\n"},
        {"log: { xyzzy: 5 }" + rest,
         "1:8: unknown key 'xyzzy'; known here: level, format, connections, disconnections\n"},
        {"listen: [{ adress: 127.0.0.1 }]" + rest,
         "1:12: unknown key 'adress', did you mean 'address'?\n"},
        {"databases: { shop: { hots: x, mincon: 1 } }\nusers: { app: { password: x } }",
         "1:22: unknown key 'hots', did you mean 'host'?\n"
         "1:31: unknown key 'mincon', did you mean 'minconn'?\n"},
        {"databases: { shop: }\nusers:\n  app:\n    pasword: hunter2",
         "3:3: users.app needs a password\n"
         "4:5: unknown key 'pasword', did you mean 'password'?\n"},
    });
}

TEST_CASE("wrong types") {
    check({
        {"workers: many" + rest, "1:10: workers must be a whole number or 'auto', not 'many'\n"},
        {"workers: 2.5" + rest, "1:10: workers must be a whole number or 'auto', not '2.5'\n"},
        {"workers:" + rest, "1:1: workers has no value\n"},
        {"workers: [2]" + rest, "1:10: workers must be a whole number or 'auto', not a list\n"},
        {"workers: {a: 2}" + rest, "1:10: workers must be a whole number or 'auto', not a map\n"},
        {"max_clients: auto" + rest, "1:14: max_clients must be a whole number, not 'auto'\n"},
        {"pool: { mode: transation }" + rest,
         "1:15: pool.mode must be one of transaction, session, statement, not 'transation'\n"},
        {"auth: { method: md4 }" + rest,
         "1:17: auth.method must be one of trust, password, md5, scram-sha-256, not 'md4'\n"},
        {"log: { level: loud, format: xml, connections: maybe }" + rest,
         "1:15: log.level must be one of debug, info, warning, error, not 'loud'\n"
         "1:29: log.format must be one of text, json, not 'xml'\n"
         "1:47: log.connections must be true or false, not 'maybe'\n"},
        {"pool: { wait_timeout: 5 }" + rest,
         "1:23: pool.wait_timeout needs a unit: 5s, or ms, m, h, d\n"},
        {"pool: { wait_timeout: soon }" + rest,
         "1:23: pool.wait_timeout must be a duration such as 500ms, 5s, 10m, 1h or 2d, not "
         "'soon'\n"},
        {"pool: { wait_timeout: 1.5s }" + rest,
         "1:23: pool.wait_timeout must be a duration such as 500ms, 5s, 10m, 1h or 2d, not "
         "'1.5s'\n"},
        {"pool: { wait_timeout: off }" + rest,
         "1:23: pool.wait_timeout must be a duration such as 500ms, 5s, 10m, 1h or 2d, not "
         "'off'\n"},
        {"slow_query: never" + rest,
         "1:13: slow_query must be a duration such as 500ms, 5s, 10m, 1h or 2d or 'off', not "
         "'never'\n"},
        {"pool: 5" + rest, "1:7: pool must be a map such as { mode: … }, not a single value\n"},
        {"pool: [mode]" + rest, "1:7: pool must be a map such as { mode: … }, not a list\n"},
        {"listen: 6432" + rest,
         "1:9: listen must be a list such as [{ address: 127.0.0.1, port: 6432 }], not a single "
         "value\n"},
        {"listen: [6432]" + rest,
         "1:10: an entry of listen must be a map such as { address: 127.0.0.1, port: 6432 }, not "
         "a single value\n"},
        {"console: { admin_users: root }" + rest,
         "1:25: console.admin_users must be a list such as [alice, bob], not a single value\n"},
        {"console: { admin_users: [[root]] }" + rest,
         "1:26: a name in console.admin_users must be a text\n"},
        {"console: { stats_users: [\"\"] }" + rest,
         "1:26: a name in console.stats_users must not be empty\n"},
        {"databases: [shop]\nusers: { app: { password: x } }",
         "1:12: databases must be a map such as { fitness_club: { host: 127.0.0.1 } }, not a "
         "list\n"},
        {"databases: { shop: 127.0.0.1 }\nusers: { app: { password: x } }",
         "1:20: databases.shop must be a map such as { host: 127.0.0.1, port: 5432 }, not a "
         "single value\n"},
    });
}

TEST_CASE("out of bounds: with the bounds") {
    check({
        {"pool: { maxconn: 0 }" + rest, "1:18: pool.maxconn must be from 1 to 10000, not '0'\n"},
        {"pool: { maxconn: 10001 }" + rest,
         "1:18: pool.maxconn must be from 1 to 10000, not '10001'\n"},
        {"pool: { minconn: -1 }" + rest, "1:18: pool.minconn must be from 0 to 10000, not '-1'\n"},
        {"pool: { maxconn: 99999999999999999999999 }" + rest,
         "1:18: pool.maxconn must be from 1 to 10000, not '99999999999999999999999'\n"},
        {"workers: 0" + rest, "1:10: workers must be from 1 to 255 or 'auto', not '0'\n"},
        {"max_clients: 4294967296" + rest,
         "1:14: max_clients must be from 1 to 1000000, not '4294967296'\n"},
        {"listen: [{ port: 65536 }]" + rest,
         "1:18: listen.port must be from 0 to 65535, not '65536'\n"},
        {"databases: { shop: { port: 0 } }\nusers: { app: { password: x } }",
         "1:28: databases.shop.port must be from 1 to 65535, not '0'\n"},
        {"pool: { wait_timeout: 0 }" + rest,
         "1:23: pool.wait_timeout must be from 1ms to 1d, not '0'\n"},
        {"pool: { wait_timeout: 2d }" + rest,
         "1:23: pool.wait_timeout must be from 1ms to 1d, not '2d'\n"},
        {"pool: { idle_timeout: 999999999999999999d }" + rest,
         "1:23: pool.idle_timeout must be from 0 to 365d, not '999999999999999999d'\n"},
        {"slow_query: 25h" + rest, "1:13: slow_query must be from 0 to 1d or 'off', not '25h'\n"},
        {"auth: { query_user: " + std::string(64, 'a') + " }" + rest,
         "1:21: auth.query_user must not be longer than 63 bytes\n"},
        {"auth: { query_user: \"a\\0b\" }" + rest,
         "1:21: auth.query_user must not hold control characters\n"},
        {"databases: { " + std::string(64, 'a') + ": }\nusers: { app: { password: x } }",
         "1:14: a name in databases must have 1 to 63 bytes and no control characters\n"},
        {"listen: []" + rest, "1:9: listen must have 1 to 64 entries\n"},
    });
}

TEST_CASE("addresses and hosts") {
    check({
        {"listen: [{ address: localhost }]" + rest,
         "1:21: listen.address must be an IPv4 or IPv6 address such as 127.0.0.1 or ::1, or the "
         "absolute path of a directory, not 'localhost'\n"},
        {"listen: [{ address: /run/pgweir }]" + rest, ""},
        {"proxy_protocol: [10.0.0.0/8, '::1/128']" + rest, ""},
        {"proxy_protocol: [10.0.0.1/8]" + rest, "1:18: a network in proxy_protocol must be an "
                                                "address and how many of its bits count, such "
                                                "as 10.0.0.0/8\n"},
        {"metrics: { address: 256.0.0.1 }" + rest,
         "1:21: metrics.address must be an IPv4 or IPv6 address such as 127.0.0.1 or ::1, not "
         "'256.0.0.1'\n"},
        {"listen: [{ port: 1 }, { port: 1 }, { port: 0 }, { port: 0 }]" + rest,
         "1:23: listen has 127.0.0.1 port 1 twice\n"},
        // An URL would bring its password along.
        {"databases: { shop: { host: 'postgres://a:hunter2@b' } }\nusers: { app: { password: x } }",
         "1:28: databases.shop.host must be a host name, an address, or the absolute path of a "
         "directory\n"},
        {"databases: { shop: { host: '' } }\nusers: { app: { password: x } }",
         "1:28: databases.shop.host must not be empty\n"},
    });
    const auto socket = [](const std::string& directory) {
        return "databases: { shop: { unix_socket_directory: " + directory +
               " } }\nusers: { app: { password: x } }";
    };
    check({
        {socket("/run/postgresql"), ""},
        {socket("''"), ""},
        {socket("run"), "1:45: databases.shop.unix_socket_directory must be the absolute path of a "
                        "directory, not 'run'\n"},
        {socket("/" + std::string(91, 'd')), ""}, // with /.s.PGSQL.65535 just what fits
        {socket("/" + std::string(92, 'd')),
         "1:45: databases.shop.unix_socket_directory must not be longer than 92 bytes\n"},
    });
}

TEST_CASE("minconn above maxconn, wherever the two come from") {
    check({
        {"pool: { minconn: 60 }" + rest,
         "1:9: pool.minconn (60) must not be above pool.maxconn (50, the default)\n"},
        {"pool:\n  maxconn: 3\n  minconn: 4" + rest,
         "3:3: pool.minconn (4) must not be above pool.maxconn (3)\n"},
        {"pool: { maxconn: 20 }\ndatabases:\n  shop: { minconn: 30 }\n"
         "users: { app: { password: x } }",
         "3:11: databases.shop.minconn (30) must not be above databases.shop.maxconn (20, from "
         "pool)\n"},
        // Told once: neither about the default of what was refused, nor again for each database.
        {"pool: { maxconn: 0, minconn: 60 }" + rest,
         "1:18: pool.maxconn must be from 1 to 10000, not '0'\n"},
        {"pool: { minconn: 60, wait_timeout: x }" + rest,
         "1:9: pool.minconn (60) must not be above pool.maxconn (50, the default)\n"
         "1:36: pool.wait_timeout must be a duration such as 500ms, 5s, 10m, 1h or 2d, not 'x'\n"},
    });
}

TEST_CASE("a minconn that was not given gives way to the maxconn that was") {
    const auto small = parse("pool: { maxconn: 3 }" + rest, {});
    REQUIRE(small);
    CHECK(small.value().pool.minconn == 3);
    const auto one_small = parse("databases:\n  shop: { maxconn: 2 }\npool: { minconn: 3 }\n"
                                 "users: { app: { password: x } }",
                                 {});
    REQUIRE(one_small);
    CHECK(one_small.value().pool.minconn == 3);
    CHECK(one_small.value().find_database("shop")->pool.minconn == 2);
}

TEST_CASE("duplicates") {
    check({
        {"workers: 1\nworkers: 2" + rest, "2:1: duplicate key 'workers', first on line 1\n"},
        {"pool: {}\npool: { maxconn: 7 }" + rest, "2:1: duplicate key 'pool', first on line 1\n"},
        {"pool:\n  maxconn: 7\n  maxconn: 8" + rest,
         "3:3: duplicate key 'maxconn', first on line 2\n"},
        {"databases:\n  shop:\n  shop:\nusers: { app: { password: x } }",
         "3:3: duplicate key 'shop', first on line 2\n"},
        {"databases: { shop: }\nusers:\n  app: { password: x }\n  app: { password: y }",
         "4:3: duplicate key 'app', first on line 3\n"},
        {"databases: { shop: }\nusers:\n  app: { password: x, password: y }",
         "3:23: duplicate key 'password', first on line 3\n"},
    });
}

TEST_CASE("what becomes of session state for one user") {
    const auto made =
        good("pool: { session_state: { listen: reject, libraries: ignore } }\n"
             "databases: { shop: { session_state: { libraries: pin } }, other: , fixed: { user: "
             "app } }\n"
             "users:\n  app: { password: x, session_state: { listen: pin, random_seed: reject } }\n"
             "  bot: { password: y }\n");
    const auto app = made.find_pool("shop", "app");
    CHECK(app.listen == virtual_policy::pin);
    CHECK(app.random_seed == state_policy::reject);
    CHECK(app.libraries == state_policy::pin);
    CHECK(made.find_pool("other", "app").libraries == state_policy::ignore);
    CHECK(made.find_pool("shop", "bot") == made.databases[0].pool);
    CHECK(made.find_pool("fixed", "app") == made.pool); // its pool is nobody's own
    CHECK(made.find_pool("not there", "bot") == made.pool);
    check({
        {"databases: { shop: }\nusers: { app: { password: x, session_state: { listen: no } } }",
         "2:55: users.app.session_state.listen must be one of virtualise, pin, reject, ignore, not "
         "'no'\n"},
        {"databases: { shop: }\nusers: { app: { password: x, maxconn: 7 } }",
         "2:30: unknown key 'maxconn', did you mean 'maxconn' inside 'pool'?\n"},
    });
}

TEST_CASE("what becomes of session state, kind by kind, for all and for one database") {
    const auto made = good("pool:\n  session_state: { listen: reject, held_cursors: ignore }\n"
                           "databases:\n  shop: { session_state: { listen: pin } }\n  other:\n"
                           "  third: { session_state: { listen: virtualise } }\n"
                           "users: { app: { password: x } }");
    CHECK(made.pool.listen == virtual_policy::reject);
    CHECK(made.pool.temporary_objects == state_policy::pin);
    CHECK(made.databases[0].pool.listen == virtual_policy::pin);
    CHECK(made.databases[0].pool.held_cursors == state_policy::ignore);
    CHECK(made.databases[1].pool == made.pool);
    CHECK(made.databases[2].pool.listen == virtual_policy::virtualise);
    CHECK(good(rest).pool.listen == virtual_policy::virtualise);
    check({
        {"pool: { session_state: { libraries: virtualise } }" + rest,
         "1:37: pool.session_state.libraries must be one of pin, reject, ignore, not "
         "'virtualise'\n"},
        {"pool: { session_state: { listen: share } }" + rest,
         "1:34: pool.session_state.listen must be one of virtualise, pin, reject, ignore, not "
         "'share'\n"},
        {"pool: { session_state: { lisen: pin } }" + rest,
         "1:26: unknown key 'lisen', did you mean 'listen'?\n"},
        {"pool: { session_state: pin }" + rest, "1:24: pool.session_state must be a map such as { "
                                                "temporary_objects: reject }, not a single "
                                                "value\n"},
        {"databases:\n  shop: { session_state: { listen: no } }\nusers: { app: { password: x } }",
         "2:36: databases.shop.session_state.listen must be one of virtualise, pin, reject, "
         "ignore, not 'no'\n"},
    });
}

TEST_CASE("servers that are not reused need session mode") {
    check({
        {"pool: { reuse: never }" + rest, "1:9: pool.reuse never needs pool.mode session\n"},
        {"pool: { mode: statement, reuse: never }" + rest,
         "1:26: pool.reuse never needs pool.mode session\n"},
        {"databases:\n  shop: { reuse: never }\nusers: { app: { password: x } }",
         "2:11: databases.shop.reuse never needs databases.shop.mode session\n"},
        {"pool: { mode: session, reuse: never }\ndatabases:\n  shop: { mode: transaction }\n"
         "users: { app: { password: x } }",
         "3:11: databases.shop.mode must be session where reuse is never, as pool says\n"},
        {"pool: { reuse: sometimes }" + rest,
         "1:16: pool.reuse must be one of always, never, not 'sometimes'\n"},
    });
    CHECK(good("pool: { mode: session, reuse: never }" + rest).pool.reuse == server_reuse::never);
    CHECK(good("pool: { reuse: always }" + rest).pool.reuse == server_reuse::always);
    const auto one = good("databases: { shop: { mode: session, reuse: never }, club: }\n"
                          "users: { app: { password: x } }");
    CHECK(one.find_database("shop")->pool.reuse == server_reuse::never);
    CHECK(one.find_database("club")->pool.reuse == server_reuse::always);
}

TEST_CASE("what must be there") {
    const std::string nobody = "nobody could log in: give users, auth.userlist or auth.query_user";
    check({
        {"", "1:1: databases is missing: name at least one\n"},
        {"# nothing\n", "1:1: databases is missing: name at least one\n"},
        {"users: { app: { password: x } }", "1:1: databases is missing: name at least one\n"},
        {"databases: {}\nusers: { app: { password: x } }",
         "1:12: databases must name at least one\n"},
        {"databases:\nusers: { app: { password: x } }",
         "1:1: databases must be a map such as { fitness_club: { host: 127.0.0.1 } }, not "
         "nothing\n"},
        {"databases: { shop: }", "1:1: " + nobody + "\n"},
        {"databases: { shop: }\nauth: { method: md5 }", "2:17: " + nobody + "\n"},
        {"databases: { shop: }\nusers: { app: }", "2:10: users.app needs a password\n"},
        {"databases: { shop: }\nusers: { app: {} }", "2:10: users.app needs a password\n"},
        {"databases: { pgbouncer: }\nusers: { app: { password: x } }",
         "1:14: databases must not have 'pgbouncer': that is the name of the console\n"},
        {"databases: { shop: { password: x } }\nusers: { app: { password: x } }",
         "1:22: databases.shop.password needs databases.shop.user\n"},
    });
    CHECK(good("databases: { shop: }\nauth: { method: trust }").users.empty());
    CHECK(good("databases: { shop: }\nauth: { query_user: pgweir }").query_user == "pgweir");
}

TEST_CASE("all errors at once, in the order of the file") {
    CHECK(errors_of("users: { app: { password: } }\n"
                    "workers: x\n"
                    "pool: { maxcon: 5,\n"
                    "        minconn: y }\n"
                    "databases: { shop: { port: 0 } }\n") ==
          "1:17: users.app.password has no value\n"
          "2:10: workers must be a whole number or 'auto', not 'x'\n"
          "3:9: unknown key 'maxcon', did you mean 'maxconn'?\n"
          "4:18: pool.minconn must be a whole number, not 'y'\n"
          "5:28: databases.shop.port must be from 1 to 65535, not '0'\n");
}

TEST_CASE("a file that is right") {
    const auto made = good(R"(
listen: [{ address: 0.0.0.0, port: 6432 }, { address: "::1", port: 0 }, {}]
databases:
  shop: { host: db.example.org, port: 5433, dbname: shop_v2, user: owner, password: pw,
          minconn: 1, mode: session }
  archive: { host: /var/run/postgresql, maxconn: 3, minconn: 0 }
  '*':
users:
  app: { password: "0123" }
  ödön: { password: 'a "b" c' }
pool: { mode: statement, minconn: 2, maxconn: 20, wait_timeout: 500ms, idle_timeout: 0,
        max_lifetime: 2d, connect_timeout: 1m }
auth: { method: md5, query_user: pgweir, login_timeout: 30s }
console: { admin_users: [app, root], stats_users: [] }
workers: 4
max_clients: 10
shutdown_timeout: 0
slow_query: off
metrics: { address: "::", port: 0 }
log: { level: debug, format: json, connections: no, disconnections: OFF }
)");
    CHECK(made.listen == std::vector<listen_address>{{.address = "0.0.0.0", .port = 6432},
                                                     {.address = "::1", .port = 0},
                                                     {.address = "127.0.0.1", .port = 6432}});
    REQUIRE(made.databases.size() == 3);
    const auto& shop = made.databases[0];
    CHECK(shop.name == "shop");
    CHECK(shop.host == "db.example.org");
    CHECK(shop.port == 5433);
    CHECK(shop.dbname == "shop_v2");
    CHECK(shop.user == "owner");
    CHECK(shop.password.reveal() == "pw");
    auto pool = made.pool; // written below the databases: counts all the same
    pool.minconn = 1;
    pool.mode = pool_mode::session;
    CHECK(shop.pool == pool);
    CHECK(made.databases[1].host == "/var/run/postgresql");
    CHECK(made.databases[1].dbname == "archive");
    CHECK(made.databases[1].pool.maxconn == 3);
    CHECK(made.databases[1].pool.wait_timeout == 500ms);
    CHECK(made.databases[2].name == "*");
    CHECK(made.databases[2].dbname.empty());
    CHECK(made.pool == pool_settings{.mode = pool_mode::statement,
                                     .minconn = 2,
                                     .maxconn = 20,
                                     .wait_timeout = 500ms,
                                     .idle_timeout = 0s,
                                     .max_lifetime = 48h,
                                     .connect_timeout = 1min});
    CHECK(made.find_user("app")->password.reveal() == "0123");
    CHECK(made.find_user("ödön")->password.reveal() == "a \"b\" c");
    CHECK(made.auth == auth_method::md5);
    CHECK(made.query_user == "pgweir");
    CHECK(made.login_timeout == 30s);
    CHECK(made.admin_users == std::vector<std::string>{"app", "root"});
    CHECK(made.stats_users.empty());
    CHECK(made.workers == 4);
    CHECK(made.max_clients == 10);
    CHECK(made.shutdown_timeout == 0s);
    CHECK(!made.slow_query);
    CHECK(made.metrics_address == "::");
    CHECK(made.metrics_port == 0);
    CHECK(made.level == log_level::debug);
    CHECK(made.format == log_format::json);
    CHECK(!made.log_connections);
    CHECK(!made.log_disconnections);
}

TEST_CASE("the file of the design document is right") {
    const auto made =
        good("listen: [{ address: 0.0.0.0, port: 6432 }]\n"
             "databases:\n"
             "  fitness_club: { host: 127.0.0.1, port: 5432 }\n"
             "pool: { mode: transaction, minconn: 5, maxconn: 50, wait_timeout: 5s }\n"
             "auth: { method: scram-sha-256, query_user: pgweir }\n");
    CHECK(made.pool == pool_settings{});
}

TEST_CASE("warnings do not keep a file from being right") {
    const world none;
    const auto trust = parse("databases: { shop: }\nauth: { method: trust }\n"
                             "listen: [{ address: 0.0.0.0 }, { address: ::1 }]",
                             none.options());
    CHECK(trust);
    CHECK(lines(trust.warnings()) ==
          std::vector<std::string>{"2:17: auth.method trust lets in everybody who reaches 0.0.0.0 "
                                   "as whoever they say they are"});
    const auto md5 = parse("databases: { shop: }\n"
                           "users: { app: { password: md50123456789abcdef0123456789abcdef } }",
                           none.options());
    CHECK(md5);
    CHECK(lines(md5.warnings()) ==
          std::vector<std::string>{"2:10: user 'app' has an md5 secret and cannot log in with "
                                   "auth.method scram-sha-256"});
}

TEST_CASE("what TLS needs is asked for, where it is missing") {
    const std::string base = "databases: { shop: { } }\nauth: { method: trust }\n";
    CHECK(good(base).tls == tls_mode::prefer);
    const auto made = good(base + "tls: { mode: verify-full, certificate: a, key: b, ca: c }\n");
    CHECK(made.tls == tls_mode::verify_full);
    CHECK(made.tls_certificate == "a");
    CHECK(errors_of(base + "tls: { certificate: a }\n") ==
          "3:6: tls.certificate and tls.key need each other\n");
    CHECK(errors_of(base + "tls: { mode: require }\n") ==
          "3:6: this tls.mode needs tls.certificate and tls.key\n");
    CHECK(errors_of(base + "tls: { mode: verify-ca, certificate: a, key: b }\n") ==
          "3:6: this tls.mode needs tls.ca\n");
    const auto database = [](const std::string& keys) {
        return "databases: { shop: { " + keys + " } }\nauth: { method: trust }\n";
    };
    CHECK(errors_of(database("sslkey: a")) ==
          "1:20: databases.shop: sslcert and sslkey need each other\n");
    CHECK(errors_of(database("sslnegotiation: direct")) ==
          "1:20: databases.shop: sslnegotiation 'direct' needs sslmode 'require' or more\n");
    const auto direct = good(database("sslnegotiation: direct, sslmode: verify-full"));
    CHECK(direct.databases[0].sslmode == tls_mode::verify_full);
    CHECK(direct.databases[0].binding == channel_binding::prefer);
}

TEST_CASE("whom a server's certificate may be signed by") {
    const auto shop = [](const std::string& keys) {
        return "databases: { shop: { " + keys + " } }\nauth: { method: trust }\n";
    };
    check({
        {shop("sslmode: verify-ca"), "1:22: databases.shop.sslmode verify-ca needs "
                                     "databases.shop.sslrootcert, the file of an authority\n"},
        {shop("sslrootcert: '', sslmode: verify-ca"),
         "1:39: databases.shop.sslmode verify-ca needs databases.shop.sslrootcert, the file of an "
         "authority\n"},
        {shop("sslmode: verify-ca, sslrootcert: system"),
         "1:42: databases.shop.sslrootcert system needs databases.shop.sslmode verify-full\n"},
        {shop("sslrootcert: system"),
         "1:22: databases.shop.sslrootcert system needs databases.shop.sslmode verify-full\n"},
        {shop("sslmode: require, sslrootcert: system"),
         "1:40: databases.shop.sslrootcert system needs databases.shop.sslmode verify-full\n"},
        {shop("sslmode: verify-ca, sslrootcert: a"), ""},
        {shop("sslmode: verify-ca, sslrootcert: ./system"), ""},
        {shop("sslmode: verify-full, sslrootcert: system"), ""},
        {shop("sslmode: verify-full"), ""},
    });
    CHECK(good(shop("sslmode: verify-full")).databases[0].trusts_the_system());
    CHECK(good(shop("sslmode: verify-full, sslrootcert: system")).databases[0].trusts_the_system());
    CHECK(!good(shop("sslmode: verify-full, sslrootcert: ./system"))
               .databases[0]
               .trusts_the_system());
    CHECK(!good(shop("sslmode: require")).databases[0].trusts_the_system());
}
