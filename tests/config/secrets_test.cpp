// Secrets: where they may come from, and that no message ever shows one.
#include "tests/config/support.hpp"

using namespace pgweir::config;
using namespace pgweir::config::testing;
using namespace std::string_literals;

namespace {

std::string with_password(const std::string& password) {
    return "databases: { shop: }\nusers:\n  app:\n    password: " + password + "\n";
}

const std::string verifier = "SCRAM-SHA-256$4096:c2FsdHNhbHRzYWx0c2FsdA==$"
                             "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:"
                             "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

} // namespace

TEST_CASE("secrets from the file, the environment, and other files") {
    const world in{.environment = {{"APP_PASSWORD", "from environment"}},
                   .files = {{"/run/secrets/app", "from file\n"},
                             {"/etc/pgweir/app.password", "from folder\r\n"},
                             {"/two", "ends in a newline\n\n"},
                             {"/none", "no newline"},
                             {"/env", "env:X"}},
                   .credentials = {{"app.password-1", "from systemd\n"}}};
    const std::vector<std::pair<std::string, std::string>> table{
        {"'plain'", "plain"},
        {"env:APP_PASSWORD", "from environment"},
        {"file:/run/secrets/app", "from file"},
        {"file:app.password", "from folder"},
        {"file:/none", "no newline"},
        {"file:/env", "env:X"},
        {"credential:app.password-1", "from systemd"},
        {verifier, verifier},
    };
    for (const auto& each : table) {
        const auto& written = each.first;
        const auto& meant = each.second;
        CAPTURE(written);
        const auto result = parse(with_password(written), in.options("/etc/pgweir"));
        REQUIRE(result);
        CHECK(result.value().find_user("app")->password.reveal() == meant);
    }
    // With a slash at the folder's end, too. A secret of two lines is none.
    CHECK(parse(with_password("file:app.password"), in.options("/etc/pgweir/")));
    CHECK(lines(parse(with_password("file:/two"), in.options()).errors()) ==
          std::vector<std::string>{"4:15: users.app.password must not hold control characters"});
}

TEST_CASE(
    "one newline at the end is no part of a secret, any other control character is an error") {
    const std::string bad = "4:15: users.app.password must not hold control characters\n";
    const std::vector<std::pair<std::string, std::string>> table{
        {"hunter2\n", ""},
        {"hunter2\r\n", ""},
        {"hunter2\r", bad}, // no newline
        {"hunter2\r\r\n", bad},
        {"hunter2\n\r\n", bad},
        {"hunter2\r\n\n", bad},
        {"hun\tter2", bad},
        {"hun\nter2\n", bad},
        {"hunter2\t\n", bad},
        {std::string("hunter2\0", 8), bad},
        {"hun\x7fter2", bad},
        {"h\xc3\xb6n\x1bter2", bad},
    };
    for (const auto& [content, says] : table) {
        CAPTURE(content);
        const world in{.environment = {{"P", content}},
                       .files = {{"/p", content}},
                       .credentials = {{"p", content}}};
        CHECK(errors_of(with_password("file:/p"), in) == says);
        CHECK(errors_of(with_password("credential:p"), in) == says);
        CHECK(errors_of(with_password("env:P"), in) == bad); // no editor has been there
    }
    for (const auto* const written : {"\"hunter2\\r\"", "\"hunter2\\n\"", "\"hun\\tter2\"",
                                      "\"hun\\0ter2\"", "\"hun\\x7fter2\"", "hun\tter2"}) {
        CAPTURE(written);
        CHECK(errors_of(with_password(written), {}) == bad);
    }
}

