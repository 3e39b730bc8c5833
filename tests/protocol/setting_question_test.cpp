// What is asked about settings, and what follows from the answers.
#include "protocol/setting_question.hpp"

#include <doctest/doctest.h>

#include <string>
#include <vector>

using namespace pgweir::protocol;

namespace {

std::string function_response(const std::optional<std::string>& value) {
    std::string body;
    message_writer(body)
        .u32(value ? static_cast<std::uint32_t>(value->size()) : 0xffffffff)
        .raw(value.value_or(""));
    return body;
}

std::string data_row(std::string_view name, std::string_view value) {
    std::string body;
    message_writer(body)
        .u16(2)
        .u32(static_cast<std::uint32_t>(name.size()))
        .raw(name)
        .u32(static_cast<std::uint32_t>(value.size()))
        .raw(value);
    return body;
}

const login_identity login = {.user = "login"};

constexpr const char* any_listed = "UPDATE pg_settings SET setting = 1";

using values = std::vector<std::optional<std::string>>;

struct asked {
    std::string sql;
    setting_map before = {};
    setting_map at_start = {};
    values told = {};        // by name, in the order of the questions
    setting_map listed = {}; // of all that are set
    login_identity own = login;
    bool failed = false;
};

std::string shown(const setting_map& map) {
    std::string out;
    for (const auto& [name, value] : map) {
        out += (out.empty() ? "" : " ") + name + "=" + value;
    }
    return out;
}

/// "session | carried", the second only where it differs; "?" where nothing is known.
std::string settled(const asked& a) {
    auto changes = read_setting_changes(a.sql);
    changes.failed = a.failed;
    setting_question question(changes, a.before, a.at_start, a.own);
    std::string out;
    reply_queue owed;
    question.append(out, owed);
    CHECK(owed.owed_ready(fate::forward) == 0);
    for (const auto& value : a.told) {
        question.take(backend::function_call_response, as_bytes(function_response(value)));
    }
    for (const auto& [name, value] : a.listed) {
        question.take(backend::data_row, as_bytes(data_row(name, value)));
    }
    const auto result = question.result();
    if (!result) {
        return "?";
    }
    const auto session = shown(result->session), carried = shown(result->carried);
    return session + (session == carried ? "" : " | " + carried);
}

} // namespace

TEST_CASE("setting_question: by name") {
    // Set, or rolled back.
    CHECK(settled({.sql = "SET a = 1", .told = {"1"}}) == "a=1");
    CHECK(settled({.sql = "SET a = 2", .before = {{"a", "1"}, {"b", "3"}}, .told = {"2"}}) ==
          "a=2 b=3");
    CHECK(settled({.sql = "SET a = 2", .before = {{"a", "1"}}, .told = {"1"}}) == "a=1");
    // One that there is not, after all.
    CHECK(settled({.sql = "SET x.y = 2", .told = {std::nullopt}}).empty());
    CHECK(settled({.sql = "SET x.y = ''", .told = {""}}) == "x.y=");
    // Reset, or that rolled back.
    CHECK(settled({.sql = "RESET a", .before = {{"a", "1"}}, .told = {"default"}}).empty());
    CHECK(settled({.sql = "RESET a", .before = {{"a", "1"}}, .told = {"1"}}) == "a=1");
    CHECK(settled({.sql = "RESET x.y", .before = {{"x.y", "1"}}, .told = {""}}).empty());
    // The server has gone back to its own value, the client to what it asked for at its start; or
    // it was rolled back.
    CHECK(settled({.sql = "RESET a",
                   .before = {{"a", "2"}},
                   .at_start = {{"a", "1"}},
                   .told = {"login", "none"}}) == "a=1 | ");
    CHECK(settled({.sql = "RESET a",
                   .before = {{"a", "2"}},
                   .at_start = {{"a", "1"}},
                   .told = {"login", "none"},
                   .listed = {{"a", "2"}}}) == "a=2");
    CHECK(settled({.sql = "SET a TO DEFAULT; SET a = 3",
                   .before = {{"a", "2"}},
                   .at_start = {{"a", "1"}},
                   .told = {"3"}}) == "a=3");
    // Who one is.
    CHECK(settled({.sql = "SET ROLE r", .told = {"r"}}) == "role=r");
    CHECK(settled({.sql = "SET ROLE NONE", .before = {{"role", "r"}}, .told = {"none"}}).empty());
    CHECK(settled({.sql = "SET SESSION AUTHORIZATION s", .told = {"none", "s"}}) ==
          "session_authorization=s");
    CHECK(settled({.sql = "SET SESSION AUTHORIZATION login", .told = {"none", "login"}}).empty());
}

