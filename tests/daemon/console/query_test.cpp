// How the text of a query becomes a command, and what is said when it does not.
#include "tests/daemon/console/fake_source.hpp"

#include <doctest/doctest.h>

using namespace pgweir::daemon;

TEST_CASE("spellings of one command") {
    for (const std::string query :
         {"SHOW VERSION", "show version;", "  Show  Version ; ", "SHOW \"version\"",
          "\"show\" \"VERSION\"", "SHOW\nVERSION", "\tshow\r\n\fversion\v", "show version;;",
          "; show version", "/* a /* nested */ comment */ SHOW VERSION", "SHOW/**/VERSION",
          "SHOW -- the one that runs\n VERSION -- done", "-- first\n-- second\nSHOW VERSION;--",
          "SHOW VERSION\f;"}) {
        CAPTURE(query);
        console_fixture f;
        const auto got = f.ask(query);
        CHECK(got.kinds == "TDCZ");
        CHECK(got.tag == "SHOW");
        CHECK(got.at(0, "version").starts_with("pgweir "));
    }
}

TEST_CASE("nothing asked: nothing answered") {
    for (const std::string query :
         {"", " ", ";", " ; ;; ", "-- nothing", "/* nothing */", "\n\t", "/*"}) {
        CAPTURE(query);
        console_fixture f;
        CHECK(f.ask(query).kinds == "IZ");
        CHECK(f.ask("watcher", query).kinds == "IZ");
    }
}

TEST_CASE("what is no command is a syntax error that says where the commands are") {
    for (const std::string query : {"SELECT 1",
                                    "select 1 from x",
                                    "FROBNICATE",
                                    "SHOW",
                                    "SHOW;",
                                    "SHOW nonsense",
                                    "SHOW nonsense of all kinds",
                                    "SHOW POOLS POOLS",
                                    "SHOW POOLS;SHOW POOLS",
                                    "BEGIN",
                                    "SHOWPOOLS",
                                    "SHOW POOL",
                                    "SHOW POOLSX",
                                    "SHOW  \"PO\"\"OLS\"",
                                    "SHOW \"POOLS",
                                    "SHOW 'POOLS",
                                    "SHOW 'POOLS'",
                                    "'RELOAD'",
                                    "\"",
                                    "'",
                                    "RELOAD now",
                                    "SHUTDOWN now",
                                    "SHOW timezone x",
                                    "SHOW time zone",
                                    "1",
                                    "$1",
                                    "$$",
                                    "SHOW $$POOLS$$ x",
                                    "(SHOW POOLS)",
                                    "SHOW POOLS,",
                                    "SHOW \"\"",
                                    "''",
                                    "SHOW STATS_",
                                    "SHOW STATS TOTALS",
                                    "\xff\xfe",
                                    "SHOW \xc3",
                                    "\x01\x02",
                                    "ＳＨＯＷ ＰＯＯＬＳ"}) {
        CAPTURE(query);
        console_fixture f;
        const auto got = f.ask(query);
        CHECK(got.failed());
        CHECK(got.field('S') == "ERROR");
        CHECK(got.sqlstate() == "42601");
        CHECK(!got.message().empty());
        CHECK(got.field('H') == "SHOW HELP lists the commands.");
        CHECK(f.source.events == "answer;");
        CHECK(f.ask("SHOW POOLS").tag == "SHOW"); // the session goes on
    }
}

TEST_CASE("the message quotes what was not understood, briefly and printably") {
    const std::pair<std::string, std::string> rows[] = {
        {"FROB x", "unknown command: FROB x"},
        {"SHOW frob", "unknown command: SHOW frob"},
        {"SHOW POOLS x", "SHOW POOLS takes nothing more: x"},
        {"a; b", "the console takes one command at a time"},
        {"a \"b", "unterminated quoted text"},
        {"\"a\nb\x1b[2J\"", "unknown command: a?b?[2J"},
        {"\"\xff\"", "unknown command: ?"},
        {std::string(300, 'x'), "unknown command: " + std::string(100, 'x') + "…"},
    };
    for (const auto& row : rows) {
        const auto& query = row.first;
        CAPTURE(query);
        console_fixture f;
        CHECK(f.ask(query).message() == row.second);
    }
}

TEST_CASE("PgBouncer's commands that are still to come say so") {
    for (const std::string query :
         {"PAUSE", "pause fitness_club;", "RESUME", "SUSPEND", "KILL fitness_club",
          "KILL_CLIENT 17", "DISABLE x", "ENABLE x", "RECONNECT", "WAIT_CLOSE", "SET verbose = 1",
          "SHOW FDS", "SHOW MEM", "SHOW DNS_HOSTS", "SHOW SOCKETS", "SHUTDOWN WAIT_FOR_CLIENTS",
          "shutdown wait_for_servers"}) {
        CAPTURE(query);
        console_fixture f;
        const auto got = f.ask(query);
        CHECK(got.failed());
        CHECK(got.sqlstate() == "0A000");
        CHECK(got.message().find("not supported yet") != std::string::npos);
        CHECK(f.source.events == "answer;");
    }
}

