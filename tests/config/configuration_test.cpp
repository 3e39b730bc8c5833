// Finding databases and users by name.
#include "config/configuration.hpp"
#include "tests/config/support.hpp"

using namespace pgweir::config;
using namespace pgweir::config::testing;

namespace {
user named(std::string name) {
    return {.name = std::move(name), .password = {}, .from_file = {}, .session_state = {}};
}
} // namespace

TEST_CASE("a database is found by its name, else by '*'") {
    const auto made = good("databases:\n"
                           "  zebra: { port: 1 }\n"
                           "  alias: { port: 2, dbname: real }\n"
                           "  '*': { port: 3, minconn: 0 }\n"
                           "users: { app: { password: x } }");
    CHECK(made.databases[0].name == "zebra"); // in the order of the file
    CHECK(made.find_database("zebra")->port == 1);
    CHECK(made.find_database("zebra")->dbname == "zebra");
    CHECK(made.find_database("alias")->dbname == "real");
    const auto other = made.find_database("other");
    REQUIRE(other);
    CHECK(other->name == "other");
    CHECK(other->dbname == "other");
    CHECK(other->port == 3);
    CHECK(other->pool.minconn == 0);
    CHECK(made.find_database("")->name.empty());
    CHECK(made.find_database("Zebra")->port == 3); // names are as they are written

    const auto gathered = good("databases: { '*': { dbname: all } }\n"
                               "users: { app: { password: x } }");
    CHECK(gathered.find_database("any")->name == "any");
    CHECK(gathered.find_database("any")->dbname == "all");
    CHECK(!good(rest).find_database("other"));
    CHECK(!configuration{}.find_database("other"));
}

TEST_CASE("each of 10,000 users is found") {
    std::string list;
    for (int i = 0; i < 10'000; ++i) {
        list += "\"user" + std::to_string(i * 7919 % 10'000) + "\" \"secret\"\n";
    }
    const world in{.environment = {}, .files = {{"u", list}}};
    const auto made = good("databases: { shop: }\nauth: { userlist: u }", in);
    REQUIRE(made.users.size() == 10'000);
    CHECK(made.user_index.order.size() == 10'000);
    for (int i = 0; i < 10'000; ++i) {
        const auto name = "user" + std::to_string(i);
        const auto* const found = made.find_user(name);
        REQUIRE(found != nullptr);
        REQUIRE(found->name == name);
    }
    CHECK(made.find_user("user") == nullptr);
    CHECK(made.find_user("user10000") == nullptr);
    CHECK(made.find_user("") == nullptr);
    CHECK(made.find_user("zzz") == nullptr);
}

TEST_CASE("a configuration put together by hand works without an index, and with one") {
    configuration made;
    made.users = {named("b"), named("a")};
    CHECK(made.find_user("a") == &made.users[1]);
    auto indexed = made;
    indexed.index();
    CHECK(indexed == made); // the index says nothing new
    CHECK(indexed.find_user("a") == &indexed.users[1]);
    indexed.users.push_back(named("c")); // no longer indexed
    CHECK(indexed.find_user("c") == &indexed.users[2]);
    CHECK(indexed.find_user("d") == nullptr);
}

TEST_CASE("where the connections to a database go: localhost by its Unix socket, when asked to") {
    struct row {
        const char *host, *directory, *expected;
    };
    for (const auto& each :
         {row{"localhost", "", "localhost"}, row{"localhost", "/run", "/run"},
          row{"LocalHost", "/run", "/run"}, row{"localhost.", "/run", "localhost."},
          row{"localhos", "/run", "localhos"}, row{"127.0.0.1", "/run", "127.0.0.1"},
          row{"/tmp", "/run", "/tmp"}, row{"db.internal", "/run", "db.internal"}}) {
        CAPTURE(each.host);
        database made;
        made.host = each.host;
        made.unix_socket_directory = each.directory;
        CHECK(made.connects_to() == each.expected);
        CHECK(made.has_unix_socket() == (each.expected[0] == '/'));
    }
}
