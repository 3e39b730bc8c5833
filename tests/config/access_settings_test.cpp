// auth.hba and its kin in the configuration: where they come from, what is wrong, what a reload
// sees.
#include "config/difference.hpp"
#include "tests/config/support.hpp"

using namespace pgweir::config;
using namespace pgweir::config::testing;

namespace {

const std::string databases = "databases: { shop: }\nusers: { app: { password: x } }\n";

} // namespace

TEST_CASE("without access rules the method counts") {
    const auto made = good(databases);
    CHECK(made.hba_rules.empty());
    CHECK(made.ident_lines.empty());
    CHECK(good(databases + "auth: { hba: [], hba_file: '', ident: [], ident_file: '' }") == made);
}

TEST_CASE("access rules in the configuration") {
    const auto made = good(databases + "auth:\n"
                                       "  hba:\n"
                                       "    - hostssl all all 10.0.0.0/8 scram-sha-256\n"
                                       "    - '# a comment'\n"
                                       "    - local all /^a peer map=ops\n"
                                       "  ident:\n"
                                       "    - ops root app\n");
    REQUIRE(made.hba_rules.size() == 2);
    CHECK(made.hba_rules[0].method == hba_method::scram_sha_256);
    CHECK(made.hba_rules[0].file.empty());
    CHECK(made.hba_rules[0].line == 5);
    CHECK(made.hba_rules[1].line == 7);
    CHECK(made.hba_rules[1].text == "local all /^a peer map=ops");
    REQUIRE(made.ident_lines.size() == 1);
    CHECK(made.ident_lines[0].user == "app");
}

TEST_CASE("access rules in files, beside the configuration") {
    const world in{.environment = {},
                   .files = {{"/etc/pgweir/hba/main.conf", "local all @users peer map=m\n"},
                             {"/etc/pgweir/hba/users", "ann bob\n"},
                             {"/etc/pgweir/ident", "m a ann\n"}}};
    const auto made = parse(databases + "auth: { hba_file: hba/main.conf, ident_file: ident }",
                            in.options("/etc/pgweir"));
    INFO(joined(lines(made.errors())));
    REQUIRE(made);
    CHECK(made.warnings().empty());
    REQUIRE(made.value().hba_rules.size() == 1);
    CHECK(made.value().hba_rules[0].users.size() == 2);
    CHECK(made.value().hba_rules[0].file == "hba/main.conf");
    CHECK(made.value().ident_lines.size() == 1);
}

TEST_CASE("what is wrong with them, and where") {
    const world in{.environment = {},
                   .files = {{"bad", "local all all md5\nlocal all all krb5\n"},
                             {"empty", "# nothing\n"},
                             {"hba", "local all all md5\n"}}};
    const std::string methods = "trust, reject, password, md5, scram-sha-256, cert, peer";
    const std::vector<std::pair<std::string, std::string>> table{
        {"hba: [local all all md5, local all]",
         "3:34: auth.hba: the line ends where a user should follow\n"},
        {"hba: [local all @missing md5]", "3:15: auth.hba: the file 'missing' cannot be read\n"},
        {"hba: [local all @bad md5,'include bad']",
         "bad:2:15: 'krb5' is no method; there are " + methods + "\n"},
        {"hba: local all all md5",
         "3:14: auth.hba must be a list such as ['local all all peer'], not a single value\n"},
        {"hba: [[local]]", "3:15: a line in auth.hba must be a text\n"},
        {"hba: ['']", "3:15: a line in auth.hba must not be empty\n"},
        {"hba: ['# x']", "3:14: the access rules have no line: nobody could log in\n"},
        {"hba_file: missing", "3:19: auth.hba_file is the file 'missing', which cannot be read\n"},
        {"hba_file: empty", "3:19: the access rules have no line: nobody could log in\n"},
        {"hba_file: bad", "bad:2:15: 'krb5' is no method; there are " + methods + "\n"},
        {"hba_file: hba, hba: [local all all md5]",
         "3:19: auth.hba and auth.hba_file exclude each other\n"},
        {"ident_file: missing",
         "3:21: auth.ident_file is the file 'missing', which cannot be read\n"},
        {"ident: [a b]", "3:17: auth.ident: a map, a name of the system's and a user are "
                         "needed\n"},
        {"ident_file: hba, ident: [a b c]",
         "3:21: auth.ident and auth.ident_file exclude each other\n"},
    };
    for (const auto& each : table) {
        CAPTURE(each.first);
        CHECK(errors_of(databases + "auth: { " + each.first + " }", in) == each.second);
    }
}