TEST_CASE("setting_question: all of them") {
    const setting_map before = {{"a", "1"}, {"app.user", "u"}, {"b", "2"}, {"role", "r"}};
    // Asked by name: session_authorization, role, app.user.
    CHECK(settled({.sql = any_listed,
                   .before = before,
                   .told = {"login", "r", "u"},
                   .listed = {{"a", "1"}, {"b", "2"}}}) == "a=1 app.user=u b=2 role=r");
    CHECK(settled({.sql = any_listed,
                   .before = before,
                   .told = {"login", "none", "v"},
                   .listed = {{"b", "3"}, {"c", "4"}}}) == "app.user=v b=3 c=4");
    CHECK(settled({.sql = "RESET ALL",
                   .before = before,
                   .at_start = {{"b", "0"}},
                   .told = {"login", "r", ""}}) == "b=0 role=r | role=r");
    CHECK(settled({.sql = "DISCARD ALL", .before = before, .told = {"login", "none", ""}}).empty());
    // Set behind it, where the text does not show it.
    CHECK(settled({.sql = "RESET ALL",
                   .before = before,
                   .told = {"login", "r", "w"},
                   .listed = {{"d", "5"}}}) == "app.user=w d=5 role=r");
    CHECK(settled(
              {.sql = "RESET ALL; SET app.x = 1", .before = {}, .told = {"login", "none", "1"}}) ==
          "app.x=1");
}

TEST_CASE(
    "setting_question: what the client asked for at its start and applications have made up") {
    const setting_map start = {{"app.user", "u"}};
    const setting_map before = {{"app.user", "v"}};
    // Asked: session_authorization, role, app.user; then what RESET makes of that.
    for (const char* const sql : {"RESET ALL", "RESET app.user"}) {
        CAPTURE(sql);
        const auto told = [&](const char* value, const char* of_role) {
            return settled({.sql = sql,
                            .before = before,
                            .at_start = start,
                            .told = {"login", "none", value, of_role}});
        };
        CHECK(told("", "") == "app.user=u | ");
        CHECK(told("of role", "of role") == "app.user=u | ");
        CHECK(told("v", "of role") == "app.user=v"); // rolled back
        CHECK(told("", "of role") == "app.user=");   // set behind it, where no text shows it
    }
    // Set besides: what it is set to may be anything.
    CHECK(settled({.sql = "RESET ALL; SET app.user = ''",
                   .before = before,
                   .at_start = start,
                   .told = {"login", "none", ""}}) == "app.user=");
    setting_question question(read_setting_changes("RESET ALL"), before, start, login);
    for (int i = 0; i < 4; ++i) {
        CHECK_FALSE(question.ready_came());
    }
    CHECK(question.ready_came()); // the list
}

TEST_CASE("setting_question: SET ROLE NONE goes back to nothing") {
    const setting_map start = {{"role", "s"}};
    CHECK(settled({.sql = "SET ROLE NONE",
                   .before = {{"role", "s"}},
                   .at_start = start,
                   .told = {"none"}}) == "role=none | ");
    CHECK(settled({.sql = "RESET ROLE",
                   .before = {{"role", "r"}},
                   .at_start = start,
                   .told = {"login", "none"}}) == "role=s | ");
}

TEST_CASE("setting_question: RESET ROLE where the client has given up what it asked for") {
    const setting_map start = {{"role", "s"}};
    const setting_map none = {{"role", "none"}};
    const auto answer = [&](const char* sql, bool failed = false) {
        return settled({.sql = sql,
                        .before = none,
                        .at_start = start,
                        .told = {"login", "none"},
                        .failed = failed});
    };
    for (const char* const sql :
         {"RESET ROLE", "SET ROLE NONE; RESET ROLE", "RESET SESSION AUTHORIZATION", "DISCARD ALL",
          "SET SESSION AUTHORIZATION login; RESET SESSION AUTHORIZATION"}) {
        CAPTURE(std::string(sql));
        CHECK(answer(sql) == "role=s | ");
        CHECK(answer(sql, true) == "role=none"); // undone
    }
    // These leave it as it is.
    for (const char* const sql :
         {"RESET ALL", "SET ROLE NONE", "RESET ROLE; SET ROLE NONE", "SELECT 1"}) {
        CAPTURE(std::string(sql));
        CHECK(settled({.sql = std::string(sql) + "; UPDATE pg_settings SET setting = 1",
                       .before = none,
                       .at_start = start,
                       .told = {"login", "none"}}) == "role=none");
    }
    CHECK(settled({.sql = "RESET session_authorization",
                   .before = {{"session_authorization", "login"}},
                   .at_start = {{"session_authorization", "s"}},
                   .told = {"login", "none"}}) == "session_authorization=s | ");
    // The same of what an application has made up.
    CHECK(settled({.sql = "RESET x.y",
                   .before = {{"x.y", ""}},
                   .at_start = {{"x.y", "1"}},
                   .told = {"login", "none", "", ""}}) == "x.y=1 | ");
}