TEST_CASE("secrets that cannot be had") {
    const world in{.environment = {{"EMPTY", ""}, {"BROKEN", "SCRAM-SHA-256$hunter2"}},
                   .files = {{"/empty", "\n"}, {"/huge", std::string(8193, 'h')}}};
    const std::vector<std::pair<std::string, std::string>> table{
        {"env:MISSING", "is to come from the environment variable 'MISSING', which is not set"},
        {"env:EMPTY", "must not be empty"},
        {"'env:'", "must name an environment variable after 'env:'"},
        {"env:hun-ter2", "must name an environment variable after 'env:'"},
        {"env:2hunter", "must name an environment variable after 'env:'"},
        {"file:/missing",
         "is to come from the file '/missing', which cannot be read, or does not belong to root "
         "(mode 0640 or less) or pgweir's user (0600 or less)"},
        {"'file:'", "must name a file after 'file:'"},
        {"file:/empty", "must not be empty"},
        {"file:/huge", "must not be longer than 8192 bytes"},
        {"''", "must not be empty"},
        {"\"hunter\\x072\"", "must not hold control characters"},
        {"credential:missing", "is to come from the credential 'missing', which systemd has not "
                               "given (LoadCredential=)"},
        {"'credential:'", "must name a credential after 'credential:'"},
        {"credential:../x", "must name a credential after 'credential:'"},
        {"credential:..", "must name a credential after 'credential:'"},
        {"credential:/etc/shadow", "must name a credential after 'credential:'"},
        {"[hunter2]", "must be a text, env:NAME, file:PATH or credential:NAME, not a list"},
        {"{hunter2: hunter2}", "must be a text, env:NAME, file:PATH or credential:NAME, not a map"},
        {"env:BROKEN", "begins like a SCRAM verifier but is none"},
        {"SCRAM-SHA-256$", "begins like a SCRAM verifier but is none"},
        {"SCRAM-SHA-256$0" + verifier.substr(18), "begins like a SCRAM verifier but is none"},
        {verifier + "=", "begins like a SCRAM verifier but is none"},
    };
    for (const auto& each : table) {
        const auto& written = each.first;
        const auto& says = each.second;
        CAPTURE(written);
        CHECK(errors_of(with_password(written), in) == "4:15: users.app.password " + says + "\n");
    }
    // No callbacks at all: nothing can be had, nothing breaks.
    CHECK(parse(with_password("env:X"), {}).errors().size() == 1);
    CHECK(parse(with_password("file:X"), {}).errors().size() == 1);
    CHECK(parse(with_password("credential:X"), {}).errors().size() == 1);
}

TEST_CASE("a database's password") {
    const std::string users = "\nusers: { app: { password: x } }";
    CHECK(errors_of("databases: { shop: { user: o, password: env:NO } }" + users) ==
          "1:41: databases.shop.password is to come from the environment variable 'NO', which is "
          "not set\n");
    CHECK(errors_of("databases: { shop: { user: o, password: '" + verifier + "' } }" + users) ==
          "1:31: databases.shop.password is a SCRAM verifier, which proves a password but cannot "
          "stand for one\n");
    const world in{.environment = {{"P", "secret"}}, .files = {}};
    const auto made = good("databases: { shop: { user: o, password: env:P } }" + users, in);
    CHECK(made.databases[0].password.reveal() == "secret");
}

TEST_CASE("the secret of auth.query_user has to be a password") {
    const auto with = [](const std::string& secret) {
        return "databases: { shop: }\nusers:\n  asks: { password: '" + secret +
               "' }\nauth: { query_user: asks, method: md5 }";
    };
    const std::string md5 = "md5" + std::string(32, 'a');
    CHECK(errors_of(with(verifier)) ==
          "3:3: user 'asks' is auth.query_user and has a SCRAM verifier, "
          "which proves a password but cannot stand for one\n");
    CHECK(errors_of(with(md5)) == "3:3: user 'asks' is auth.query_user and has an md5 secret, "
                                  "which proves a password but cannot stand for one\n");
    CHECK(good(with("plain")).query_user == "asks");
    const std::string in_file = "databases: { shop: }\nauth: { query_user: asks, userlist: u.txt }";
    const world in{.environment = {},
                   .files = {{"u.txt", "\"x\" \"y\"\n\"asks\" \"" + md5 + "\""}}};
    CHECK(errors_of(in_file, in).find("u.txt:2:1: user 'asks' is auth.query_user") == 0);
}

