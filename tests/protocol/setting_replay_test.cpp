// The messages that make a server carry a client's settings.
#include "protocol/setting_replay.hpp"

#include <doctest/doctest.h>

#include <string>
#include <tuple>
#include <vector>

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

/// The messages that go ahead: "P name: text" for Parse, "C name" for Close, "B name: name=value,
/// …" for Bind (nothing behind the name: null), "E" for Execute.
std::vector<std::string> shown_ahead(const std::string& messages) {
    std::vector<std::string> out;
    for (auto rest = as_bytes(messages); !rest.empty();) {
        const auto head = read_header(rest);
        body_reader body(rest.subspan(header_bytes, head.body_bytes()));
        std::string line(1, head.type);
        const auto value = [&] {
            const auto length = body.u32();
            return length == 0xffffffff ? std::string()
                                        : '=' + std::string(as_text(body.raw(length)));
        };
        if (head.type == 'P') {
            line += ' ' + std::string(body.c_string());
            line += ": " + std::string(body.c_string());
            REQUIRE(body.u16() == 0);
        } else if (head.type == 'C') {
            REQUIRE(body.character() == 'S');
            line += ' ' + std::string(body.c_string());
        } else if (head.type == 'B') {
            REQUIRE(body.c_string().empty());
            line += ' ' + std::string(body.c_string());
            REQUIRE(body.u16() == 0);
            const auto count = body.u16();
            for (unsigned i = 0; i < count / 2U; ++i) {
                line += (i == 0 ? ": " : ", ") + value().substr(1);
                line += value();
            }
            REQUIRE(body.u16() == 0);
        } else {
            REQUIRE(head.type == 'E');
            REQUIRE(body.c_string().empty());
            REQUIRE(body.u32() == 0);
        }
        REQUIRE(body.finished());
        out.push_back(std::move(line));
        rest = rest.subspan(head.frame_bytes());
    }
    return out;
}

struct ahead {
    std::string out = {};
    reply_queue owed = {};
    bool done = false;
};

ahead go_ahead(const setting_map& carried, const setting_map& wanted, std::uint32_t& prepared) {
    ahead result;
    result.done = append_settings_ahead(result.out, result.owed, carried, wanted, prepared);
    return result;
}

/// The names and values of the one statement.
std::string set_ahead(const setting_map& carried, const setting_map& wanted) {
    auto prepared = ~std::uint32_t{0};
    const auto result = go_ahead(carried, wanted, prepared);
    if (!result.done) {
        REQUIRE(result.out.empty());
        REQUIRE(result.owed.empty());
        return "by calls";
    }
    for (const auto& line : shown_ahead(result.out)) {
        if (line.starts_with("B pgw_set_")) {
            return line.substr(11);
        }
    }
    return "nothing";
}

} // namespace

TEST_CASE("setting_replay: ahead of the client's messages, in a transaction of its own") {
    std::uint32_t prepared = 0;
    const setting_map one = {{"lock_timeout", "1s"}, {"search_path", "a, b"}};
    const setting_map other = {{"search_path", "c"}, {"timezone", "UTC"}};
    using lines = std::vector<std::string>;
    const std::string set = "SELECT pg_catalog.set_config($1, $2, false), "
                            "pg_catalog.set_config($3, $4, false)";
    CHECK(shown_ahead(go_ahead({}, one, prepared).out) ==
          lines{"C pgw_begin", "P pgw_begin: BEGIN ISOLATION LEVEL READ COMMITTED", "B pgw_begin",
                "E", "C pgw_path", "P pgw_path: SET search_path TO ''", "B pgw_path", "E",
                "C pgw_set_b", "P pgw_set_b: " + set,
                "B pgw_set_b: lock_timeout=1s, search_path=a, b", "E", "C pgw_commit",
                "P pgw_commit: COMMIT", "B pgw_commit", "E"});
    // What is prepared need not be so again; what is not touched is not emptied.
    CHECK(
        shown_ahead(go_ahead(one, {{"search_path", "a, b"}, {"timezone", "UTC"}}, prepared).out) ==
        lines{"B pgw_begin", "E", "B pgw_set_b: lock_timeout, timezone=UTC", "E", "B pgw_commit",
              "E"});
    CHECK(shown_ahead(go_ahead(one, other, prepared).out)[5] ==
          "P pgw_set_c: " + set + ", pg_catalog.set_config($5, $6, false)");
    CHECK(go_ahead(one, one, prepared).out.empty());
}

TEST_CASE("setting_replay: what goes ahead is in the right order, or goes by calls") {
    const setting_map own = {{"role", "r"}, {"work_mem", "1MB"}};
    CHECK(set_ahead({}, own) == ": work_mem=1MB, role=r");
    // Whoever one is, these may be set: nobody need be given up for them, nor taken on again.
    CHECK(set_ahead(own, {{"role", "r"}, {"work_mem", "2MB"}}) == ": work_mem=2MB");
    CHECK(set_ahead(own, {{"role", "other"}}) == ": work_mem, role=other");
    CHECK(set_ahead(own, {}) == ": work_mem, role");
    // Of others nobody knows.
    CHECK(set_ahead(own, {{"log_statement", "all"}, {"role", "r"}}) ==
          ": role, work_mem, log_statement=all, role=r");
    CHECK(set_ahead({{"session_authorization", "s"}}, own) ==
          ": session_authorization, work_mem=1MB, role=r");
    CHECK(set_ahead({}, {{"client_encoding", "LATIN1"}}) == "by calls");
    CHECK(set_ahead({{"exit_on_error", "on"}}, own) == "by calls");
    CHECK(set_ahead({}, {{"exit_on_error", "on"}}) == "by calls");
    setting_map many;
    for (char c = 'a'; c < 'a' + 16; ++c) {
        many.emplace(std::string("my.") + c, "1");
    }
    CHECK(set_ahead({}, many).starts_with(": my.a=1, my.b=1"));
    many.emplace("my.z", "1");
    CHECK(set_ahead({}, many) == "by calls");
}

