// The messages that make a server carry a client's settings.
#include "protocol/setting_replay.hpp"

#include <doctest/doctest.h>

#include <string>

using namespace pgweir::protocol;

namespace {

/// "set name=value" for each call, "unset name" where the value is null, "ask name".
std::string shown(const std::string& messages, const reply_queue& owed) {
    std::string out;
    std::size_t calls = 0;
    auto rest = as_bytes(messages);
    while (!rest.empty()) {
        const auto head = read_header(rest);
        REQUIRE(head.type == 'F');
        body_reader body(rest.subspan(header_bytes, head.body_bytes()));
        const auto function = body.u32();
        REQUIRE(body.u16() == 0);
        const auto count = body.u16();
        const auto argument = [&]() -> std::optional<std::string> {
            const auto length = body.u32();
            return length == 0xffffffff ? std::nullopt
                                        : std::optional(std::string(as_text(body.raw(length))));
        };
        const auto name = argument();
        const auto value = argument();
        if (function == 2'078) {
            REQUIRE(count == 3);
            REQUIRE(argument() == "f");
            out += (out.empty() ? "" : ", ") +
                   (value ? "set " + *name + "=" + *value : "unset " + *name);
        } else {
            REQUIRE(count == 2);
            REQUIRE(value == "t");
            out += (out.empty() ? "" : ", ") + ("ask " + *name);
        }
        REQUIRE(body.u16() == 0);
        REQUIRE(body.finished());
        rest = rest.subspan(head.frame_bytes());
        ++calls;
    }
    CHECK(owed.size() == calls);
    CHECK(owed.owed_ready(fate::swallow) == calls);
    return out;
}

std::string replay(const setting_map& carried, const setting_map& wanted,
                   refused_setting refused = refused_setting::is_told) {
    std::string out;
    reply_queue owed;
    append_setting_replay(out, owed, carried, wanted, refused);
    return shown(out, owed);
}

} // namespace

TEST_CASE("setting_replay: what differs is set, what is too much goes back") {
    CHECK(replay({}, {}).empty());
    CHECK(replay({{"a", "1"}}, {{"a", "1"}}).empty());
    CHECK(replay({}, {{"a", "1"}, {"b.c", "it's"}}) == "set a=1, set b.c=it's");
    CHECK(replay({{"a", "1"}, {"b", "2"}}, {{"b", "2"}}) == "unset a");
    CHECK(replay({{"a", "1"}, {"b", "2"}, {"c", "3"}}, {{"b", "4"}, {"c", "3"}, {"d", ""}}) ==
          "unset a, set b=4, set d=");
}

TEST_CASE("setting_replay: who one is, is given up first and taken on last") {
    const setting_map one = {{"a", "1"}, {"role", "r"}, {"session_authorization", "s"}};
    CHECK(replay({}, one) == "set a=1, set session_authorization=s, set role=r");
    CHECK(replay(one, {}) == "unset session_authorization, unset role, unset a");
    CHECK(replay(one, {{"a", "2"}, {"role", "r"}}) ==
          "unset session_authorization, unset role, set a=2, set role=r");
}

TEST_CASE("setting_replay: what follows must not run under other settings") {
    const auto guarded = refused_setting::ends_server;
    CHECK(replay({}, {}, guarded).empty());
    CHECK(replay({}, {{"a", "1"}}, guarded) ==
          "set exit_on_error=on, set a=1, unset exit_on_error");
    CHECK(replay({{"exit_on_error", "on"}}, {{"a", "1"}, {"exit_on_error", "off"}}, guarded) ==
          "set exit_on_error=on, set a=1, set exit_on_error=off");
}

TEST_CASE("setting_replay: the question for a value, and the answer") {
    std::string out;
    reply_queue owed;
    append_setting_question(out, owed, "search_path");
    CHECK(shown(out, owed) == "ask search_path");

    using namespace std::string_literals;
    CHECK(function_result(as_bytes("\0\0\0\3abc"s)) == "abc");
    CHECK(function_result(as_bytes("\0\0\0\0"s)) == "");
    CHECK(function_result(as_bytes("\xff\xff\xff\xff"s)) == std::nullopt);
    CHECK(function_result(as_bytes("\0\0\0\4abc"s)) == std::nullopt);
    CHECK(function_result(as_bytes("\0\0\0\2abc"s)) == std::nullopt);
    CHECK(function_result(as_bytes("\0"s)) == std::nullopt);
}
