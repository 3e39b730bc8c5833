// What `pgweir check --user` says of a client.
#include "daemon/access_check.hpp"

#include "config/parse.hpp"

#include <doctest/doctest.h>

#include <string>
#include <string_view>
#include <vector>

using namespace pgweir;
using daemon::access_answer;

namespace {

const std::string with_tls = "certificate: c, key: k, ca: a";

config::configuration configured(const std::string& auth, const std::string& tls = with_tls) {
    const auto made = config::parse(
        "databases: { shop: , ann: , x: , eve: , bob: }\n"
        "users: { ann: { password: x }, bob: { password: x }, eve: { password: x } }\n"
        "auth:\n" +
            auth + "tls: { " + tls + " }\n",
        {});
    REQUIRE(made);
    return made.value();
}

} // namespace

TEST_CASE("which line counts, what it asks for, and the exit code") {
    const auto of =
        configured("  hba:\n"
                   "    - local all ann peer map=ops\n"
                   "    - local all all md5\n"
                   "    - hostssl shop ann 10.0.0.0/8 scram-sha-256 clientcert=verify-ca\n"
                   "    - host all bob all reject\n"
                   "    - host all +staff all trust\n"
                   "    - host all all app.example.com password\n"
                   "    - hostssl all all all cert\n");
    struct row {
        daemon::access_question question;
        access_answer answer;
        std::string text;
    };
    const std::vector<std::string> none;
    const std::vector<row> table{
        {{.user = "ann"},
         access_answer::let_in,
         "c.yaml:5: local all ann peer map=ops\nthe system has to say that the client is one "
         "that the map 'ops' makes the user\n"},
        {{.user = "eve", .database = "x"},
         access_answer::let_in,
         "c.yaml:6: local all all md5\nthe client has to prove with MD5 that it knows the "
         "password, or with SCRAM where only a verifier of it is known\n"},
        {{.user = "ann", .database = "shop", .address = "10.1.1.1", .tls = true},
         access_answer::let_in,
         "c.yaml:7: hostssl shop ann 10.0.0.0/8 scram-sha-256 clientcert=verify-ca\nthe client has "
         "to prove with SCRAM that it knows the password, and has to have a certificate that the "
         "CA has signed\n"},
        {{.user = "bob", .address = "::1"},
         access_answer::refused,
         "c.yaml:8: host all bob all reject\nthe client is refused\n"},
        {{.user = "eve", .address = "10.1.1.1", .host_name = ""},
         access_answer::unknown,
         "it depends on whether the user is in one of these groups: staff (--member-of)\n"},
        {{.user = "eve", .address = "10.1.1.1", .groups = std::vector<std::string>{"x", "staff"}},
         access_answer::let_in,
         "c.yaml:9: host all +staff all trust\nthe client is let in without any proof\n"},
        {{.user = "eve", .address = "10.1.1.1", .groups = none, .host_name = "app.example.com"},
         access_answer::let_in,
         "c.yaml:10: host all all app.example.com password\nthe client has to send the password, "
         "in clear text\n"},
        {{.user = "eve", .address = "10.1.1.1", .groups = none, .host_name = "x"},
         access_answer::refused,
         "no line matches: the client is refused\n"},
        {{.user = "eve", .address = "10.1.1.1", .tls = true, .groups = none, .host_name = "x"},
         access_answer::let_in,
         "c.yaml:11: hostssl all all all cert\nthe client has to have a certificate whose common "
         "name is the user\n"},
        {{.user = "ann", .replication = true},
         access_answer::refused,
         "no line matches: the client is refused\n"},
        {{.user = "ann", .address = "somewhere"},
         access_answer::error,
         "the address must be an IPv4 or IPv6 address, or local\n"},
    };
    for (const auto& each : table) {
        CAPTURE(each.text);
        const auto made = daemon::explain_access(of, "c.yaml", each.question);
        CHECK(made.answer == each.answer);
        CHECK(made.text == each.text);
    }
}

TEST_CASE("without access rules") {
    const auto made =
        daemon::explain_access(configured("  method: password\n"), "c.yaml", {.user = "ann"});
    CHECK(made.answer == access_answer::let_in);
    CHECK(made.text ==
          "there are no access rules: auth.method counts for everybody\nthe client has "
          "to send the password, in clear text\n");
}

TEST_CASE("what no line can change") {
    const std::string rules = "  hba: [ host all all all trust, local all all trust ]\n";
    const auto told = [](const config::configuration& of, const daemon::access_question& question) {
        const auto made = daemon::explain_access(of, "c.yaml", question);
        const auto words = made.text.find("without any proof\n");
        REQUIRE(words != std::string::npos);
        auto rest = made.text.substr(words + std::string_view("without any proof\n").size());
        const bool nothing = rest.find_first_not_of('\n') == std::string::npos;
        CHECK(made.answer == (nothing ? access_answer::let_in : access_answer::refused));
        return rest;
    };
    const daemon::access_question tcp{.user = "ann", .address = "10.1.1.1"};
    const daemon::access_question tls{.user = "ann", .address = "10.1.1.1", .tls = true};
    const std::string none =
        "no client has TLS: there is no tls.certificate, or tls.mode is disable\n";
    CHECK(told(configured(rules), tcp).empty());
    CHECK(told(configured(rules), tls).empty());
    CHECK(told(configured(rules, ""), tcp).empty());
    CHECK(told(configured(rules, ""), tls) == none);
    CHECK(told(configured(rules, "mode: disable, " + with_tls), tls) == none);
    const auto required = configured(rules, "mode: require, " + with_tls);
    CHECK(told(required, tls).empty());
    CHECK(told(required, tcp) == "tls.mode lets nobody in over TCP without TLS\n");
    CHECK(told(required, {.user = "ann"}).empty());
    CHECK(told(configured(rules), {.user = "otto", .database = "shop"}) ==
          "there is no such user: neither in users nor in auth.userlist\n");
    CHECK(told(configured(rules), {.user = "ann", .database = "otto"}) ==
          "there is no such database\n");
    CHECK(told(configured(rules), {.user = "ann", .database = "pgbouncer"}).empty());
    CHECK(told(configured("  query_user: ann\n" + rules), {.user = "otto", .database = "shop"})
              .empty());
    CHECK(told(configured("  method: trust\n"), {.user = "otto", .database = "shop"}) ==
          "there is no such user: neither in users nor in auth.userlist\n");
}
