// Lines of pg_hba.conf: what they come to, and what is wrong with them, where.
#include "config/hba.hpp"
#include "tests/config/support.hpp"

using namespace pgweir::config;
using namespace pgweir::config::testing;

namespace {

hba_result read(std::string_view text, const world& in = {}) {
    return parse_hba(text, "hba", in.options().read_file);
}

std::string shown(const hba_name& of) {
    using kind = hba_name::kind;
    switch (of.is) {
    case kind::all:
        return "ALL";
    case kind::same_user:
        return "SAMEUSER";
    case kind::same_role:
        return "SAMEROLE";
    case kind::replication:
        return "REPLICATION";
    case kind::group:
        return "GROUP " + of.text;
    case kind::name:
        return of.text;
    case kind::pattern:
        return "PATTERN " + of.pattern->text();
    }
    return {};
}

std::string shown(const std::vector<hba_name>& of) {
    std::string result;
    for (const auto& each : of) {
        result += (result.empty() ? "" : ",") + shown(each);
    }
    return result;
}

std::string shown(const ip_address& of) {
    std::string result;
    for (std::size_t i = 0; i < of.size_bytes; ++i) {
        result += (i == 0 ? "" : ".") + std::to_string(of.bytes[i]);
    }
    return result;
}

std::string shown(const hba_address& of) {
    if (const auto* range = std::get_if<network>(&of)) {
        return shown(range->address) + "&" + shown(range->mask);
    }
    if (const auto* host = std::get_if<named_host>(&of)) {
        return "HOST " + host->name;
    }
    return std::holds_alternative<same_host>(of)      ? "SAMEHOST"
           : std::holds_alternative<same_network>(of) ? "SAMENET"
                                                      : "ANY";
}

/// "databases | users | address | method", and options.
std::string shown(const hba_rule& of) {
    const auto certificate = of.certificate == client_certificate::not_asked   ? ""
                             : of.certificate == client_certificate::verify_ca ? " ca"
                                                                               : " full";
    return shown(of.databases) + " | " + shown(of.users) + " | " +
           (of.connection == hba_connection::local ? "" : shown(of.address) + " | ") +
           std::string(to_string(of.method)) + certificate +
           (of.name == certificate_name::subject ? " subject" : "") +
           (of.map.empty() ? "" : " map " + of.map);
}

} // namespace

