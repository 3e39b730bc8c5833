// Lines of pg_ident.conf: who may be whom.
#include "config/ident_map.hpp"
#include "tests/config/support.hpp"

using namespace pgweir::config;
using namespace pgweir::config::testing;
using namespace std::string_literals;

namespace {

ident_result read(std::string_view text) { return parse_ident(text, "ident", {}); }

} // namespace

TEST_CASE("who may be whom") {
    const auto made = read("# map system user\n"
                           "ops root postgres\n"
                           "ops root \"all\"\n"
                           "ops \"Ann Smith\" ann\n"
                           "ops admin all # PostgreSQL 16\n"
                           "cert /^(.*)@example\\.com$ \\1\n"
                           "cert /^(.*)@dev\\.example$ dev_\\1_x\n"
                           "cert /^guest guest\n"
                           "odd /^(a)?b$ b\n"
                           "first /^([a-z]+)-(.*)$ \\1\n"
                           "\"two words\" x y\n");
    INFO(joined(lines(made.problems)));
    REQUIRE(made.problems.empty());
    REQUIRE(made.lines.size() == 10);
    struct row {
        std::string map, system, user;
        bool may;
    };
    const std::vector<row> table{
        {"", "ann", "ann", true},
        {"", "ann", "bob", false},
        {"", "ann", "Ann", false},
        {"", "ann\0.evil"s, "ann", false},
        {"ops", "root", "postgres", true},
        {"ops", "root", "all", true},
        {"ops", "root", "root", false}, // with a map the same name is not enough
        {"ops", "Ann Smith", "ann", true},
        {"ops", "admin", "anybody", true},
        {"ops", "admi", "anybody", false},
        {"Ops", "root", "postgres", false},
        {"none", "root", "root", false},
        {"cert", "ann@example.com", "ann", true},
        {"cert", "ann@example.com", "bob", false},
        {"cert", "ann@example.com.evil", "ann", false},
        {"cert", "ann@exampleXcom", "ann", false},
        {"cert", "@example.com", "", true},
        {"cert", "ann@dev.example", "dev_ann_x", true},
        {"cert", "ann@dev.example", "ann", false},
        {"cert", "guest17", "guest", true}, // nothing binds its end
        {"odd", "ab", "b", true},
        {"odd", "b", "b", true}, // nobody asks what the group was
        {"odd", "b", "\\1", false},
        {"first", "ann-b-c", "ann", true},
        {"first", "ann-b-c", "ann-b", false},
        {"two words", "x", "y", true},
    };
    for (const auto& each : table) {
        CAPTURE(each.map);
        CAPTURE(each.system);
        CAPTURE(each.user);
        CHECK(may_be(made.lines, each.map, each.system, each.user) == each.may);
    }
}

TEST_CASE("lines that are refused, and where") {
    const std::vector<std::pair<std::string, std::string>> table{
        {"ops", "1:4: a map, a name of the system's and a user are needed"},
        {"ops root", "1:9: a map, a name of the system's and a user are needed"},
        {"ops,x root a", "1:1: one word is needed here, not a list"},
        {"ops a,b a", "1:5: one word is needed here, not a list"},
        {"ops a a,b", "1:7: one word is needed here, not a list"},
        {"ops /( a", "1:5: the pattern is refused: a ( has no )"},
        {"ops / a", "1:5: the pattern is refused: nothing follows the /"},
        {"ops /^a$ \\1", "1:10: \\1 needs a pattern with ( )"},
        {"ops /^\\(a$ \\1", "1:12: \\1 needs a pattern with ( )"},
        {"ops /^(a|ab(c)?).*$ x\\1",
         "1:21: \\1 may be something else in PostgreSQL where the pattern has a |: give each "
         "alternative a line"},
        {"ops /^([a-z]*)+@ex$ \\1",
         "1:21: \\1 may be something else in PostgreSQL where *, +, ? or "
         "{ follows the first ( )"},
        {"ops /^([a-z]+)(@ex)?$ \\1", "1:23: \\1 may be something else in PostgreSQL where *, +, ? "
                                      "or { follows a ( ) of more than one character"},
        {"ops /^((a)b)$ \\1", "1:15: \\1 may be something else in PostgreSQL where another ( ) "
                              "stands inside the first"},
        {"ops /^a$ +staff", "1:10: a user must be a name or all; put it in quotes if the name "
                            "begins like that"},
        {"ops a /b", "1:7: a user must be a name or all; put it in quotes if the name begins like "
                     "that"},
    };
    for (const auto& each : table) {
        CAPTURE(each.first);
        CHECK(joined(lines(read(each.first).problems)) == "ident:" + each.second + "\n");
    }
    CHECK(read("ops a \"+staff\"").problems.empty());
    CHECK(read("ops a b c d").problems.empty()); // PostgreSQL ignores the rest
}
