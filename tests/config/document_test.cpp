// The tree: what is in it, and where. What is refused: hostile_test.cpp.
#include "config/document.hpp"
#include "tests/config/support.hpp"

using namespace pgweir::config;
using namespace pgweir::config::testing;

namespace {

/// "map@1:1{a@1:1=scalar@1:4'x'}"
std::string drawn(const node& what) {
    const auto at = [](const position& where) {
        return "@" + std::to_string(where.line) + ":" + std::to_string(where.column);
    };
    switch (what.is) {
    case node::kind::nothing:
        return "nothing" + at(what.at);
    case node::kind::scalar:
        return at(what.at).substr(1) + "'" + what.text + "'";
    case node::kind::list: {
        std::string result = "list" + at(what.at) + "[";
        for (const auto& item : what.items) {
            result += drawn(item) + " ";
        }
        return result + "]";
    }
    case node::kind::map: {
        std::string result = "map" + at(what.at) + "{";
        for (const auto& each : what.entries) {
            result += each.key + at(each.at) + "=" + drawn(each.value) + " ";
        }
        return result + "}";
    }
    }
    return {};
}

} // namespace

TEST_CASE("trees") {
    const std::vector<std::pair<std::string, std::string>> table{
        {"", "nothing@1:1"},
        {"a: x", "map@1:1{a@1:1=1:4'x' }"},
        {"---\na: x\n...\n", "map@2:1{a@2:1=2:4'x' }"},
        {"%YAML 1.2\n---\na: x", "map@3:1{a@3:1=3:4'x' }"},
        {"a: x\na: y", "map@1:1{a@1:1=1:4'x' a@2:1=2:4'y' }"},
        {"a:\n  - x\n  - {b: y}", "map@1:1{a@1:1=list@2:3[2:5'x' map@3:5{b@3:6=3:9'y' } ] }"},
        {"a: # comment\n  b: 'it''s' # comment", "map@1:1{a@1:1=map@2:3{b@2:3=2:6'it's' } }"},
        {"ö: [ä, \"ü\"]", "map@1:1{ö@1:1=list@1:4[1:5'ä' 1:8'ü' ] }"},
        {"a: \"\\x41\\u00e4\"", "map@1:1{a@1:1=1:4'A\xc3\xa4' }"},
        {"a: 0123", "map@1:1{a@1:1=1:4'0123' }"},
        {"a: 'null'", "map@1:1{a@1:1=1:4'null' }"},
        {"a: ~\nb: null\nc:\n", "map@1:1{a@1:1=nothing@1:1 b@2:1=nothing@2:1 c@3:1=nothing@3:1 }"},
        {"{a: , 'b' : , \"c d\":}",
         "map@1:1{a@1:2=nothing@1:2 b@1:7=nothing@1:7 c d@1:15=nothing@1:15 }"},
        {"'*':\n'it''s':\n\"\\x41\": ", "map@1:1{*@1:1=nothing@1:1 it's@2:1=nothing@2:1 "
                                        "A@3:1=nothing@3:1 }"},
        {"a: |\n  x\n  y\n", "map@1:1{a@1:1=1:4'x\ny\n' }"},
        {"a: [[], {}]", "map@1:1{a@1:1=list@1:4[list@1:5[] map@1:9{} ] }"},
        {"\xEF\xBB\xBF"
         "a: x",
         "map@1:1{a@1:1=1:4'x' }"},
        {"\r\na: x\r\nb: y\r\n", "map@2:1{a@2:1=2:4'x' b@3:1=3:4'y' }"},
        {"a: x\n \t\n\t# c\n  # c\n \t\r\n", "map@1:1{a@1:1=1:4'x' }"},
    };
    for (const auto& each : table) {
        const auto& text = each.first;
        const auto& tree = each.second;
        CAPTURE(text);
        const auto result = read_document(text);
        REQUIRE(std::holds_alternative<node>(result));
        CHECK(drawn(std::get<node>(result)) == tree);
    }
}

TEST_CASE("a file that is one long line keeps its columns") {
    std::string text = "a: [";
    for (int i = 0; i < 50'000; ++i) {
        text += "ö,";
    }
    text += "x]";
    const auto result = read_document(text);
    REQUIRE(std::holds_alternative<node>(result));
    const auto& items = std::get<node>(result).entries.at(0).value.items;
    REQUIRE(items.size() == 50'001);
    CHECK(items.front().at == position{.line = 1, .column = 5});
    CHECK(items.back().at == position{.line = 1, .column = 100'005});
}
