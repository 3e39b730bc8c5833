// What `pgweir check --user` says of a client.
#include "daemon/access_check.hpp"

#include "config/parse.hpp"

#include <doctest/doctest.h>

#include <string>
#include <vector>

using namespace pgweir;
using daemon::access_answer;

namespace {

config::configuration configured(const std::string& auth) {
    const auto made = config::parse("databases: { shop: }\nusers: { ann: { password: x } }\n"
                                    "auth:\n" +
                                        auth,
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
         "c.yaml:5: local all ann peer map=ops\nthe system has to say that the client is this "
         "user, or one that the map 'ops' makes into it\n"},
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
         "name is the user's\n"},
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
