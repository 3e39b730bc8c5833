// Lines, fields and words of pg_hba.conf and pg_ident.conf, with the place of each.
#include "config/access_lines.hpp"
#include "tests/config/support.hpp"

using namespace pgweir::config;
using namespace pgweir::config::testing;

namespace {

access_lines read(std::string_view text, const world& in = {}) {
    return read_access_lines(text, "hba", in.options().read_file);
}

/// Words between commas, fields between blanks, a line each; what is quoted stands in ' '.
std::string shown(const access_lines& of) {
    std::string result;
    for (const auto& line : of.lines) {
        for (const auto& field : line.fields) {
            result += &field == &line.fields.front() ? "" : " ";
            for (const auto& token : field.tokens) {
                result += &token == &field.tokens.front() ? "" : ",";
                result += token.quoted ? "'" + token.text + "'" : token.text;
            }
        }
        result += "\n";
    }
    for (const auto& each : lines(of.problems)) {
        result += each + "\n";
    }
    return result;
}

} // namespace

TEST_CASE("words and fields") {
    const std::vector<std::pair<std::string, std::string>> table{
        {"", ""},
        {"# nothing\n\n  \t\n,\n", ""},
        {"a b c", "a b c\n"},
        {"a,b c", "a,b c\n"},
        {"a, b c", "a,b c\n"},
        {"a ,b c", "a b c\n"}, // the comma comes too late, as in PostgreSQL
        {"a,,b", "a,b\n"},
        {"a,", "a\n"},
        {",a", "a\n"},
        {"a#b c\nd", "a\nd\n"},
        {"a \"#\" c", "a '#' c\n"},
        {"\"a b\",\"c,d\" e", "'a b','c,d' e\n"},
        {"\"\" a", "'' a\n"},
        {"\"a\"\"b\"", "'a\"b'\n"},
        {"a\"b c\"d", "ab cd\n"}, // a quote inside: still a keyword's word
        {"\"a\"b", "'ab'\n"},
        {"a\tb\r\nc\r\n", "a b\nc\n"},
        {"a \\\nb", "a b\n"},
        {"a\\\nb", "ab\n"},
        {"# comment \\\nstill\nb", "b\n"},
        {"a \\", "a\n"},
        {"a \\\n", "a\n"},
        {"a \\\n\nb", "a\nb\n"},
        {"a \\\r\nb", "a b\n"},
        {"a \\ b", "a \\ b\n"},
        {"a \\\n  \\\n  b \\\n  c\nd", "a b c\nd\n"},
        {"\xEF\xBB\xBFlocal all", "local all\n"},
        {"ö ä", "ö ä\n"},
        {"a \"b", "a 'b'\nhba:1:3: the closing quote is missing\n"},
        {"a\n" + std::string(256, 'x'),
         "a\n" + std::string(255, 'x') + "\nhba:2:1: a word is longer than 255 bytes\n"},
        {"a\x01", "hba:1:2: a control character (byte 0x01) has no place in this file\n"},
        {"a\n\xff", "hba:2:1: the file is not UTF-8 (byte 0xff)\n"},
    };
    for (const auto& each : table) {
        CAPTURE(each.first);
        CHECK(shown(read(each.first)) == each.second);
    }
}

TEST_CASE("places count characters, and lines that are continued") {
    const auto made = read("# one\n  ö, b \"c\" \\\n  d\\\nx e # rest\n\nf");
    REQUIRE(made.lines.size() == 2);
    const auto& line = made.lines[0];
    REQUIRE(line.fields.size() == 4);
    CHECK(line.at == position{.line = 2, .column = 3});
    CHECK(line.fields[0].tokens[1].at == position{.line = 2, .column = 6});
    CHECK(line.fields[1].at == position{.line = 2, .column = 8});
    CHECK(line.fields[2].at == position{.line = 3, .column = 3});
    CHECK(line.fields[2].tokens[0].text == "dx");
    CHECK(line.fields[3].at == position{.line = 4, .column = 3});
    CHECK(line.end == position{.line = 4, .column = 4});
    CHECK(made.lines[1].at == position{.line = 6, .column = 1});
}