TEST_CASE("setting_replay: whichever of the messages ahead fails, the client's are not looked at") {
    std::uint32_t prepared = 0;
    const setting_map one = {{"search_path", "a"}};
    const auto types = [&] {
        auto nothing_prepared = std::uint32_t{0};
        std::vector<char> all;
        for (const auto& line : shown_ahead(go_ahead({}, one, nothing_prepared).out)) {
            all.push_back(line[0]);
        }
        return all;
    }();
    const auto answer_to = [](char type) {
        return type == 'C'   ? backend::close_complete
               : type == 'P' ? backend::parse_complete
               : type == 'B' ? backend::bind_complete
                             : backend::command_complete;
    };
    for (std::size_t failing = 0; failing <= types.size(); ++failing) {
        for (const bool query : {true, false}) {
            CAPTURE(failing);
            CAPTURE(query);
            prepared = 0;
            auto owed = go_ahead({}, one, prepared).owed;
            // For all that is sent behind them they count as done.
            CHECK(!owed.batch_open());
            CHECK(!owed.may_skip());
            CHECK(owed.owed_ready(fate::swallow) == 0);
            if (query) {
                owed.sent(frontend::query);
            } else {
                owed.sent(frontend::parse);
                owed.sent(frontend::sync);
            }
            for (std::size_t i = 0; i < failing; ++i) {
                CHECK(owed.next_is_swallowed());
                const auto got = owed.received(answer_to(types[i]));
                CHECK(got.what == reply::kind::completes);
                CHECK(got.where == fate::swallow);
            }
            if (failing == types.size()) {
                CHECK(!owed.next_is_swallowed());
                CHECK(owed.owed_ready(fate::forward) == 1);
                continue;
            }
            CHECK(owed.where(backend::error_response) == fate::swallow);
            CHECK(owed.received(backend::error_response, "42704").what == reply::kind::completes);
            CHECK(owed.owed_ready(fate::forward) == (query ? 0 : 1));
        }
    }
}

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

TEST_CASE("setting_replay: by calls, it waits for no snapshot") {
    const setting_map waits = {{"default_transaction_deferrable", "on"}};
    const setting_map does_not = {{"default_transaction_deferrable", "off"}};
    CHECK(may_wait_for_snapshot(waits));
    CHECK_FALSE(may_wait_for_snapshot(does_not));
    CHECK_FALSE(may_wait_for_snapshot({}));
    for (const auto& [carried, wanted, apart] :
         {std::tuple(waits, setting_map(), true), std::tuple(setting_map(), waits, true),
          std::tuple(setting_map(), does_not, false)}) {
        std::string out;
        reply_queue owed;
        append_setting_replay(out, owed, carried, wanted, refused_setting::is_told);
        CHECK((out.find("BEGIN ISOLATION LEVEL READ COMMITTED") != std::string::npos) == apart);
        CHECK((out.find("COMMIT") != std::string::npos) == apart);
        CHECK(owed.owed_ready(fate::swallow) == (apart ? 3 : 1));
    }
}

TEST_CASE("setting_replay: the client's own statement_timeout is set last") {
    const setting_map own = {{"role", "r"}, {"statement_timeout", "1s"}, {"work_mem", "1MB"}};
    CHECK(replay({{"statement_timeout", "0"}}, own) ==
          "set work_mem=1MB, set role=r, set statement_timeout=1s");
    CHECK(replay(own, {{"timezone", "UTC"}}) ==
          "unset work_mem, set timezone=UTC, unset role, unset statement_timeout");
    CHECK(replay({{"log_statement", "all"}}, own) ==
          "unset log_statement, set work_mem=1MB, set role=r, set statement_timeout=1s");
}

TEST_CASE("setting_replay: whether what a server carries has another's statement_timeout") {
    const auto has = [](const char* carried, const char* own) {
        const auto with = [](const char* value) {
            return value == nullptr ? setting_map{} : setting_map{{"statement_timeout", value}};
        };
        return has_others_timeout(with(carried), with(own));
    };
    CHECK(has("1s", nullptr));
    CHECK(has("1s", "0"));
    CHECK(has("1s", "2s"));
    CHECK_FALSE(has("1s", "1s"));
    CHECK_FALSE(has("0", "1s"));
    CHECK_FALSE(has(nullptr, "1s"));
    CHECK(with_timeout_lifted({{"statement_timeout", "1s"}, {"work_mem", "1MB"}}) ==
          setting_map{{"statement_timeout", "0"}, {"work_mem", "1MB"}});
}
