// What an audit asks, and what it finds in the answers.
#include "protocol/session_audit.hpp"

#include "tests/support/message_types.hpp"

#include <doctest/doctest.h>

#include <map>
#include <string>
#include <vector>

using namespace pgweir::protocol;
using pgweir::test::types_of;
using leak = session_audit::leak;
using leaks = std::vector<leak>;

namespace {

const login_identity app = {.user = "app"};

void append_value(std::string& body, const std::optional<std::string>& value) {
    message_writer(body)
        .u32(value ? static_cast<std::uint32_t>(value->size()) : 0xffffffff)
        .raw(value.value_or(""));
}

/// A PostgreSQL that is asked.
struct session {
    std::map<std::string, std::optional<std::string>> settings;
    std::map<std::string, std::string> readings; // what it makes of a value
    std::vector<std::pair<std::string, std::optional<std::string>>> rows;
};

std::string argument(std::string_view body, std::size_t which) {
    body_reader call(as_bytes(body));
    call.u32();
    call.u16();
    call.u16();
    std::string value;
    for (std::size_t i = 0; i <= which; ++i) {
        value = as_text(call.raw(call.u32()));
    }
    return value;
}

/// Answers all messages of one append().
bool answer(session_audit& audit, const session& of, std::string_view asked) {
    bool done = false;
    constexpr std::uint32_t set_config = 2'078;
    while (!asked.empty()) {
        const auto head = read_header(as_bytes(asked));
        const auto body = asked.substr(header_bytes, head.body_bytes());
        asked.remove_prefix(head.frame_bytes());
        REQUIRE_FALSE(done);
        if (head.type == 'F') {
            std::string result;
            if (read_u32(as_bytes(body.substr(0, 4))) != set_config) {
                const auto found = of.settings.find(argument(body, 0));
                append_value(result, found != of.settings.end() ? found->second : std::nullopt);
                audit.take(backend::function_call_response, as_bytes(result));
            } else if (const auto found = of.readings.find(argument(body, 1));
                       found != of.readings.end()) {
                CHECK(argument(body, 2) == "t"); // for its transaction alone
                append_value(result, found->second);
                audit.take(backend::function_call_response, as_bytes(result));
            } else {
                audit.fail(); // it may not be set now
            }
            done = audit.ready_came();
        } else if (head.type == 'E') {
            for (const auto& [kind, name] : of.rows) {
                std::string row;
                message_writer(row).u16(2);
                append_value(row, kind);
                append_value(row, name);
                audit.take(backend::data_row, as_bytes(row));
            }
        } else if (head.type == 'S') {
            done = audit.ready_came();
        }
    }
    return done;
}

std::optional<leaks> found_in(const setting_map& carried, const session& of,
                              const login_identity& own = app) {
    session_audit audit(carried, own, 0);
    for (int round = 0; round < 3; ++round) {
        std::string out;
        reply_queue owed;
        audit.append(out, owed);
        CHECK(owed.owed_ready(fate::forward) == 0);
        REQUIRE(answer(audit, of, out));
        if (!audit.asks_more()) {
            return audit.result();
        }
        CHECK(round == 0);
    }
    return std::nullopt;
}

session sound(std::map<std::string, std::optional<std::string>> settings = {}) {
    settings.try_emplace("session_authorization", "app");
    return {.settings = std::move(settings), .readings = {}, .rows = {}};
}

} // namespace

TEST_CASE("session_audit: a batch of its own, behind a call for each setting that is believed") {
    session_audit audit({{"role", "r"}, {"timezone", "UTC"}}, app, 0);
    std::string out;
    reply_queue owed;
    audit.append(out, owed);
    CHECK(types_of(out) == "FFFCPBECCS");
    CHECK(owed.owed_ready(fate::swallow) == 4);
    CHECK(out.find("pg_prepared_statements") != std::string::npos);
    // One statement: nothing in it ends one.
    CHECK(out.find(';') == std::string::npos);
}

TEST_CASE("session_audit: what may be left behind is not asked about") {
    const auto asked = [](pin_reason ignored) {
        std::string out;
        reply_queue owed;
        session_audit({}, app, static_cast<std::uint16_t>(ignored)).append(out, owed);
        return out;
    };
    CHECK(asked(pin_reason::advisory_lock).find("pg_locks") == std::string::npos);
    CHECK(asked(pin_reason::advisory_lock).find("pg_cursors") != std::string::npos);
    CHECK(asked(pin_reason::temporary_object).find("pg_my_temp_schema") == std::string::npos);
    CHECK(asked(pin_reason::held_cursor).find("pg_cursors") == std::string::npos);
    CHECK(asked(pin_reason::listen).find("pg_listening_channels") == std::string::npos);
    CHECK(asked(pin_reason::sql_statement).find("WHERE from_sql") == std::string::npos);
}