TEST_CASE("lines that are understood") {
    const std::vector<std::pair<std::string, std::string>> table{
        {"local all all trust", "ALL | ALL | trust"},
        {"local all all peer", "ALL | ALL | peer"},
        {"local all all peer map=ops", "ALL | ALL | peer map ops"},
        {"local all all peer \"map=my ops\"", "ALL | ALL | peer map my ops"},
        {"local all all peer map=\"my ops\"", "ALL | ALL | peer map my ops"},
        {"local all all ident", "ALL | ALL | peer"},
        {"local all all reject", "ALL | ALL | reject"},
        {"local all all password", "ALL | ALL | password"},
        {"local all all md5", "ALL | ALL | md5"},
        {"local all all scram-sha-256", "ALL | ALL | scram-sha-256"},
        {"\tlocal\tall\tall\tmd5 # why", "ALL | ALL | md5"},
        {"local shop,\"all\",other ann,\"bob\" md5", "shop,all,other | ann,bob | md5"},
        {"local sameuser all md5", "SAMEUSER | ALL | md5"},
        {"local samerole all md5", "SAMEROLE | ALL | md5"},
        {"local samegroup all md5", "SAMEROLE | ALL | md5"},
        {"local replication all md5", "REPLICATION | ALL | md5"},
        {"local \"replication\",\"sameuser\" \"+x\" md5", "replication,sameuser | +x | md5"},
        {"local all +staff,+\"dev ops\" md5", "ALL | GROUP staff,GROUP dev ops | md5"},
        {"local all + md5", "ALL | GROUP  | md5"},
        {"local /^shop_ /^app_[0-9]+$ md5", "PATTERN ^shop_ | PATTERN ^app_[0-9]+$ | md5"},
        {"local \"/^(a|b),c$\" all md5", "PATTERN ^(a|b),c$ | ALL | md5"},
        {"local All ALL md5", "All | ALL | md5"}, // names: keywords are in lower case
        {"local sameuser sameuser md5", "SAMEUSER | sameuser | md5"},
        {"local \"\" all md5", " | ALL | md5"},
        {"host all all all md5", "ALL | ALL | ANY | md5"},
        {"host all all samehost md5", "ALL | ALL | SAMEHOST | md5"},
        {"host all all samenet md5", "ALL | ALL | SAMENET | md5"},
        {"host all all \"all\" md5", "ALL | ALL | HOST all | md5"},
        {"host all all 127.0.0.1/32 md5", "ALL | ALL | 127.0.0.1&255.255.255.255 | md5"},
        {"host all all 10.1.2.3/8 md5", "ALL | ALL | 10.1.2.3&255.0.0.0 | md5"},
        {"host all all 0.0.0.0/0 md5", "ALL | ALL | 0.0.0.0&0.0.0.0 | md5"},
        {"host all all 10.0.0.0/+8 md5", "ALL | ALL | 10.0.0.0&255.0.0.0 | md5"},
        {"host all all \"10.0.0.0/ \t+8\" md5", "ALL | ALL | 10.0.0.0&255.0.0.0 | md5"},
        {"host all all 10.0.0.0/008 md5", "ALL | ALL | 10.0.0.0&255.0.0.0 | md5"},
        {"host all all 10.0.0.0/-0 md5", "ALL | ALL | 10.0.0.0&0.0.0.0 | md5"},
        {"host all all 10.0.0.1/+32 md5", "ALL | ALL | 10.0.0.1&255.255.255.255 | md5"},
        {"host all all 10.0.0.0 255.0.0.0 md5", "ALL | ALL | 10.0.0.0&255.0.0.0 | md5"},
        {"host all all 10.0.0.0 255.0.255.0 md5", "ALL | ALL | 10.0.0.0&255.0.255.0 | md5"},
        {"host all all ::1/128 md5", "ALL | ALL | 0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.1&255.255.255.255."
                                     "255.255.255.255.255.255.255.255.255.255.255.255 | md5"},
        {"host all all ::/0 md5", "ALL | ALL | 0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0&0.0.0.0.0.0.0.0.0.0."
                                  "0.0.0.0.0.0 | md5"},
        {"host all all fe80:: ffff:: md5", "ALL | ALL | 254.128.0.0.0.0.0.0.0.0.0.0.0.0.0.0&255."
                                           "255.0.0.0.0.0.0.0.0.0.0.0.0.0.0 | md5"},
        {"host all all localhost md5", "ALL | ALL | HOST localhost | md5"},
        {"host all all app.example.com md5", "ALL | ALL | HOST app.example.com | md5"},
        {"host all all .example.com md5", "ALL | ALL | HOST .example.com | md5"},
        {"hostssl all all all cert", "ALL | ALL | ANY | cert full"},
        {"hostssl all all all cert map=m", "ALL | ALL | ANY | cert full map m"},
        {"hostssl all all all cert clientname=DN map=m",
         "ALL | ALL | ANY | cert full subject map m"},
        {"hostssl all all all md5 clientcert=verify-full,clientname=DN",
         "ALL | ALL | ANY | md5 full subject"},
        {"hostssl all all all cert clientcert=verify-full", "ALL | ALL | ANY | cert full"},
        {"hostssl all all all md5 clientcert=verify-ca", "ALL | ALL | ANY | md5 ca"},
        {"hostssl all all all md5 clientcert=verify-full", "ALL | ALL | ANY | md5 full"},
        {"hostssl all all all trust clientcert=verify-ca,clientname=CN", "ALL | ALL | ANY | trust "
                                                                         "ca"},
        {"hostnossl all all all reject", "ALL | ALL | ANY | reject"},
        {"hostgssenc all all all md5", "ALL | ALL | ANY | md5"},
        {"hostnogssenc all all all md5", "ALL | ALL | ANY | md5"},
        {"host all all all \\\n  md5", "ALL | ALL | ANY | md5"},
        {"\"local\" all all \"md5\"", "ALL | ALL | md5"}, // as PostgreSQL takes it
    };
    CHECK(table.size() >= 45);
    for (const auto& each : table) {
        CAPTURE(each.first);
        const auto made = read(each.first);
        CHECK(joined(lines(made.problems)) == "");
        REQUIRE(made.rules.size() == 1);
        CHECK(shown(made.rules[0]) == each.second);
    }
}

