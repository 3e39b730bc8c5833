// What a text may change of the session's settings.
#include "protocol/setting_changes.hpp"

#include <doctest/doctest.h>

#include <string>

using namespace pgweir::protocol;

namespace {

/// "name" for one that is set, "-name" for one that is reset, "~name" for both, "-*" and "?".
std::string shown(const setting_changes& changes) {
    std::string out;
    const auto add = [&](const std::string& text) { out += (out.empty() ? "" : " ") + text; };
    for (const auto& [name, what] : changes.names) {
        add((what == setting_changes::how::reset            ? "-"
             : what == setting_changes::how::set_then_reset ? "~"
                                                            : "") +
            name);
    }
    if (changes.all_reset) {
        add("-*");
    }
    if (changes.some_listed) {
        add("+");
    }
    if (changes.unknown) {
        add("?");
    }
    return out;
}

struct row {
    const char* sql;
    const char* changes;
};

constexpr row rows[] = {
    {"", ""},
    {"SELECT 1", ""},
    {"SET x = 1", "x"},
    {"set Work_Mem to '1MB'", "work_mem"},
    {"SET SESSION x TO 1", "x"},
    {"SET my.app.user = 'x'", "my.app.user"},
    {"SET \"My\".\"uSer\" = 'x'", "my.user"},
    {"SET search_path = a, b, \"C\"", "search_path"},
    {"SET search_path TO DEFAULT", "-search_path"},
    {"SET search_path = default;", "-search_path"},
    {"SET x = default, 1", "x"},
    {"RESET x", "-x"},
    {"RESET my.x", "-my.x"},
    {"RESET ALL", "-*"},
    {"RESET TIME ZONE", "-timezone"},
    {"RESET SESSION AUTHORIZATION", "-role -session_authorization"},
    {"RESET ROLE", "-role"},
    {"RESET TRANSACTION ISOLATION LEVEL", ""},
    {"DISCARD ALL", "-role -session_authorization -*"},
    {"DISCARD TEMP", ""},
    {"UPDATE pg_settings SET setting = '1' WHERE name = $1", "+"},
    {"WITH u AS (UPDATE pg_catalog.\"pg_settings\" SET setting = 1 RETURNING 1) TABLE u", "+"},
    {"SELECT * FROM pg_settings", ""},
    {"SET seed = 0.5", ""},
    {"SET SESSION \"Seed\" = 0.5", ""},
    {"SELECT set_config('SEED', '0.5', false)", ""},
    {"RESET seed", ""},
    {"SET seed.x = 1", "seed.x"},
    {"SELECT U&\"set!005fconfig\" UESCAPE '!' ('x', 'y', false)", "x"},
    {"SELECT set_config(U&'work\\005fmem', 'y', false)", "work_mem ?"},
    {"SELECT set_config(U&'workz005fmem' UESCAPE 'z', 'y', false)", "work_mem"},
    {"SET U&\"workz005fmem\" UESCAPE 'z' = '1MB'", "work_mem"},
    {"SET U&\"work\\5fmem\" = '1MB'", "?"},
    {"SET TIME ZONE 'UTC'", "timezone"},
    {"SET TIME ZONE INTERVAL '-08:00' HOUR TO MINUTE", "timezone"},
    {"SET SESSION TIME ZONE LOCAL", "-timezone"},
    {"SET TIME ZONE DEFAULT", "-timezone"},
    {"SET NAMES 'LATIN1'", "client_encoding"},
    {"SET NAMES", "-client_encoding"},
    {"SET SCHEMA 'x'", "search_path"},
    {"SET schema = 'x'", "schema"},
    {"SET XML OPTION DOCUMENT", "xmloption"},
    {"SET ROLE r", "role"},
    {"SET ROLE NONE", "role"},
    {"SET role TO 'r'", "role"},
    {"SET SESSION ROLE r", "role"},
    {"SET SESSION AUTHORIZATION r", "role session_authorization"},
    {"SET SESSION AUTHORIZATION DEFAULT", "-role -session_authorization"},
    {"SET SESSION SESSION AUTHORIZATION r", "role session_authorization"},
    {"SET session_authorization = 'r'", "role session_authorization"},
    {"RESET session_authorization", "-role -session_authorization"},
    {"SELECT set_config('session_authorization', 'r', false)", "role session_authorization"},
    {"SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
     "default_transaction_deferrable default_transaction_isolation default_transaction_read_only"},
    {"SET LOCAL x = 1", ""},
    {"SET LOCAL ROLE r", ""},
    {"SET TRANSACTION READ ONLY", ""},
    {"SET CONSTRAINTS ALL DEFERRED", ""},
    {"SET", "?"},
    {"SET 1", "?"},
    {"SET \"a b\" = 1", "?"},
    {"RESET", "?"},
    {"SET x = 1; RESET x", "~x"},
    {"SET x = 1; RESET x; RESET x", "~x"},
    {"SET x = 1; RESET x; SET x = 2", "x"},
    {"RESET x; SET x = 1", "x"},
    {"BEGIN; SET a = 1; SELECT 1; RESET b; COMMIT", "a -b"},
    {"SELECT ';SET x = 1'", ""},
    {"SELECT set_config('App.User', $1, false)", "app.user"},
    {"SELECT pg_catalog.set_config('x', 'y', true), set_config('z', 'y', false)", "x z"},
    {"SELECT set_config($1, $2, false)", "?"},
    {"SELECT set_config('a' || 'b', 'c', false)", "?"},
    {"SELECT \"set_config\"('x', 'y', false)", "x"},
    {"SELECT set_config", "?"},
    {"INSERT INTO t SELECT set_config(name, v, false) FROM s", "?"},
    {"SELECT set_config('a.b'::text, 'c'::text, false)", "a.b"},
    {"SELECT set_config('a.b'::name, 'c', false)", "?"},

    // Code.
    {"DO $$ BEGIN SET x = 1; END $$", "x"},
    {"DO $$ BEGIN SET x = 1; IF true THEN RESET y; ELSE SET z = 2; END IF; END $$", "x -y z"},
    {"DO $$ BEGIN UPDATE t SET x = 1; END $$", ""},
    {"DO $$ BEGIN EXECUTE format('SET ROLE %I', r); END $$", "role"},
    {"DO $$ BEGIN EXECUTE format('SET %I = 1', n); END $$", "?"},
    {"DO $$ BEGIN PERFORM set_config('a.b', v, false), set_config(n, v, false); END $$", "a.b ?"},
    {"DO $$ BEGIN EXECUTE $x$ DO 'BEGIN SET x = 1; END' $x$; END $$", "x"},
    {"DO $$ BEGIN EXECUTE U&'SET x\\003d 1'; END $$", "x ?"},
    {"CREATE FUNCTION f() RETURNS void LANGUAGE plpgsql AS $$ BEGIN SET x = 1; END $$", "x"},
    {"CREATE OR REPLACE FUNCTION f() RETURNS void LANGUAGE sql AS 'SET x = 1'", "x"},
    {"CREATE TABLE t (a text DEFAULT 'SET x = 1')", ""},
    {"SET x = 'a\\b'", "x ?"},
    {"UPDATE t SET x = 1", ""},
};

} // namespace