TEST_CASE("setting_question: whoever logs in has a role to begin with") {
    const login_identity crew = {.user = "login", .role = "crew"};
    const auto answer = [&](const char* sql, setting_map before, values told) {
        return settled(
            {.sql = sql, .before = std::move(before), .told = std::move(told), .own = crew});
    };
    CHECK(answer("SET ROLE NONE", {}, {"none"}) == "role=none");
    CHECK(answer("SET ROLE NONE", {}, {"crew"}).empty()); // rolled back
    CHECK(answer("SET ROLE r", {}, {"r"}) == "role=r");
    CHECK(answer("RESET ROLE", {{"role", "none"}}, {"crew"}).empty());
    CHECK(answer("RESET ROLE", {{"role", "none"}}, {"none"}) == "role=none"); // rolled back
    CHECK(answer("SET ROLE crew", {{"role", "none"}}, {"crew"}).empty());
    CHECK(answer("DISCARD ALL", {{"role", "none"}}, {"login", "crew"}).empty());
    CHECK(answer("RESET ALL", {{"role", "none"}}, {"login", "none"}) == "role=none");
    // Asked for in the order of the alphabet. One's own name as well ends the role.
    CHECK(answer("SET SESSION AUTHORIZATION login", {}, {"none", "login"}) == "role=none");
    CHECK(answer("SET SESSION AUTHORIZATION s", {}, {"none", "s"}) ==
          "role=none session_authorization=s");
    CHECK(answer("RESET SESSION AUTHORIZATION", {{"role", "none"}, {"session_authorization", "s"}},
                 {"crew", "login"})
              .empty());
    // It would be ended where that is set.
    CHECK(answer("RESET ROLE", {{"role", "none"}, {"session_authorization", "s"}}, {"crew"}) ==
          "role=crew session_authorization=s");
    // And the client has asked for another one.
    const auto with = [&](const char* sql, const char* before, const char* told) {
        return settled({.sql = sql,
                        .before = {{"role", before}},
                        .at_start = {{"role", "s"}},
                        .told = {"login", told},
                        .own = crew});
    };
    CHECK(with("RESET ROLE", "none", "crew") == "role=s | ");
    CHECK(with("RESET ROLE", "crew", "crew") == "role=s | ");
    CHECK(with("DISCARD ALL", "s", "crew") == "role=s | ");
}

TEST_CASE("setting_question: what could not be read may have reset what the client asked for") {
    const setting_map before = {{"a", "1"}, {"app.user", "u"}};
    setting_changes changes;
    changes.hidden_reset = changes.unknown = true;
    const auto answered = [&](const values& told, const setting_map& listed) {
        setting_question question(changes, before, before, login);
        CHECK(question.withholds());
        for (const auto& value : told) {
            question.take(backend::function_call_response, as_bytes(function_response(value)));
        }
        for (const auto& [name, value] : listed) {
            question.take(backend::data_row, as_bytes(data_row(name, value)));
        }
        const auto result = question.result();
        return question.start_up_in_doubt() ? "doubt"
               : !result                    ? "?"
                         : shown(result->session) + " | " + shown(result->carried);
    };
    CHECK(answered({"1", "u"}, {}) == "a=1 app.user=u | a=1 app.user=u");
    CHECK(answered({"8", "u"}, {}) == "doubt");
    CHECK(answered({"1", ""}, {}) == "doubt");
    CHECK(answered({"1"}, {}) == "?");
    // All are listed; asked by name: who one is, app.user, and what RESET makes of that.
    changes.some_listed = true;
    CHECK(answered({"login", "none", "", ""}, {}) == "a=1 app.user=u | ");
    CHECK(answered({"login", "none", "u", ""}, {}) == "a=1 app.user=u | app.user=u");
    // It was no RESET, or not of all: what is empty may have been set to that.
    CHECK(answered({"login", "none", "", ""}, {{"a", "8"}}) == "a=8 app.user= | a=8 app.user=");
    CHECK(answered({"login", "none", "v", ""}, {}) == "a=1 app.user=v | app.user=v");
    // Of a client that asked for nothing nothing can be lost.
    CHECK_FALSE(setting_question(changes, before, {}, login).withholds());
}

TEST_CASE("setting_question: when all has been answered") {
    setting_question two(read_setting_changes("SET a = 1; SET b = 1"), {}, {}, login);
    CHECK_FALSE(two.ready_came());
    CHECK(two.ready_came());
    setting_question all(read_setting_changes("RESET ALL"), {{"app.x", "1"}}, {}, login);
    for (int i = 0; i < 3; ++i) { // who one is, twice, and app.x; then the list
        CHECK_FALSE(all.ready_came());
    }
    CHECK(all.ready_came());
}

TEST_CASE("setting_question: what could not be found out") {
    CHECK(settled({.sql = "SET a = 1; SET b = 1", .told = {"1"}}) == "?");
    for (const auto& body : {std::string(), std::string("\0\2\0\0", 4), data_row("a", "b") + "c"}) {
        setting_question question(read_setting_changes("RESET ALL"), {}, {}, login);
        question.take(backend::function_call_response, as_bytes(function_response("login")));
        question.take(backend::function_call_response, as_bytes(function_response("none")));
        CHECK(question.result());
        question.take(backend::data_row, as_bytes(body));
        CHECK(!question.result());
    }
}
