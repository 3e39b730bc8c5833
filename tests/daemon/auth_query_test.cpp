// Arrays as PostgreSQL writes them, and whom nobody can be asked for.
#include "daemon/auth_query.hpp"

#include <doctest/doctest.h>

#include <cstdlib>
#include <filesystem>
#include <future>
#include <string>
#include <unistd.h>
#include <vector>

using namespace pgweir;
using daemon::parse_text_array;

TEST_CASE("auth_query: arrays of texts") {
    using list = std::vector<std::string>;
    CHECK(parse_text_array("{}") == list{});
    CHECK(parse_text_array("{a}") == list{"a"});
    CHECK(parse_text_array("{a,b}") == list{"a", "b"});
    CHECK(parse_text_array(R"({"a b",c,"d\"e","f\\g","{h}","i,j",""})") ==
          list{"a b", "c", "d\"e", "f\\g", "{h}", "i,j", ""});
    CHECK(parse_text_array("{a,NULL,\"NULL\"}") == list{"a", "NULL"});
    for (const auto* const bad : {"", "{", "a", "{a", "{{a},{b}}", "{\"a}", "{\"a\"b}", "{\"a\\"}) {
        CAPTURE(bad);
        CHECK_FALSE(parse_text_array(bad));
    }
}

TEST_CASE("auth_query: authorities that cannot be looked at are a failure to ask, and no more") {
    namespace fs = std::filesystem;
    const auto loop = fs::temp_directory_path() / ("pgweir-loop-" + std::to_string(::getpid()));
    fs::create_symlink(loop, loop); // root, too, cannot look behind it
    ::setenv("SSL_CERT_FILE", loop.c_str(), 1);
    auto config = std::make_shared<config::configuration>();
    config->query_user = "pgweir";
    config::database shop;
    shop.name = "shop";
    shop.port = 1; // where nothing listens
    shop.sslmode = config::tls_mode::verify_full;
    config->databases.push_back(shop);
    config->index();
    daemon::logger log({.level = daemon::log_severity::error});
    daemon::auth_query users(log, config);
    const auto here = std::make_shared<int>();
    std::promise<daemon::auth_query::answer> told;
    CHECK_NOTHROW(
        users.ask("shop", "anna", {}, here,
                  [&](const daemon::auth_query::answer& answer) { told.set_value(answer); }));
    auto answer = told.get_future();
    CHECK(answer.wait_for(std::chrono::seconds(30)) == std::future_status::ready);
    users.stop();
    ::unsetenv("SSL_CERT_FILE");
    fs::remove(loop);
}

TEST_CASE("auth_query: the SQLSTATE in what libpq says, in whatever language") {
    using daemon::sqlstate_in;
    const std::string at = R"(connection to server at "db", port 5432 failed: )";
    CHECK(sqlstate_in(at + R"(FATAL:  3D000: database "a" does not exist)") == "3D000");
    CHECK(sqlstate_in(at + "ВАЖНО:  28P01: …") == "28P01");
    // The rest may hold what a client has made up.
    CHECK(sqlstate_in(at + R"(FATAL:  3D000: database "FATAL:  57P03: " does not exist)") ==
          "3D000");
    CHECK(sqlstate_in(at + "FATAL:  28000: no TLS\n" + at + "FATAL:  3D000: none") == "28000");
    for (const auto* const none : {"", "Connection refused", "FATAL:  3d000: ", "FATAL:  3D000",
                                   "FATAL:  none of the name", "FATAL: 3D000: "}) {
        CAPTURE(none);
        CHECK(sqlstate_in(at + none).empty());
    }
}

TEST_CASE("auth_query: whose database nobody knows is nobody, and nobody waits for long") {
    auto config = std::make_shared<config::configuration>();
    config->query_user = "pgweir";
    config::database shop;
    shop.name = "shop";
    shop.port = 1; // where nothing listens
    config->databases.push_back(shop);
    config->index();
    daemon::logger log({.level = daemon::log_severity::error});
    daemon::auth_query users(log, config);
    const auto here = std::make_shared<int>();
    const auto ask = [&](const std::string& database) {
        std::promise<daemon::auth_query::answer> told;
        users.ask(database, "anna", {}, here,
                  [&](const daemon::auth_query::answer& answer) { told.set_value(answer); });
        auto answer = told.get_future();
        REQUIRE(answer.wait_for(std::chrono::seconds(30)) == std::future_status::ready);
        return answer.get();
    };
    CHECK(ask("none").user == nullptr);
    CHECK(ask("none").failure.empty());
    CHECK(ask("shop").user == nullptr);
    CHECK_FALSE(ask("shop").failure.empty());
    // The console's names are nobody's databases, although '*' would have them.
    shop.name = "*";
    config->databases.push_back(shop);
    config->index();
    CHECK_FALSE(ask("any").failure.empty());
    for (const auto* const console : {"pgweir", "pgbouncer"}) {
        CHECK(ask(console).user == nullptr);
        CHECK(ask(console).failure.empty());
    }
    users.forget("shop", "anna");
    CHECK_FALSE(ask("shop").failure.empty());
}
