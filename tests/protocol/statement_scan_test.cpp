// Which statements pin a client to its server, and which do not.
#include "protocol/statement_scan.hpp"

#include "protocol/session_state.hpp"

#include <doctest/doctest.h>

#include <cctype>
#include <iterator>
#include <random>
#include <string>

using namespace pgweir::protocol;

namespace {

std::string names(effect_bits pins) {
    std::string out;
    for (unsigned bit = 1; bit <= static_cast<unsigned>(pin_reason::large_statement); bit <<= 1U) {
        if ((pins & bit) != 0) {
            out += (out.empty() ? "" : " ") + std::string(to_string(static_cast<pin_reason>(bit)));
        }
    }
    const auto effect = [&](effect_bits bit, const char* name) {
        if ((pins & bit) != 0) {
            out += (out.empty() ? "" : " ") + std::string(name);
        }
    };
    effect(notifies, "notifies");
    effect(speaks_of_channels, "speaks_of_channels");
    effect(reads_sequences, "reads_sequences");
    effect(lists_statements, "lists_statements");
    effect(changes_names, "changes_names");
    return out;
}

struct row {
    const char* sql;
    const char* pins;
};

constexpr row rows[] = {
    // Nothing behind.
    {"", ""},
    {";", ""},
    {"SELECT 1", ""},
    {"SELECT 1;", ""},
    {"BEGIN", ""},
    {"COMMIT", ""},
    {"UPDATE t SET x = 1", ""},
    {"INSERT INTO t VALUES (1) ON CONFLICT DO UPDATE SET x = 2", ""},
    {"MERGE INTO t USING s ON true WHEN MATCHED THEN UPDATE SET x = 1", ""},
    {"ALTER TABLE t ALTER x SET DEFAULT 1", ""},
    {"ALTER ROLE r SET work_mem = '1GB'", ""},
    {"ALTER SYSTEM RESET work_mem", ""},
    {"SELECT 'SET x = 1'", ""},
    {"SELECT '; SET x = 1'", ""},
    {"SELECT $$; SET x = 1; $$", ""},
    {"SELECT 1 /* ; SET x = 1 */", ""},
    {"SELECT 1 -- ; SET x = 1", ""},
    {"SELECT \"; SET x = 1\"", ""},
    {"CREATE TABLE t (a int)", ""},
    {"CREATE TABLE temp (a int)", ""},
    {"SHOW search_path", ""},
    {"SAVEPOINT s1", ""},
    {"DEALLOCATE ALL", ""},
    {"CLOSE ALL", ""},
    {"LOCK TABLE t", ""},

    // Settings.
    {"SET x = 1", "setting"},
    {"set x to 1", "setting"},
    {"  \n\tSeT x TO 1 ;", "setting"},
    {"/* hello */ SET x = 1", "setting"},
    {"-- hello\nSET x = 1", "setting"},
    {"SET SESSION x = 1", "setting"},
    {"SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY", "setting"},
    {"SET SESSION AUTHORIZATION r", "setting"},
    {"SET ROLE r", "setting"},
    {"SET TIME ZONE 'UTC'", "setting"},
    {"SET \"my.setting\" = 1", "setting"},
    {"SET transaction_isolation = 'serializable'", "setting"},
    {"SET LOCAL x = 1", ""},
    {"SET/**/LOCAL x = 1", ""},
    {"SET TRANSACTION READ ONLY", ""},
    {"SET CONSTRAINTS ALL DEFERRED", ""},
    {"SET", ""},
    {"RESET x", "setting"},
    {"RESET ALL", "setting"},
    {"DISCARD ALL", "setting"},
    {"DISCARD TEMP", "setting"},
    {"BEGIN; SET x = 1; COMMIT", "setting"},
    {"BEGIN; SET LOCAL x = 1; COMMIT", ""},
    {"SELECT 1;SET x = 1", "setting"},
    {"SELECT ';' ; SET x = 1", "setting"},

    // set_config.
    {"SELECT set_config('x', 'y', false)", "setting"},
    {"SELECT pg_catalog.set_config('x', 'y', false)", "setting"},
    {"SELECT SET_CONFIG('x', 'y', FALSE)", "setting"},
    {"SELECT \"set_config\"('x', 'y', false)", "setting"},
    {"SELECT \"SET_CONFIG\"('x', 'y', false)", ""},
    {"SELECT set_config('x', 'y', true)", ""},
    {"SELECT set_config ( 'x' , f(a, b) , TRUE )", ""},
    {"SELECT set_config('x', 'y', $1)", "setting"},
    {"SELECT set_config('x', 'y', true AND false)", "setting"},
    {"SELECT set_config('x', 'y', NOT true)", "setting"},
    {"SELECT set_config('x', 'y', (true))", "setting"},
    {"SELECT set_config('x', true)", "setting"},
    {"SELECT set_config('x', 'y', true), set_config('x', 'z', false)", "setting"},
    {"SELECT set_config('x', 'y', true), set_config('x', 'z', true)", ""},
    {"SELECT set_config('x', set_config('y', 'z', false), true)", "setting"},
    {"SELECT set_config('x', 'y', true", "setting"},
    {"SELECT set_config", "setting"},
    {"SELECT 'set_config'", ""},
    {"SELECT set_config_x(1)", ""},

    // LISTEN, LOAD, PREPARE, DECLARE.
    {"LISTEN c", "listen"},
    {"NOTIFY c", "notifies"},
    {"SELECT pg_notify('c', 'p')", "notifies"},
    {"select \"pg_notify\"($1, $2)", "notifies"},
    {"SELECT 'pg_notify'", ""},
    {"SELECT * FROM notify", ""},
    {"UNLISTEN *", "speaks_of_channels"},
    {"BEGIN; unlisten c; COMMIT", "speaks_of_channels"},
    {"SELECT unlisten FROM t", ""},
    {"SELECT * FROM pg_catalog.PG_LISTENING_CHANNELS()", "speaks_of_channels"},
    {"SELECT msg_list, pg_name FROM t", ""},
    {"BEGIN; LISTEN c; COMMIT;", "listen"},
    {"LOAD 'auto_explain'", "loaded_library"},

    // What ends with the process.
    {"SELECT pg_backup_start('x', true)", "loaded_library"},
    {"select pg_start_backup('x', false, false)", "loaded_library"},
    {"SELECT pg_backup_stop()", ""},
    {"SELECT pg_replication_origin_session_setup('x')", "loaded_library"},
    {"SELECT pg_replication_origin_session_reset()", ""},
    {"SELECT pg_create_physical_replication_slot('x', true, true)", "loaded_library"},
    {"SELECT * FROM pg_create_logical_replication_slot('x', 'y', $1)", "loaded_library"},
    {"SELECT pg_create_logical_replication_slot('x', 'y', true, false)", "loaded_library"},
    {"SELECT pg_copy_physical_replication_slot('x', 'y', 1 = 1)", "loaded_library"},
    {"SELECT pg_copy_logical_replication_slot('x', 'y', true, 'z')", "loaded_library"},
    {"SELECT pg_create_logical_replication_slot(temporary => true, plugin => 'y', slot_name => "
     "'x')",
     "loaded_library"},
    {"SELECT pg_create_logical_replication_slot('x', f(1, true), temporary := t)",
     "loaded_library"},
    {"SELECT \"pg_create_physical_replication_slot\"('x', true, true)", "loaded_library"},
    {"SELECT pg_create_physical_replication_slot('x', true, true", "loaded_library"},
    {"SELECT pg_create_physical_replication_slot('x')", ""},
    {"SELECT pg_create_physical_replication_slot('x', f(1, 2, 3))", ""},
    {"SELECT pg_create_physical_replication_slot('x', true, false)", ""},
    {"SELECT pg_create_logical_replication_slot('x', 'y', false, true)", ""},
    {"SELECT pg_copy_logical_replication_slot('x', 'y')", ""},
    {"SELECT pg_drop_replication_slot('x') FROM pg_replication_slots", ""},
    {"PREPARE p AS SELECT 1", "sql_statement"},
    {"PREPARE TRANSACTION 'gid'", ""},
    {"PREPARE transaction AS SELECT 1", "sql_statement"},
    {"PREPARE transaction (int) AS SELECT $1", "sql_statement"},
    {"DECLARE c CURSOR FOR SELECT 1", ""},
    {"DECLARE c CURSOR WITHOUT HOLD FOR SELECT 1", ""},
    {"DECLARE c CURSOR WITH HOLD FOR SELECT 1", "held_cursor"},
    {"DECLARE c NO SCROLL CURSOR WITH /* x */ HOLD FOR SELECT 1", "held_cursor"},
    {"DECLARE c CURSOR FOR WITH hold AS (SELECT 1) SELECT * FROM hold", "held_cursor"}, // safe
    {"BEGIN; DECLARE c CURSOR WITH HOLD FOR SELECT 1; COMMIT", "held_cursor"},

    // Temporary objects.
    {"CREATE TEMP TABLE t (a int)", "temporary_object"},
    {"CREATE TEMPORARY TABLE t (a int)", "temporary_object"},
    {"create local temp table t (a int)", "temporary_object"},
    {"CREATE GLOBAL TEMPORARY TABLE t (a int)", "temporary_object"},
    {"CREATE OR REPLACE TEMP VIEW v AS SELECT 1", "temporary_object"},
    {"CREATE TEMP SEQUENCE s", "temporary_object"},
    {"CREATE TEMP TABLE t ON COMMIT DROP AS SELECT 1", "temporary_object"},
    {"EXPLAIN ANALYZE CREATE TEMP TABLE t AS SELECT 1", "temporary_object"},
    {"CREATE TABLE pg_temp.t (a int)", "temporary_object"},
    {"CREATE FUNCTION pg_temp.f() RETURNS int LANGUAGE sql AS 'SELECT 1'", "temporary_object"},
    {"CREATE TABLE \"pg_temp\".t (a int)", "temporary_object"},
    {"CREATE TABLE PG_TEMP.t (a int)", "temporary_object"},
    {"SELECT * INTO TEMP t FROM s", "temporary_object"},
    {"SELECT * INTO TEMPORARY TABLE t FROM s", "temporary_object"},
    {"SELECT * INTO LOCAL TEMP t FROM s", "temporary_object"},
    {"SELECT * INTO t FROM s", ""},
    {"INSERT INTO temp VALUES (1)", ""},
    {"WITH a AS (SELECT 1) INSERT INTO temp SELECT * FROM a", ""},
    {"MERGE INTO temp USING s ON true WHEN MATCHED THEN DELETE", ""},
    {"SELECT temp FROM sensors", ""},
    {"SELECT a.temp, b.temporary FROM item a", ""},
    {"SELECT items FROM templates", ""},

    // Locks and sequences.
    {"SELECT pg_advisory_lock(1)", "advisory_lock"},
    {"SELECT pg_advisory_lock_shared(1)", "advisory_lock"},
    {"SELECT pg_try_advisory_lock(1, 2)", "advisory_lock"},
    {"SELECT pg_try_advisory_lock_shared(1)", "advisory_lock"},
    {"SELECT pg_catalog.PG_ADVISORY_LOCK(1)", "advisory_lock"},
    {"SELECT pg_advisory_xact_lock(1)", ""},
    {"SELECT pg_try_advisory_xact_lock(1)", ""},
    {"SELECT pg_advisory_unlock(1)", ""},
    {"SELECT setseed(0.5)", "random_seed"},
    {"SELECT nextval('s')", ""},
    {"SELECT setval('s', 1)", ""},

    // What runs SQL that it is given.
    {"SELECT query_to_xml('SELECT set_config(''a'', ''b'', false)', true, true, '')",
     "setting large_statement"},
    {"select pg_catalog.\"query_to_xml_and_xmlschema\"($1, true, true, '')",
     "setting large_statement"},
    {"SELECT table_to_xml('view', true, true, '')", "setting large_statement"},
    {"SELECT CURSOR_TO_XML('c', 1, true, true, '')", "setting large_statement"},
    {"SELECT schema_to_xml('s', true, true, '')", "setting large_statement"},
    {"SELECT database_to_xmlschema(true, true, '')", "setting large_statement"},
    {"SELECT word FROM ts_stat('SELECT v FROM t')", "setting large_statement"},
    {"SELECT ts_rewrite(q, 'SELECT a, b FROM t')", "setting large_statement"},
    {"DO $$ BEGIN PERFORM query_to_xml(q, true, true, ''); END $$", "setting large_statement"},
    {"SELECT xmlelement(name a), ts_rank(a, b), ts_status FROM events_stat", ""},

    // What is read of sequences.
    {"SELECT * FROM pg_prepared_statements", "lists_statements"},
    {"select name from \"pg_catalog\".\"pg_prepared_statements\" as s", "lists_statements"},
    {"SELECT count(*) FROM PG_PREPARED_STATEMENT()", "lists_statements"},
    {"DO $$ BEGIN PERFORM FROM pg_prepared_statements; END $$", "lists_statements"},
    {"PREPARE p AS SELECT * FROM pg_prepared_statements", "sql_statement lists_statements"},
    {"SELECT * FROM pg_prepared_xacts", ""},
    {"SELECT currval('s')", "reads_sequences"},
    {"INSERT INTO t VALUES (lastval())", "reads_sequences"},
    {"SELECT pg_catalog.lastval()", "reads_sequences"},
    {"SELECT pg_catalog . currval ( 's' )", "reads_sequences"},
    {"SELECT \"currval\"('s')", "reads_sequences"},
    {"SELECT \"pg_catalog\".\"lastval\"()", "reads_sequences"},
    {"SELECT \"LASTVAL\"()", ""},
    {"WITH a AS (SELECT lastval()) SELECT * FROM a", "reads_sequences"},
    {"COPY (SELECT lastval()) TO STDOUT", "reads_sequences"},
    {"DECLARE c CURSOR FOR SELECT lastval()", "reads_sequences"},
    {"PREPARE p AS SELECT lastval()", "sql_statement reads_sequences"},
    {"DO $$ BEGIN PERFORM currval('s'); END $$", "reads_sequences"},
    {"INSERT INTO t VALUES (1); SELECT lastval()", "reads_sequences"},
    {"SELECT 'currval'", ""},
    {"SELECT lastvalue FROM currvals", ""},
    {"SELECT pg_sequence_last_value('s')", ""},

    // Code in strings.
    {"DO $$ BEGIN PERFORM 1; END $$", ""},
    {"DO $$ BEGIN SET x = 1; END $$", "setting"},
    {"DO $$ BEGIN SET LOCAL x = 1; END $$", ""},
    {"DO $$ BEGIN UPDATE t SET x = 1; END $$", ""},
    {"DO $$ BEGIN IF true THEN SET x = 1; END IF; END $$", "setting"},
    {"DO $$ BEGIN LOOP SET x = 1; END LOOP; END $$", "setting"},
    {"DO $$ BEGIN PERFORM set_config('x', 'y', false); END $$", "setting"},
    {"DO $$ BEGIN CREATE TEMP TABLE t (a int); END $$", "temporary_object"},
    {"DO $$ BEGIN EXECUTE 'SET x = 1'; END $$", "setting"},
    {"DO $$ BEGIN EXECUTE format('CREATE TEMP TABLE %I (a int)', 't'); END $$", "temporary_object"},
    {"DO LANGUAGE plpgsql 'BEGIN LISTEN c; END'", "listen"},
    {"DO $a$ BEGIN EXECUTE $b$ DO $c$ BEGIN PERFORM pg_advisory_lock(1); END $c$ $b$; END $a$",
     "advisory_lock"},

    {"CREATE FUNCTION f() RETURNS int LANGUAGE sql AS $$ SELECT 1 $$", ""},
    {"CREATE FUNCTION f() RETURNS int LANGUAGE sql AS $$ SET x = 1; SELECT 1 $$",
     "setting changes_names"},
    {"CREATE OR REPLACE PROCEDURE f() LANGUAGE sql AS 'SET x = 1'", "setting changes_names"},
    {"CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'CREATE TEMP TABLE t ()'",
     "temporary_object"},
    {"CREATE FUNCTION f() RETURNS int SET x = 1 LANGUAGE sql AS 'SELECT 1'", ""},
    {"ALTER FUNCTION f() SET x = 'SET y = 1'", "setting changes_names"}, // safe
    {"CREATE VIEW v AS SELECT set_config('x', 'y', false)", "setting changes_names"},
    {"CREATE TABLE t (a text DEFAULT 'SET x = 1')", ""},
    {"CREATE EXTENSION dblink", "changes_names"},
    {"CREATE FUNCTION f(int) RETURNS int AS 'lib', 'f' LANGUAGE C STRICT", "changes_names"},
    {"create or replace function f() returns int language 'c' as $$lib$$, $$f$$", "changes_names"},
    {"CREATE FUNCTION c() RETURNS int LANGUAGE sql AS 'select 1'", ""},
    {"ALTER EXTENSION dblink UPDATE", "changes_names"},
    {"DROP EXTENSION dblink", ""},
    {"DO $$ BEGIN EXECUTE 'CREATE FUNCTION f() ... AS $x$ SELECT setseed(0) $x$'; END $$",
     "random_seed changes_names"},

    // Code that puts other code together: dynamic_sql_test.cpp.
    {"DO $$ BEGIN EXECUTE 's' || 'et x = 1'; END $$", "setting large_statement"},
    {"DO $$ BEGIN EXECUTE 'create table pg_' || 'temp.t ()'; END $$",
     "advisory_lock temporary_object changes_names"},
    {"DO $$ BEGIN EXECUTE 'create table t_' || x || ' ()'; END $$", ""},
    {"CREATE TRIGGER t AFTER INSERT ON t EXECUTE FUNCTION f()", ""},

    // A rule on pg_settings.
    {"UPDATE pg_settings SET setting = '1' WHERE name = 'x'", "setting"},
    {"UPDATE ONLY pg_catalog.\"pg_settings\" SET setting = '1'", "setting"},
    {"WITH u AS (UPDATE pg_settings SET setting = '1' RETURNING 1) SELECT * FROM u", "setting"},
    {"EXPLAIN ANALYZE UPDATE pg_settings SET setting = '1'", "setting"},
    {"DO $$ BEGIN UPDATE pg_settings SET setting = '1'; END $$", "setting"},
    {"SELECT * FROM pg_settings", ""},
    {"UPDATE t SET x = 1; SELECT * FROM pg_settings", ""},
    {"UPDATE \"PG_SETTINGS\" SET setting = '1'", ""},

    // A setting that is setseed(). What lasts of it is not the setting.
    {"SET seed = 0.5", "setting random_seed"},
    {"SET SESSION \"Seed\" TO 0.5", "setting random_seed"},
    {"SET LOCAL seed = 0.5", "random_seed"},
    {"SELECT set_config('seed', '0.5', false)", "setting random_seed"},
    {"SELECT set_config('seed', '0.5', true)", "random_seed"},
    {"SELECT set_config('x', 'seed', true)", ""},
    {"DO $$ BEGIN SET seed = 0.5; END $$", "setting random_seed"},
    {"SET seed.x = 0.5", "setting"},
    {"SET x = seed", "setting"},
    {"SET LOCAL x = 1", ""},
    {"SET SESSION x = seed", "setting"},

    // Escapes are undone, whatever starts them.
    {"SELECT U&\"set\\005fconfig\"('x', 'y', false)", "setting"},
    {"SELECT U&\"set\\+00005fconfig\"('x', 'y', false)", "setting"},
    {"SELECT U&\"set!005fconfig\" UESCAPE '!' ('x', 'y', false)", "setting"},
    {"SELECT u&\"setz005fconfig\" /* a */ uescape 'z' ('x', 'y', true)", ""},
    {"SELECT U&\"curr\\0076al\"('s')", "reads_sequences"},
    {"SELECT U&\"set\\005fconfig\" UESCAPE '!' ('x', 'y', false)", ""},
    {"CREATE TABLE U&\"pg!005ftemp\" UESCAPE '!'.t ()", "temporary_object"},
    {"DO U&'BEGIN LI\\0053TEN c; END'", "listen"},
    {"DO U&'BEGIN LI!0053TEN c; END' UESCAPE '!'", "listen"},
    {"SELECT U&\"plain\"", ""},
    {"SELECT U&'SET\\0020x = 1'", ""},
    // What cannot be read pins.
    {"SELECT U&\"set\\00config\"('x', 'y', false)", "large_statement"},
    {"SELECT U&\"a\" UESCAPE E'\\x21'", "large_statement"},
    {"SELECT U&'a\\00'", ""},
    // With standard_conforming_strings off, or on, the string ends in different places.
    {"SELECT 'a\\'' ; SET x = 1; SELECT 'b'", "setting"},
    {"SELECT 'a\\' ; SET x = 1; SELECT '", "setting"},
    {"DO $$ BEGIN EXECUTE 'a\\' ; SET x = 1; PERFORM '; END $$", "setting"},
    {"DO $$ BEGIN PERFORM 'a\\'' ; SET x = 1; PERFORM 'b'; END $$", "setting"},
    {"SELECT E'a\\'' ; SET x = 1", "setting"},
    {"SELECT E'a\\' ; SET x = 1'", ""},

    // Several.
    {"LISTEN a; SELECT pg_advisory_lock(1); CREATE TEMP TABLE t()",
     "listen advisory_lock temporary_object"},
};

std::string in_case(std::string sql, bool upper) {
    // Only outside of quotes, where case does not matter.
    char quote = '\0';
    for (auto& c : sql) {
        if (quote == '\0' && (c == '\'' || c == '"' || c == '$')) {
            quote = c;
        } else if (c == quote) {
            quote = '\0';
        } else if (quote == '\0') {
            const auto byte = static_cast<unsigned char>(c);
            c = static_cast<char>(upper ? std::toupper(byte) : std::tolower(byte));
        }
    }
    return sql;
}

} // namespace