TEST_CASE("lines that are refused, and where") {
    const std::string methods = "trust, reject, password, md5, scram-sha-256, cert, peer";
    const std::vector<std::pair<std::string, std::string>> table{
        {"lokal all all md5", "1:1: the type of connection must be one of local, host, hostssl, "
                              "hostnossl, hostgssenc, hostnogssenc, not 'lokal'"},
        {"HOST all all all md5", "1:1: the type of connection must be one of local, host, hostssl, "
                                 "hostnossl, hostgssenc, hostnogssenc, not 'HOST'"},
        {"local,host all all md5", "1:1: the type of connection must be one word, not a list"},
        {"local", "1:6: the line ends where a database should follow"},
        {"local all", "1:10: the line ends where a user should follow"},
        {"local all all", "1:14: the line ends where the method should follow"},
        {"local all all # md5", "1:14: the line ends where the method should follow"},
        {"host all all", "1:13: the line ends where an address should follow"},
        {"host all all md5", "1:17: the line ends where the method should follow"},
        {"host all all all", "1:17: the line ends where the method should follow"},
        {"host all all 10.0.0.0", "1:22: the line ends where the mask of the address should "
                                  "follow"},
        {"host all all 10.0.0.0 md5", "1:23: the address needs a mask behind it, or /32 or so, not "
                                      "'md5'"},
        {"host all all 10.0.0.0/8 255.0.0.0 md5",
         "1:25: '255.0.0.0' is no method; there are " + methods},
        {"host all all 10.0.0.0/33 md5",
         "1:14: a number from 0 to 32 must follow the / of the address"},
        {"host all all 10.0.0.0/ md5",
         "1:14: a number from 0 to 32 must follow the / of the address"},
        {"host all all 10.0.0.0/+ md5",
         "1:14: a number from 0 to 32 must follow the / of the address"},
        {"host all all 10.0.0.0/+33 md5",
         "1:14: a number from 0 to 32 must follow the / of the address"},
        {"host all all 10.0.0.0/+-8 md5",
         "1:14: a number from 0 to 32 must follow the / of the address"},
        {"host all all 10.0.0.0/8x md5",
         "1:14: a number from 0 to 32 must follow the / of the address"},
        {"host all all 10.0.0.0/0x8 md5",
         "1:14: a number from 0 to 32 must follow the / of the address"},
        {"host all all \"10.0.0.0/ \" md5",
         "1:14: a number from 0 to 32 must follow the / of the address"},
        {"host all all \"10.0.0.0/8 \" md5",
         "1:14: a number from 0 to 32 must follow the / of the address"},
        {"host all all \"10.0.0.0/+ 8\" md5",
         "1:14: a number from 0 to 32 must follow the / of the address"},
        {"host all all 10.0.0.0/4294967304 md5",
         "1:14: a number from 0 to 32 must follow the / of the address"},
        {"host all all 10.0.0.0/-99999999999999999999 md5",
         "1:14: a number from 0 to 32 must follow the / of the address"},
        {"host all all 10.0.0.0/-1 md5",
         "1:14: a number from 0 to 32 must follow the / of the address"},
        {"host all all 10.0.0.0/8/8 md5",
         "1:14: a number from 0 to 32 must follow the / of the address"},
        {"host all all 10.0.0.0/99999999999999999999 md5",
         "1:14: a number from 0 to 32 must follow the / of the address"},
        {"host all all ::1/129 md5",
         "1:14: a number from 0 to 128 must follow the / of the address"},
        {"host all all 10.0.0.0 ffff:: md5",
         "1:23: the mask is not of the same family as the address"},
        {"host all all 10.0.0.0,11.0.0.0 md5", "1:14: an address must be one word, not a list"},
        {"host all all 300.0.0.1/8 md5", "1:14: neither an address, nor all, samehost, samenet, "
                                         "nor a host name, not '300.0.0.1'"},
        {"host all all 10.1 md5", "1:14: neither an address, nor all, samehost, samenet, nor a "
                                  "host name, not '10.1'"},
        {"host all all \"\" md5", "1:14: neither an address, nor all, samehost, samenet, nor a "
                                  "host name"},
        {"host all all fe80::1%eth0 md5", "1:14: neither an address, nor all, samehost, samenet, "
                                          "nor a host name"},
        {"host all all /tmp md5", "1:14: neither an address, nor all, samehost, samenet, nor a "
                                  "host name"},
        {"host all all localhost/8 md5", "1:14: a host name takes no mask"},
        {"host all all .example.com/8 md5", "1:14: a host name takes no mask"},
        {"local all all scram", "1:15: 'scram' is no method; there are " + methods},
        {"local all all MD5", "1:15: 'MD5' is no method; there are " + methods},
        {"local all all md5,trust", "1:15: the method must be one word, not a list"},
        {"local all all krb5", "1:15: 'krb5' is no method; there are " + methods},
        {"host all all all ident",
         "1:18: pgweir does not have the method 'ident'; it has " + methods},
        {"host all all all ldap ldapserver=x",
         "1:18: pgweir does not have the method 'ldap'; it has " + methods},
        {"host all all all gss", "1:18: pgweir does not have the method 'gss'; it has " + methods},
        {"host all all all sspi",
         "1:18: pgweir does not have the method 'sspi'; it has " + methods},
        {"host all all all pam", "1:18: pgweir does not have the method 'pam'; it has " + methods},
        {"host all all all bsd", "1:18: pgweir does not have the method 'bsd'; it has " + methods},
        {"host all all all radius",
         "1:18: pgweir does not have the method 'radius'; it has " + methods},
        {"host all all all peer", "1:18: the method peer is for local only"},
        {"hostssl all all all peer", "1:21: the method peer is for local only"},
        {"local all all cert", "1:15: the method cert is for hostssl only"},
        {"host all all all cert", "1:18: the method cert is for hostssl only"},
        {"hostnossl all all all cert", "1:23: the method cert is for hostssl only"},
        {"local all all md5 map", "1:19: an option is name=value, not 'map'"},
        {"local all all peer map = x", "1:20: an option is name=value, not 'map'"},
        {"local all all md5 map=x", "1:19: map is for the methods cert and peer"},
        {"local all all trust map=x", "1:21: map is for the methods cert and peer"},
        {"local all all md5 clientcert=verify-ca", "1:19: clientcert is for hostssl only"},
        {"host all all all md5 clientcert=verify-ca", "1:22: clientcert is for hostssl only"},
        {"hostssl all all all md5 clientcert=1",
         "1:25: clientcert must be verify-ca or verify-full, not '1'"},
        {"hostssl all all all md5 clientcert=no-verify",
         "1:25: clientcert must be verify-ca or verify-full, not 'no-verify'"},
        {"hostssl all all all cert clientcert=verify-ca",
         "1:26: clientcert must be verify-full with the method cert"},
        {"hostssl all all all cert clientname=dn", "1:26: clientname must be CN or DN, not 'dn'"},
        {"host all all all md5 clientname=CN", "1:22: clientname is for hostssl only"},
        {"local all all md5 foo=bar",
         "1:19: unknown option; there are map, clientcert and clientname, not 'foo'"},
        {"local all all md5 =x", "1:19: unknown option; there are map, clientcert and clientname"},
        {"local all all peer include_realm=1",
         "1:20: unknown option; there are map, clientcert and clientname, not 'include_realm'"},
        {"local all \"ann md5", "1:11: the closing quote is missing"},
        {"local / all md5", "1:7: the pattern of a database is refused: nothing follows the /"},
        {"local all ann,/( md5", "1:15: the pattern of a user is refused: a ( has no )"},
        {"include other file", "1:1: the type of connection must be one of local, host, hostssl, "
                               "hostnossl, hostgssenc, hostnogssenc, not 'include'"},
        {"local all all \\\n  md6", "2:3: 'md6' is no method; there are " + methods},
        {"# ok\nlocal all all md5\n\n  x\nlocal all all y",
         "4:3: the type of connection must be one of local, host, hostssl, hostnossl, hostgssenc, "
         "hostnogssenc, not 'x'\nhba:5:15: 'y' is no method; there are " +
             methods},
    };
    CHECK(table.size() >= 60);
    for (const auto& each : table) {
        CAPTURE(each.first);
        // A quote that is not closed makes what follows wrong, too.
        const auto says = joined(lines(read(each.first).problems));
        CHECK(says.substr(0, each.second.size() + 5) == "hba:" + each.second + "\n");
    }
}

