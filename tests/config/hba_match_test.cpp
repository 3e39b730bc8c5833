// Which line counts for whom, and what has to be known for that.
#include "config/hba.hpp"
#include "tests/config/support.hpp"

#include <map>

using namespace pgweir::config;
using namespace pgweir::config::testing;

namespace {

std::vector<hba_rule> rules(std::string_view text) {
    auto made = parse_hba(text, "hba", {});
    INFO(joined(lines(made.problems)));
    REQUIRE(made.problems.empty());
    return made.rules;
}

struct client {
    std::string database = "shop";
    std::string user = "ann";
    std::string address = "10.0.0.7"; // empty: a Unix socket
    bool tls = false;
    bool replication = false;

    [[nodiscard]] hba_request request() const {
        return {.database = database,
                .user = user,
                .physical_replication = replication,
                .address = address.empty() ? std::nullopt : read_address(address),
                .tls = tls};
    }
};

/// The number of the line that counts, 0: none, "? groups, host" where it cannot be told.
std::string line_for(std::string_view text, const client& who, const hba_facts& facts = {}) {
    const auto list = rules(text);
    const auto made = decide(list, who.request(), facts);
    if (made.decided()) {
        return std::to_string(made.rule == nullptr ? 0 : made.rule->line);
    }
    CHECK(made.rule == nullptr);
    std::string result = "?";
    for (const auto& group : made.groups) {
        result += " " + group;
    }
    return result + (made.host_name ? " host" : "");
}

hba_facts member_of(const std::map<std::string, bool>& groups) {
    hba_facts facts;
    facts.is_member = [groups](std::string_view group) -> std::optional<bool> {
        const auto found = groups.find(std::string(group));
        return found == groups.end() ? std::nullopt : std::optional(found->second);
    };
    return facts;
}

} // namespace

TEST_CASE("one line, and who it is for") {
    struct row {
        std::string line;
        client who;
        bool matches;
    };
    const std::vector<row> table{
        {"local all all md5", {.address = ""}, true},
        {"local all all md5", {}, false},
        {"host all all all md5", {}, true},
        {"host all all all md5", {.address = "::1"}, true},
        {"host all all all md5", {.tls = true}, true},
        {"host all all all md5", {.address = ""}, false},
        {"hostssl all all all md5", {.tls = true}, true},
        {"hostssl all all all md5", {}, false},
        {"hostssl all all all md5", {.address = "", .tls = true}, false},
        {"hostnossl all all all md5", {}, true},
        {"hostnossl all all all md5", {.tls = true}, false},
        {"hostgssenc all all all md5", {.tls = true}, false},
        {"hostgssenc all all all md5", {}, false},
        {"hostnogssenc all all all md5", {.tls = true}, true},
        {"hostnogssenc all all all md5", {}, true},
        {"host shop all all md5", {}, true},
        {"host Shop all all md5", {}, false},
        {"host sho all all md5", {}, false},
        {"host x,shop all all md5", {}, true},
        {"host \"all\" all all md5", {}, false},
        {"host \"all\" all all md5", {.database = "all"}, true},
        {"host sameuser all all md5", {}, false},
        {"host sameuser all all md5", {.database = "ann"}, true},
        {"host samerole all all md5", {.database = "ann"}, true},
        {"host /^sh all all md5", {}, true},
        {"host /^h all all md5", {}, false},
        {"host all ann all md5", {}, true},
        {"host all \"ann\" all md5", {}, true},
        {"host all bob,ann all md5", {}, true},
        {"host all bob all md5", {}, false},
        {"host all an all md5", {}, false},
        {"host all \"all\" all md5", {}, false},
        {"host all \"+ann\" all md5", {}, false},
        {"host all +ann all md5", {}, true}, // everybody is in the group of their own name
        {"host all /^a.n$ all md5", {}, true},
        {"host all /b all md5", {}, false},
        {"host replication all all md5", {}, false},
        {"host replication all all md5", {.replication = true}, true},
        {"host all all all md5", {.replication = true}, false},
        {"host shop all all md5", {.replication = true}, false},
        {"host sameuser all all md5", {.database = "ann", .replication = true}, false},
        {"host /. all all md5", {.replication = true}, false},
        {"host \"replication\" all all md5", {.replication = true}, false},
        {"host \"replication\" all all md5", {.database = "replication"}, true},
        {"host replication all all md5", {.database = "replication"}, false},
        {"host all,replication all all md5", {.replication = true}, true},
        {"host all all 10.0.0.0/8 md5", {}, true},
        {"host all all 10.0.0.7/32 md5", {}, true},
        {"host all all 10.0.0.6/32 md5", {}, false},
        {"host all all 10.0.0.6/31 md5", {}, true},
        {"host all all 10.0.0.0 255.0.0.0 md5", {}, true},
        {"host all all 0.0.0.0/0 md5", {}, true},
        {"host all all 0.0.0.0/0 md5", {.address = "::1"}, false},
        {"host all all ::/0 md5", {}, false},
        {"host all all ::/0 md5", {.address = "fe80::1"}, true},
        // A socket for both families shows IPv4 clients like this.
        {"host all all 10.0.0.0/8 md5", {.address = "::ffff:10.0.0.7"}, true},
        {"host all all ::/0 md5", {.address = "::ffff:10.0.0.7"}, false},
    };
    for (const auto& each : table) {
        CAPTURE(each.line);
        CAPTURE(each.who.address);
        CAPTURE(each.who.database);
        CHECK(line_for(each.line, each.who) == (each.matches ? "1" : "0"));
    }
}