TEST_CASE("a map that is not there") {
    const auto made = parse(databases + "auth: { hba: [local all all peer map=no] }", {});
    REQUIRE(made);
    CHECK(lines(made.warnings()) ==
          std::vector<std::string>{"3:14: no line of auth.ident or auth.ident_file has the map "
                                   "'no': this rule lets nobody in"});
}

TEST_CASE("rules that need no secrets") {
    const std::string nobody = "databases: { shop: }\nauth: { hba: [";
    CHECK(errors_of(nobody + "local all all md5] }") ==
          "1:1: nobody could log in: give users, auth.userlist or auth.query_user\n");
    CHECK(errors_of(nobody + "local all all peer] }") == "");
    CHECK(errors_of(nobody + "hostssl all all all cert] }") == "");
    // The method that does not count warns of nothing.
    CHECK(parse("listen: [{ address: 0.0.0.0 }]\nauth: { method: trust, hba: [local all all md5] "
                "}\n" +
                    databases,
                {})
              .warnings()
              .empty());
}

TEST_CASE("what a reload sees") {
    world in{.environment = {}, .files = {{"hba", "local all all md5\n"}, {"id", "m a b\n"}}};
    const auto text = databases + "auth: { hba_file: hba, ident_file: id }";
    const auto before = good(text, in);
    CHECK(compare(before, good(text, in)).lines().empty());

    in.files["hba"] = "# moved\n\nlocal all all md5\n";
    CHECK(compare(before, good(text, in)).lines().empty());

    in.files["hba"] = "local all all trust\n";
    in.files["id"] = "m a b\nm a c\n";
    CHECK(compare(before, good(text, in)).lines() ==
          std::vector<std::string>{"auth.hba_file (its content): changed",
                                   "auth.ident_file (its content): 1 lines -> 2 lines"});
    CHECK(!compare(before, good(text, in)).needs_restart());
    CHECK(after_reload(before, good(text, in)).hba_rules[0].method == hba_method::trust);

    const auto inlined = good(databases + "auth: { hba: [local all all md5] }", in);
    CHECK(compare(before, inlined).lines() ==
          std::vector<std::string>{"auth.hba: [] -> [local all all md5]",
                                   "auth.hba_file: hba -> (none)",
                                   "auth.ident_file: id -> (none)"});
}

TEST_CASE("lines that need TLS, or an authority, which there is not, are warned of") {
    const world in{.environment = {},
                   .files = {{"hba", "local all all peer\nhostssl all all all cert\n"}}};
    const auto warnings = [&](const std::string& auth, const std::string& tls) {
        const auto result =
            parse("databases: { shop: }\nusers: { app: { password: x } }\nauth:\n" + auth + tls,
                  in.options());
        CHECK(result);
        return lines(result.warnings());
    };
    const std::string hba = "  hba: ['host all all all md5', 'hostssl all all all md5']\n";
    const std::string cert = "  hba:\n    - hostssl all all all cert\n"
                             "    - hostssl all all all md5 clientcert=verify-ca\n";
    const std::string tls = "tls: { certificate: a, key: b }\n";
    const std::string no_tls =
        ": hostssl matches nobody: there is no TLS (tls.certificate, tls.mode)";
    const std::string no_ca =
        ": clients' certificates cannot be checked without tls.ca: this rule lets nobody in";
    using list = std::vector<std::string>;
    CHECK(warnings(hba, tls) == list{});
    CHECK(warnings(hba, "") == list{"4:33" + no_tls});
    CHECK(warnings(hba, "tls: { certificate: a, key: b, mode: disable }\n") ==
          list{"4:33" + no_tls});
    CHECK(warnings(cert, tls) == list{"5:7" + no_ca, "6:7" + no_ca});
    CHECK(warnings(cert, "tls: { certificate: a, key: b, ca: c }\n") == list{});
    CHECK(warnings(cert, "") == list{"5:7" + no_tls, "6:7" + no_tls});
    CHECK(warnings("  hba_file: hba\n", tls) == list{"hba:2:1" + no_ca});
    CHECK(warnings("  hba_file: hba\n", "") == list{"hba:2:1" + no_tls});
}