TEST_CASE("statement_scan: statements") {
    for (const auto& [sql, pins] : rows) {
        const std::string shown(sql);
        CAPTURE(shown);
        CHECK(names(scan(sql, true)) == pins);
        CHECK(names(scan(std::string(sql) + "\n;  ", true)) == pins);
    }
}

TEST_CASE("statement_scan: what ends, gives up or hides something") {
    struct marked {
        const char* sql;
        unsigned marks;
    };
    constexpr auto temporary = static_cast<unsigned>(pin_reason::temporary_object);
    constexpr auto prepared = static_cast<unsigned>(pin_reason::sql_statement);
    constexpr marked texts[] = {
        {"DROP TABLE t", ends_something},
        {"SELECT 1; close c", ends_something},
        {"DEALLOCATE ALL", ends_something},
        {"UNLISTEN *", ends_something | speaks_of_channels},
        {"DISCARD TEMP", ends_something | static_cast<unsigned>(pin_reason::setting)},
        {"ALTER TABLE t DROP c", 0},
        {"SELECT pg_advisory_unlock(1)", gives_up_lock},
        {"SELECT pg_catalog.PG_Advisory_Unlock_Shared(1)", gives_up_lock},
        {"SELECT pg_advisory_unlock_all()", gives_up_lock},
        {"SELECT 'pg_advisory_unlock(1)'", 0},
        {"DO $$ BEGIN END $$", hides_something},
        {"DO $$ BEGIN DROP TABLE t; END $$", hides_something | ends_something},
        {"INSERT INTO t VALUES (1) ON CONFLICT DO NOTHING", 0},
        // What SQL's EXECUTE will do is known when it is prepared.
        {"PREPARE p AS SELECT 1", prepared},
        {"PREPARE p (int) AS CREATE TEMP TABLE t()", prepared | temporary | prepares_something},
        {"PREPARE p AS SELECT lastval()", prepared | reads_sequences | prepares_something},
        {"CREATE TEMP TABLE t(); PREPARE p AS SELECT 1", prepared | temporary},
        {"PREPARE p AS SELECT 1; CREATE TEMP TABLE t()", prepared | temporary},
        {"PREPARE TRANSACTION 'p'", 0},
    };
    for (const auto& [sql, marks] : texts) {
        CAPTURE(std::string(sql));
        CHECK(scan(sql, true) == marks);
    }
}