TEST_CASE("files of words") {
    const world in{.environment = {},
                   .files = {{"names", "ann, bob # and\n\n\"c d\"\n"},
                             {"more", "x @names y"},
                             {"empty", "# nothing\n"},
                             {"itself", "a @itself"},
                             {"broken", "a\n \"b"},
                             {"sub/one", "@two"},
                             {"sub/two", "beside"}}};
    const std::vector<std::pair<std::string, std::string>> table{
        {"local @names all", "local ann,bob,'c d' all\n"},
        {"local q,@names,z all", "local q,ann,bob,'c d',z all\n"},
        {"@more", "x,ann,bob,'c d',y\n"},
        {"\"@names\" @", "'@names' @\n"},
        {"local @empty all", "local  all\n"},
        {"@sub/one", "beside\n"},
        {"a @missing", "a \nhba:1:3: the file 'missing' cannot be read\n"},
        {"@broken", "a,'b'\nbroken:2:2: the closing quote is missing\n"},
    };
    for (const auto& each : table) {
        CAPTURE(each.first);
        CHECK(shown(read(each.first, in)) == each.second);
    }
    CHECK(shown(read("@itself", in)).find("files name files deeper than 10 times") !=
          std::string::npos);
    CHECK(read("x @names", in).lines[0].fields[1].tokens[2].at == position{.line = 1, .column = 3});
}

TEST_CASE("included files") {
    const world in{.environment = {},
                   .files = {{"other", "c d\n"},
                             {"sub/one", "include two\ninclude_if_exists nothing"},
                             {"sub/two", "beside"},
                             {"loop", "include loop"},
                             {"twice", "include twice\ninclude twice"}}};
    const std::vector<std::pair<std::string, std::string>> table{
        {"a\ninclude other\nb", "a\nc d\nb\n"},
        {"include \"other\"", "c d\n"},
        {"include sub/one", "beside\n"},
        {"include_if_exists missing\na", "a\n"},
        {"include missing\na", "a\nhba:1:9: the file 'missing' cannot be read\n"},
        {"include a,b", "hba:1:9: include takes one file\n"},
        {"include_dir x", "hba:1:1: include_dir is not there: include the files one by one\n"},
        {"include a b", "include a b\n"}, // the parser refuses it, as PostgreSQL does
        {"\"include\" a", "'include' a\n"},
    };
    for (const auto& each : table) {
        CAPTURE(each.first);
        CHECK(shown(read(each.first, in)) == each.second);
    }
    CHECK(shown(read("include loop", in)) == "loop:1:9: files name files deeper than 10 times\n");
    CHECK(read("include twice", in).problems.size() <= 100);
    const auto made = read("\ninclude other", in);
    CHECK(made.lines[0].file == "other");
    CHECK(made.lines[0].at.line == 1);
}

TEST_CASE("files that would unfold to more than there is memory for") {
    world in;
    for (int i = 0; i < 9; ++i) {
        std::string text;
        for (int n = 0; n < 100; ++n) {
            text += "@f" + std::to_string(i + 1) + "\n";
        }
        in.files["f" + std::to_string(i)] = text;
    }
    in.files["f9"] = "a b c d e f g h i j";
    const auto made = read("@f0", in);
    CHECK(!made.problems.empty());
    CHECK(made.problems.size() <= 100);
}

TEST_CASE("a long line is read in a moment") {
    std::string text = "local ";
    for (int i = 0; i < 150'000; ++i) {
        text += "name,";
    }
    CHECK(read(text).lines.at(0).fields.at(1).tokens.size() == 150'000);
    CHECK(!read(text + text).problems.empty());
    CHECK(!read(std::string(5'000'000, '#')).problems.empty());
}