TEST_CASE("session_audit: a session that is as it should be") {
    CHECK(found_in({}, sound()) == leaks{});
    CHECK(found_in({{"timezone", "UTC"}, {"app.user", ""}, {"role", "r"}},
                   sound({{"timezone", "UTC"}, {"app.user", std::nullopt}, {"role", "r"}})) ==
          leaks{});
    CHECK(found_in({{"session_authorization", "other"}},
                   sound({{"session_authorization", "other"}})) == leaks{});
    // A setting that is listed and believed is compared by its value alone; so is the role.
    auto listed = sound({{"timezone", "UTC"}, {"role", "r"}});
    listed.rows = {{"setting", "timezone"}, {"setting", "role"}};
    CHECK(found_in({{"timezone", "UTC"}, {"role", "r"}}, listed) == leaks{});
    // Each transaction's own.
    CHECK(found_in({{"transaction_read_only", "on"}}, sound()) == leaks{});
}

TEST_CASE("session_audit: whoever logs in has a role to begin with") {
    const login_identity crew = {.user = "app", .role = "crew"};
    auto is = sound({{"role", "crew"}});
    is.rows = {{"setting", "role"}}; // since it is not "none"
    CHECK(found_in({}, is, crew) == leaks{});
    CHECK(found_in({{"role", "none"}}, sound({{"role", "none"}}), crew) == leaks{});
    const leaks role{{pin_reason::setting, "role"}};
    CHECK(found_in({}, sound({{"role", "none"}}), crew) == role);
    CHECK(found_in({{"role", "none"}}, is, crew) == role);
}

TEST_CASE("session_audit: every kind of leak") {
    auto dirty = sound();
    leaks expected;
    for (const auto kind : session_audit::kinds) {
        dirty.rows.emplace_back(to_string(kind), "mine");
        expected.push_back({kind, "mine"});
    }
    dirty.rows.emplace_back("temporary_object", std::nullopt); // being dropped
    expected.push_back({pin_reason::temporary_object, ""});
    CHECK(found_in({}, dirty) == expected);
}

TEST_CASE("session_audit: settings that are not what is believed") {
    struct row {
        const char* what;
        setting_map carried;
        session is;
        leaks found;
    };
    const leaks work_mem{{pin_reason::setting, "work_mem"}};
    const auto has = [](const char* name, const char* value) { return sound({{name, value}}); };
    auto read = [](session of, const char* value, const char* as) {
        of.readings = {{value, as}};
        return of;
    };
    const row rows[] = {
        {"another value",
         {{"work_mem", "64MB"}},
         read(has("work_mem", "4MB"), "64MB", "64MB"),
         work_mem},
        {"the same in other words",
         {{"work_mem", "65536"}},
         read(has("work_mem", "64MB"), "65536", "64MB"),
         {}},
        {"it may not be set now, so nobody can tell",
         {{"work_mem", "65536"}},
         has("work_mem", "64MB"),
         {}},
        {"a custom setting",
         {{"app.user", "1"}},
         has("app.user", "2"),
         {{pin_reason::setting, "app.user"}}},
        {"a custom setting that is gone",
         {{"app.user", "1"}},
         sound(),
         {{pin_reason::setting, "app.user"}}},
        {"a role", {{"role", "r"}}, has("role", "none"), {{pin_reason::setting, "role"}}},
        {"a session authorization",
         {},
         has("session_authorization", "root"),
         {{pin_reason::setting, "session_authorization"}}},
        {"told in another encoding", {{"app.user", "\xe9"}}, has("app.user", "\xc3\xa9"), {}},
        // An error of ours would end the server.
        {"exit_on_error",
         {{"exit_on_error", "on"}, {"work_mem", "65536"}},
         sound({{"exit_on_error", "on"}, {"work_mem", "64MB"}}),
         {}},
    };
    for (const auto& each : rows) {
        CAPTURE(each.what);
        CHECK(found_in(each.carried, each.is) == each.found);
    }
}

TEST_CASE("session_audit: of two that differ, an error concerns one") {
    auto is = sound({{"datestyle", "ISO, MDY"}, {"work_mem", "4MB"}});
    is.readings = {{"64MB", "64MB"}};
    CHECK(found_in({{"datestyle", "iso"}, {"work_mem", "64MB"}}, is) ==
          leaks{{pin_reason::setting, "work_mem"}});
}

TEST_CASE("session_audit: what cannot be found out is no leak") {
    SUBCASE("an error") {
        session_audit audit({}, app, 0);
        std::string out;
        reply_queue owed;
        audit.append(out, owed);
        audit.fail();
        CHECK_FALSE(audit.ready_came());
        CHECK(audit.ready_came());
        CHECK_FALSE(audit.asks_more());
        CHECK_FALSE(audit.result());
    }
    SUBCASE("an answer that was too long") {
        session_audit audit({{"search_path", "x"}}, app, 0);
        audit.take(backend::function_call_response, {});
        CHECK_FALSE(audit.ready_came());
        CHECK_FALSE(audit.ready_came());
        CHECK(audit.ready_came());
        CHECK_FALSE(audit.result());
    }
    SUBCASE("rows that are none") {
        auto odd = sound();
        odd.rows = {{"what?", "mine"}};
        CHECK_FALSE(found_in({}, odd));
    }
}

TEST_CASE("session_audit: so many leaks at most") {
    auto dirty = sound();
    for (int i = 0; i < 100; ++i) {
        dirty.rows.emplace_back("listen", std::to_string(i));
    }
    CHECK(found_in({}, dirty)->size() == session_audit::most_leaks);
}