TEST_CASE("no message shows a secret, however the file is broken") {
    // Each is wrong, some in ways that make something else of the secret: a key, a tag, an alias.
    const std::vector<std::string> table{
        with_password("*hunter2"),
        with_password("&hunter2"),
        with_password("!hunter2"),
        with_password("!hunter2 x"),
        with_password("@hunter2: x"),
        with_password("%hunter2 : x"),
        with_password("\"hunter2"),
        with_password("'hunter2"),
        with_password("\"hunter2\" hunter2"),
        with_password("\"\\hunter2\""),
        with_password("\"\\xhunter2\""),
        with_password("{hunter2"),
        with_password("{hunter2}"),
        with_password("hunter2: hunter2"),
        with_password("hunter2\n  hunter2"),
        with_password("hunter2\n\thunter2"),
        with_password("hunter2\x01"),
        with_password("hunter2\xff"),
        "databases: { shop: }\nusers: { app: hunter2 }",
        "databases: { shop: }\nusers: { app: {hunter2} }",
        "databases: { shop: }\nusers: { app: {password:hunter2} }",
        "databases: { shop: }\nusers:\n  app:\n    password:hunter2",
        "databases: { shop: 'host=x password=hunter2' }\nusers: { app: { password: x } }",
        "databases: { shop: { host: 'x password=hunter2' } }\nusers: { app: { password: x } }",
        "databases: { shop: { host: 'postgresql://a:hunter2@x' } }",
        "databases: { shop: { port: '5432 password=hunter2' } }",
        "databases: { shop: }\nusers: { app: { password: x, 'password:hunter2': 1 } }",
    };
    for (const auto& text : table) {
        CAPTURE(text);
        const auto says = errors_of(text);
        CHECK(says != "");
        CHECK(says.find("hunter2") == std::string::npos);
    }
}

TEST_CASE("secrets in a file that others may read are warned of, the first of them") {
    const world in{.environment = {{"SECRET", "x"}}, .files = {{"/secret", "x"}}};
    const std::string databases = "databases: { shop: { user: a, password: b } }\n";
    const auto warnings = [&](const std::string& text, bool open) {
        auto options = in.options();
        options.open_to_others = open;
        const auto result = parse(text, options);
        CHECK(result); // a warning, no error
        return lines(result.warnings());
    };
    const std::vector<std::string> none;
    const std::string what = "secrets stand in this file, which others may read: it should belong "
                             "to root (mode 0640 or less) or pgweir's user (0600 or less)";
    CHECK(warnings(databases + "users: { app: { password: x } }", true) ==
          std::vector<std::string>{"1:41: " + what});
    CHECK(warnings(databases + "users: { app: { password: x } }", false) == none);
    CHECK(warnings("users: { a: { password: env:SECRET }, b: { password: file:/secret } }\n"
                   "databases: { shop: }",
                   true) == none);
    const std::string verifier = "SCRAM-SHA-256$4096:QyY1e078GKZyCFGMsLKvrw==$J8K5do4xna10BmH5uXAem"
                                 "H3xSz6dlwAhu8cTfh+oBEc=:q0/Hxw29dXoiaYxPQG64/lekmxgt1ojEMPjW6KUP"
                                 "7Mo=";
    CHECK(warnings("databases: { shop: }\nusers: { app: { password: '" + verifier + "' } }",
                   true) == std::vector<std::string>{"2:27: " + what});
}

TEST_CASE("auth.mock_secret: from wherever a secret may come, and too long to be guessed") {
    const std::string sixteen = "0123456789abcdef";
    const world in{.environment = {{"LONG", sixteen}, {"SHORT", "hunter2"}},
                   .files = {{"/long", sixteen + "\n"}, {"/short", "hunter2-hunter2\n"}}};
    const auto with = [](const std::string& written) {
        return "databases: { shop: }\nusers: { app: { password: x } }\nauth:\n  mock_secret: " +
               written + "\n";
    };
    for (const auto& written : {sixteen, "env:LONG"s, "file:/long"s}) {
        CAPTURE(written);
        const auto result = parse(with(written), in.options());
        REQUIRE(result);
        CHECK(result.value().mock_secret.reveal() == sixteen);
    }
    for (const auto& written : {"hunter2"s, "env:SHORT"s, "file:/short"s, "''"s}) {
        CAPTURE(written);
        CHECK(lines(parse(with(written), in.options()).errors()) ==
              std::vector<std::string>{"4:16: auth.mock_secret must have at least 16 bytes"});
    }
    CHECK(parse("databases: { shop: }\nusers: { app: { password: x } }", in.options())
              .value()
              .mock_secret.empty());
}