TEST_CASE("where a rule stands") {
    const world in{.environment = {}, .files = {{"more", "\nlocal all ann md5 # ann\n"}}};
    const auto made = read("# x\nlocal all all \\\n trust\ninclude more\n", in);
    CHECK(joined(lines(made.problems)) == "");
    REQUIRE(made.rules.size() == 2);
    CHECK(made.rules[0].file == "hba");
    CHECK(made.rules[0].line == 2);
    CHECK(made.rules[0].text == "local all all  trust");
    CHECK(made.rules[1].file == "more");
    CHECK(made.rules[1].line == 2);
    CHECK(made.rules[1].text == "local all ann md5 # ann");
}

TEST_CASE("lists from files") {
    const world in{.environment = {},
                   .files = {{"users", "ann\n+staff, \"+x\"\nall\n"}, {"none", ""}}};
    const auto made = read("local all bob,@users md5\nlocal @none all md5", in);
    CHECK(joined(lines(made.problems)) == "");
    REQUIRE(made.rules.size() == 2);
    CHECK(shown(made.rules[0]) == "ALL | bob,ann,GROUP staff,+x,ALL | md5");
    CHECK(shown(made.rules[1]) == " | ALL | md5"); // matches nobody
    CHECK(joined(lines(read("local all @missing md5", in).problems)) ==
          "hba:1:11: the file 'missing' cannot be read\n");
}

TEST_CASE("a file cut off at any byte is read or refused") {
    const std::string whole =
        "local \"a b\",all /^x$,+y peer map=m\\\n\nhostssl all all 10.0.0.0/8 "
        "cert\nhost all all ::1 ffff:: md5\n";
    for (std::size_t size = 0; size <= whole.size(); ++size) {
        CAPTURE(size);
        const auto made = read(std::string_view(whole).substr(0, size));
        CHECK(made.rules.size() <= 3);
        CHECK(made.problems.size() <= 2);
    }
}

TEST_CASE("problems are told up to a bound") {
    std::string text;
    for (int i = 0; i < 1000; ++i) {
        text += "local all\n";
    }
    CHECK(read(text).problems.size() == 100);
}