TEST_CASE("statement_scan: in any case") {
    for (const auto& [sql, pins] : rows) {
        const std::string_view text = sql;
        if (text.find('\\') != text.npos || text.find("$a$") != text.npos) {
            continue; // escapes are not for in_case()
        }
        for (const bool upper : {false, true}) {
            const auto shown = in_case(sql, upper);
            CAPTURE(shown);
            CHECK(names(scan(shown, true)) == pins);
        }
    }
}

TEST_CASE("statement_scan: in the middle of other statements, wherever they are") {
    // The pre-filter looks at blocks of bytes: every offset must do.
    for (const auto& [sql, pins] : rows) {
        const std::string_view text = sql;
        const bool open_ended = text.find("--") != text.npos || text.find('\\') != text.npos;
        if (open_ended || text == "SET" || text == "SELECT set_config" ||
            text == "SELECT set_config('x', 'y', true") {
            continue;
        }
        for (std::size_t padding = 0; padding < 36; ++padding) {
            const auto padded = "SELECT '" + std::string(padding, 'x') + "'; " + sql + "; SELECT 2";
            CAPTURE(padded);
            CHECK(names(scan(padded, true)) == pins);
        }
    }
}

TEST_CASE("statement_scan: a trigger word at every offset of a plain statement") {
    for (const auto* const call : {"currval('s')", "lastval()", "setseed(1)", "pg_advisory_lock(1)",
                                   "set_config('a', 'b', false)", "pg_temp.f()"}) {
        for (std::size_t padding = 0; padding < 70; ++padding) {
            const auto sql =
                "SELECT " + std::string(padding, ' ') + call + std::string(padding % 7, ' ');
            CAPTURE(sql);
            CHECK(scan(sql, true) != 0);
        }
    }
    for (std::size_t padding = 0; padding < 70; ++padding) {
        CHECK(scan("CREATE" + std::string(padding + 1, ' ') + "TEMP TABLE t()", true) != 0);
        CHECK(scan("SELECT 1" + std::string(padding, ' ') + ";SET a=1", true) != 0);
        CHECK(scan("UPDATE" + std::string(padding + 1, ' ') + "PG_Settings SET x = 1", true) != 0);
    }
}