TEST_CASE("setting_changes: what a text may change") {
    for (const auto& [sql, changes] : rows) {
        const std::string text(sql);
        CAPTURE(text);
        CHECK(shown(read_setting_changes(sql)) == changes);
    }
}

TEST_CASE("setting_changes: what has been set is more than what has been reset") {
    setting_changes all;
    CHECK(all.empty());
    all.add(read_setting_changes("RESET a; SET b = 1"));
    all.add(read_setting_changes("SET a = 1; RESET b; RESET c"));
    CHECK(shown(all) == "a ~b -c");
    all.add(read_setting_changes("RESET ALL"));
    CHECK(shown(all) == "a ~b -c -*");
    CHECK_FALSE(all.failed);
    setting_changes failed;
    failed.failed = true;
    all.add(failed);
    CHECK(all.failed);
    CHECK(!all.empty());
    all.clear();
    CHECK(all.empty());
}

TEST_CASE("setting_changes: cut anywhere, a text says nothing that it did not say") {
    const std::string text = "SET a.b = 'x'; SELECT set_config('c', 'd', false); RESET SESSION "
                             "AUTHORIZATION; SET TIME ZONE DEFAULT";
    for (std::size_t i = 0; i <= text.size(); ++i) {
        CAPTURE(i);
        CHECK(read_setting_changes(text.substr(0, i)).names.size() <= 6);
    }
}