TEST_CASE("the first that matches counts, and none refuses") {
    const auto* const text = "host shop bob all trust\n"
                             "host all ann 10.0.0.0/8 reject\n"
                             "host all ann all md5\n"
                             "local all all peer\n";
    CHECK(line_for(text, {}) == "2");
    CHECK(line_for(text, {.address = "11.0.0.1"}) == "3");
    CHECK(line_for(text, {.user = "bob"}) == "1");
    CHECK(line_for(text, {.database = "x", .user = "bob"}) == "0");
    CHECK(line_for(text, {.user = "bob", .address = ""}) == "4");
    CHECK(line_for("# nothing", {}) == "0");
}

TEST_CASE("this machine's own addresses") {
    hba_facts facts;
    facts.own_networks = {{*read_address("10.0.0.1"), *read_address("255.255.255.0")},
                          {*read_address("127.0.0.1"), *read_address("255.0.0.0")},
                          {*read_address("fe80::1"), *read_address("ffff:ffff:ffff:ffff::")}};
    const auto* const host = "host all all samehost md5";
    const auto* const net = "host all all samenet md5";
    struct row {
        std::string address, host, net;
    };
    const std::vector<row> table{
        {"10.0.0.1", "1", "1"},        {"10.0.0.2", "0", "1"}, {"10.0.1.1", "0", "0"},
        {"127.9.9.9", "0", "1"},       {"fe80::1", "1", "1"},  {"fe80::2", "0", "1"},
        {"::ffff:10.0.0.1", "1", "1"},
    };
    for (const auto& each : table) {
        CAPTURE(each.address);
        CHECK(line_for(host, {.address = each.address}, facts) == each.host);
        CHECK(line_for(net, {.address = each.address}, facts) == each.net);
    }
    CHECK(line_for(net, {}) == "0"); // none known
}

TEST_CASE("host names") {
    const auto* const text = "host all all app.example.com md5\nhost all all .example.org md5\n";
    CHECK(line_for(text, {}) == "? host");
    hba_facts facts;
    const std::vector<std::pair<std::string, std::string>> table{
        {"app.example.com", "1"},   {"APP.Example.COM", "1"},
        {"x.app.example.com", "0"}, {"app.example.comm", "0"},
        {"a.example.org", "2"},     {"a.b.EXAMPLE.org", "2"},
        {"example.org", "0"},       {".example.org", "0"},
        {"badexample.org", "0"},    {"", "0"},
    };
    for (const auto& each : table) {
        CAPTURE(each.first);
        facts.host_name = each.first;
        CHECK(line_for(text, {}, facts) == each.second);
    }
}

TEST_CASE("groups") {
    const auto* const text = "host all +staff all md5\nhost samerole all all scram-sha-256\n";
    CHECK(line_for(text, {}) == "? staff shop");
    CHECK(line_for(text, {}, member_of({{"staff", true}})) == "1");
    CHECK(line_for(text, {}, member_of({{"staff", false}})) == "? shop");
    CHECK(line_for(text, {}, member_of({{"staff", false}, {"shop", true}})) == "2");
    CHECK(line_for(text, {}, member_of({{"staff", false}, {"shop", false}})) == "0");
}

TEST_CASE("what is not known lets nobody past") {
    // A refusal that cannot be decided must not be stepped over.
    const auto* const text = "host all +banned all reject\nhost all all all trust\n";
    CHECK(line_for(text, {}) == "? banned");
    CHECK(line_for(text, {}, member_of({{"banned", false}})) == "2");
    CHECK(line_for(text, {}, member_of({{"banned", true}})) == "1");
    CHECK(line_for("host all all .bad.example reject\nhost all all all trust", {}) == "? host");
}

TEST_CASE("a peer's name is wanted as soon as one of the lines it may come to says peer") {
    struct row {
        std::string text;
        bool wants;
        client who;
    };
    const client local{.address = ""};
    for (const auto& each :
         {row{"local all all peer", true, local}, row{"local all +staff peer", true, local},
          row{"local all +banned reject\nlocal all all peer", true, local},
          row{"local all +staff peer\nlocal all all md5", true, local},
          row{"local all all md5\nlocal all all peer", false, local},
          row{"local all bob peer\nlocal all all md5", false, local},
          row{"local all all peer\nhost all all all md5", false, client{}}}) {
        CAPTURE(each.text);
        CHECK(decide(rules(each.text), each.who.request(), {}).peer_name == each.wants);
    }
}

TEST_CASE("only what matters is asked for") {
    struct row {
        std::string text, asks;
    };
    const std::vector<row> table{
        {"host all all all md5\nhost all +staff all md5", "1"}, // behind what matches anyway
        {"host other +staff all md5\nhost all all all md5", "2"},
        {"host all +staff 11.0.0.0/8 md5\nhost all all all md5", "2"},
        {"host all +staff,ann all md5", "1"},
        {"host all ann,+staff all md5", "1"},
        {"local all +staff md5\nhost all all all md5", "2"},
        {"hostssl all all h.example md5\nhost all all all md5", "2"},
        {"host all bob h.example md5\nhost all all all md5", "2"},
        {"host all +staff h.example md5\nhost all +dev all md5", "? staff dev host"},
        {"host all +staff all md5\nhost all +staff all trust", "? staff"},
        {"host all +staff all md5\nhost all all all md5\nhost all +dev all md5", "? staff"},
    };
    for (const auto& each : table) {
        CAPTURE(each.text);
        CHECK(line_for(each.text, {}) == each.asks);
    }
}