TEST_CASE("statement_scan: a text of which the end is missing may do anything") {
    CHECK(names(scan("SELECT 1", false)) == "large_statement");
    CHECK(names(scan("", false)) == "large_statement");
    CHECK(names(scan("SET x = 1; SELECT '", false)) == "setting large_statement");
}

TEST_CASE("statement_scan: nesting has an end") {
    std::string deep = "SELECT pg_advisory_lock(1)";
    for (int i = 0; i < 40; ++i) {
        const auto tag =
            "$" + std::string(1, static_cast<char>('a' + i % 26)) + std::to_string(i) + "$";
        deep = "DO " + tag + " BEGIN EXECUTE " + tag + "x" + deep + tag + "; END " + tag;
        deep = "DO " + tag + deep + tag;
    }
    CHECK(scan(deep, true) != 0);
    std::string comments(100'000, '/');
    for (std::size_t i = 1; i < comments.size(); i += 2) {
        comments[i] = '*';
    }
    CHECK(scan(comments + "SET x = 1", true) == 0);
}

TEST_CASE("statement_scan: the pre-filter lets nothing through") {
    // Random texts out of pieces that matter; a comment in front makes scan() look closely.
    constexpr const char* pieces[] = {"SELECT ",
                                      "select",
                                      "INSERT INTO ",
                                      "UPDATE t ",
                                      "UPDATE ",
                                      "settings",
                                      "SET ",
                                      "CREATE ",
                                      "TEMP ",
                                      "temp",
                                      "te",
                                      "mp",
                                      "set_config",
                                      "(1,2,",
                                      "true)",
                                      "pg_",
                                      "advisory",
                                      "_lock",
                                      "currval",
                                      "lastval",
                                      "setseed",
                                      ";",
                                      " ",
                                      "'",
                                      "\"",
                                      "U&\"",
                                      "$$",
                                      "--",
                                      "\n",
                                      "/*",
                                      "*/",
                                      "LISTEN c",
                                      "WITH HOLD ",
                                      "DECLARE ",
                                      "INTO ",
                                      "\\",
                                      "E'",
                                      "Temporary",
                                      "CurrVal",
                                      "PG_ADVISORY_LOCK",
                                      "\"currval\"",
                                      "xxxxxxxxxxxxx",
                                      "COPY ",
                                      "RESET "};
    std::mt19937_64 engine(20'240);
    for (unsigned i = 0; i < 200'000; ++i) {
        std::string sql;
        for (auto count = engine() % 12; count != 0; --count) {
            sql += pieces[engine() % std::size(pieces)];
        }
        const auto filtered = scan(sql, true);
        const auto looked_at = scan("/**/" + sql, true);
        if (filtered != looked_at) {
            FAIL(sql << ": " << names(filtered) << " is not " << names(looked_at));
        }
    }
}

TEST_CASE("statement_scan: what is set for the transaction alone, and changes what texts mean") {
    const std::pair<const char*, bool> rows[] = {
        {"SET LOCAL search_path = a", true},
        {"set local Search_Path to a", true},
        {"SET LOCAL \"search_path\" = a", true},
        {"SET LOCAL ROLE a", true},
        {"SET LOCAL TIME ZONE 'UTC'", true},
        {"SET LOCAL SESSION AUTHORIZATION a", true},
        {"BEGIN; SET LOCAL standard_conforming_strings = off; SELECT 'x'", true},
        {"DO $$ BEGIN SET LOCAL search_path = a; END $$", true},
        {"SET LOCAL app.tenant = 'a'", false},
        {"SET LOCAL app.tenant TO 'a'; SELECT 1", false},
        {"SET LOCAL statement_timeout = 1", false},
        {"SET TRANSACTION READ ONLY", false},
        {"SET CONSTRAINTS ALL DEFERRED", false},
        {"SET search_path = a", false}, // PostgreSQL is asked
        {"SELECT set_config('search_path', 'a', true)", true},
        {"SELECT set_config('search_path', $1, true)", true},
        {"SELECT set_config($1, $2, true)", true},
        {"SELECT set_config('app.' || 'tenant', $1, true)", true}, // it is put together
        {"SELECT set_config('app.tenant'::text, $1, true)", true},
        {"SELECT set_config('app.tenant', $1, true)", false},
        {"SELECT set_config('app.tenant', 'search_path', true)", false},
        {"SELECT set_config('app.a', $1, true), set_config('role', $2, true)", true},
        {"SELECT set_config('lock_timeout', $1, true)", false},
    };
    for (const auto& [sql, sets] : rows) {
        CAPTURE(sql);
        CHECK(((scan(sql, true) & sets_for_transaction) != 0) == sets);
    }
}