TEST_CASE("long commands") {
    const std::string kib8(8192, ' ');
    struct {
        std::string query, kinds, sqlstate;
    } const rows[] = {
        {"SHOW VERSION" + kib8, "TDCZ", ""},
        {kib8 + "SHOW" + kib8 + "VERSION", "TDCZ", ""},
        {"SHOW VERSION --" + std::string(8192, 'x'), "TDCZ", ""},
        {"SHOW " + std::string(8192, 'x'), "EZ", "42601"},
        {std::string(8192, '"'), "EZ", "42601"},
        {std::string(8193, '"'), "EZ", "42601"},
        {std::string(8192, ';'), "IZ", ""},
        {std::string(8192, '('), "EZ", "42601"},
        {"SHOW" + std::string(4096, '\xc3'), "EZ", "42601"},
        {"PAUSE " + std::string(8192, 'd'), "EZ", "0A000"},
    };
    for (const auto& row : rows) {
        CAPTURE(row.query.substr(0, 20));
        console_fixture f;
        const auto bytes = f.raw("boss", row.query);
        const auto got = answer::read(bytes);
        CHECK(got.kinds == row.kinds);
        CHECK(got.sqlstate() == row.sqlstate);
        CHECK(bytes.size() < 1024); // what was sent does not come back
    }
}

TEST_CASE("every prefix of a command has an answer") {
    const std::string query = "/* c */ SHOW \"pools\" ; -- end";
    for (std::size_t length = 0; length <= query.size(); ++length) {
        CAPTURE(length);
        console_fixture f;
        f.ask(query.substr(0, length));
    }
}

TEST_CASE("what drivers ask") {
    const std::pair<std::string, std::pair<std::string, std::string>> rows[] = {
        {"SHOW client_encoding", {"client_encoding", "UTF8"}},
        {"SHOW server_encoding", {"server_encoding", "UTF8"}},
        {"SHOW datestyle", {"DateStyle", "ISO, MDY"}},
        {"SHOW DATESTYLE", {"DateStyle", "ISO, MDY"}},
        {"SHOW TimeZone;", {"TimeZone", "GMT"}},
        {"show Standard_Conforming_Strings", {"standard_conforming_strings", "on"}},
        {"SHOW integer_datetimes", {"integer_datetimes", "on"}},
        {"SHOW transaction_read_only", {"transaction_read_only", "off"}},
        {"SHOW server_version", {"server_version", std::string(build_version()) + "/pgweir"}},
    };
    for (const auto& row : rows) {
        const auto& query = row.first;
        const auto& expected = row.second;
        CAPTURE(query);
        console_fixture f;
        const auto got = f.ask("watcher", query);
        CHECK(got.kinds == "TDCZ");
        CHECK(got.columns == std::vector<answer::described>{{expected.first, 25}});
        CHECK(got.at(0, expected.first) == expected.second);
    }
}

TEST_CASE("RELOAD") {
    console_fixture f;
    SUBCASE("worked") {
        const auto got = f.ask("RELOAD");
        CHECK(got.kinds == "CZ");
        CHECK(got.tag == "RELOAD");
    }
    SUBCASE("a bad file") {
        f.source.reload_problem = "pgweir.yaml:3:5: unknown key 'maxcon', did you mean 'maxconn'?";
        const auto got = f.ask("RELOAD");
        CHECK(got.failed());
        CHECK(got.sqlstate() == "F0000");
        CHECK(got.field('S') == "ERROR");
        CHECK(got.field('D') == *f.source.reload_problem);
    }
    CHECK(f.source.events == "reload;answer;");
}

TEST_CASE("SHUTDOWN answers before it ends the daemon") {
    console_fixture f;
    const auto got = f.ask("SHUTDOWN;");
    CHECK(got.kinds == "CZ");
    CHECK(got.tag == "SHUTDOWN");
    CHECK(f.source.events == "answer;shutdown;");
}

TEST_CASE("answers that come later, in another order than the questions") {
    fake_source source;
    console under_test(source);
    source.deferring = true;
    source.clients.resize(3);
    std::vector<answer> answers;
    const auto keep = [&](std::string bytes) { answers.push_back(answer::read(bytes)); };
    for (const std::string query :
         {"SHOW CLIENTS", "RELOAD", "SHOW LEASES", "SHOW POOLS", "SHOW LISTS"}) {
        under_test.execute("boss", query, keep);
    }
    under_test.execute("watcher", "SHOW VERSION", keep);
    REQUIRE(answers.size() == 1);
    CHECK(answers[0].columns[0].name == "version");
    std::swap(source.deferred[0], source.deferred[1]);
    source.run_deferred();
    REQUIRE(answers.size() == 6);
    CHECK(answers[1].tag == "RELOAD");
    CHECK(answers[2].rows.size() == 3);
    CHECK(answers[3].columns.size() == 12);
}
