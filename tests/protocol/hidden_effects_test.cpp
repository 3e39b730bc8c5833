// What names hide, from what PostgreSQL tells of its catalogues, and what texts that mention them
// do.
#include "protocol/hidden_effects.hpp"

#include "protocol/session_state.hpp"
#include "protocol/statement_scan.hpp"

#include <doctest/doctest.h>

#include <initializer_list>
#include <memory>
#include <string>

using namespace pgweir::protocol;

namespace {

constexpr auto setting = static_cast<effect_bits>(pin_reason::setting);
constexpr auto lock = static_cast<effect_bits>(pin_reason::advisory_lock);
constexpr auto library = static_cast<effect_bits>(pin_reason::loaded_library);

/// The rows of an answer: "what id value".
class catalogue {
public:
    catalogue& row(std::string_view what, std::string_view id, std::string_view value) {
        std::string body;
        message_writer to(body);
        to.u16(3);
        for (const auto column : {what, id, value}) {
            to.u32(static_cast<std::uint32_t>(column.size())).raw(column);
        }
        answer.take_row(as_bytes(body));
        return *this;
    }
    catalogue& function(std::string_view id, std::string_view name, std::string_view code,
                        std::string_view language = "plpgsql") {
        return row("n", id, name).row("l", id, language).row("c", id, code);
    }
    catalogue& table(std::string_view id, std::string_view name) { return row("n", id, name); }
    catalogue& uses(std::string_view id, std::string_view what) { return row("e", id, what); }

    [[nodiscard]] std::shared_ptr<const name_effects> read() const {
        return read_hidden_effects(answer).names;
    }

    hidden_effects_answer answer;
};

effect_bits bits(const name_effects& names, std::string_view sql) {
    return scan(sql, true, &names);
}

} // namespace

TEST_CASE("hidden_effects: a function by its name, however it is called") {
    catalogue from;
    from.function("1255.16400", "Take", "begin perform pg_advisory_lock($1); end");
    const auto names = from.read();
    REQUIRE(names != nullptr);
    for (const auto* const sql :
         {"select take(1)", "SELECT TAKE(1)", "select hidden.take(1)", "select \"Take\"(1)",
          "call take(1)", "do $$ begin perform take(1); end $$", "select 1; select take(1)",
          "with a as (select take(1)) select * from a", "select x.take from x",
          "copy (select take(1)) to stdout", "prepare p as select take(1)"}) {
        const std::string shown(sql);
        CAPTURE(shown);
        CHECK((bits(*names, sql) & lock) != 0);
    }
    for (const auto* const sql : {"select taken(1)", "select 'take'", "select 1 /* take */", "",
                                  "select $$ take $$", "begin"}) {
        const std::string shown(sql);
        CAPTURE(shown);
        CHECK(bits(*names, sql) == 0);
    }
    CHECK(names->find(16'400)->bits == lock);
    CHECK(names->find(16'401) == nullptr);
    for (std::size_t padding = 0; padding < 70; ++padding) {
        const auto sql = "select " + std::string(padding, ' ') + "take(1)";
        CHECK(bits(*names, sql) == lock);
    }
}

TEST_CASE("hidden_effects: a function that does nothing is not kept") {
    catalogue from;
    from.function("1255.1", "plain",
                  "begin update t set x = 1; perform set_config('app.a', b, true); end")
        .function("1255.2", "too", "select 'x'", "sql");
    const auto names = from.read();
    CHECK(names->empty());
    CHECK(!names->may_be_in("select plain()"));
}

TEST_CASE("hidden_effects: what a function sets for its transaction") {
    catalogue from;
    from.function("1255.1", "enter", "begin perform set_config('search_path', $1, true); end");
    const auto names = from.read();
    CHECK(bits(*names, "select enter('a')") == sets_for_transaction);
}

TEST_CASE("hidden_effects: which settings") {
    catalogue from;
    from.function("1255.1", "become", "begin execute format('set role %I', $1); end")
        .function("1255.2", "tune", "select set_config('a.b', $1, false)", "sql")
        .function("1255.3", "any", "begin perform set_config($1, $2, false); end")
        .function("1255.4", "dark", "begin execute $1; end")
        .function("1255.5", "set_limit", "", "c");
    const auto names = from.read();
    const auto changes = [&](std::string_view sql) {
        session_state state;
        state.statement(sql, bits(*names, sql), names.get());
        return state.changed_settings();
    };
    CHECK(changes("select become('x')").names.contains("role"));
    CHECK(!changes("select become('x')").unknown);
    CHECK(changes("select become('x'), tune('y')").names.size() == 2);
    CHECK(changes("select set_limit(0.1)").names.contains("pg_trgm.similarity_threshold"));
    CHECK(changes("select any('x', 'y')").unknown);
    CHECK(changes("select dark('x')").unknown);
    session_state state;
    state.call(*names->find(1));
    CHECK(state.settings_to_ask());
}

TEST_CASE("hidden_effects: who calls a function does what it does") {
    catalogue from;
    from.function("1255.1", "a", "begin perform pg_advisory_lock(1); end")
        .function("1255.2", "b", "begin return a(); end")
        .function("1255.3", "c", "select \"b\"()", "sql")
        .function("1255.4", "d", "begin execute 'select c()'; end")
        .function("1255.5", "e", "begin -- d\n return 'x'; end")
        .function("1255.6", "round", "begin return round(); end");
    const auto names = from.read();
    for (const auto* const name : {"a", "b", "c", "d"}) {
        CHECK(names->find(name)->always.bits == lock);
    }
    CHECK(names->find("e") == nullptr);
    CHECK(names->find("round") == nullptr);
}

TEST_CASE("hidden_effects: what is done when rows are written") {
    catalogue from;
    from.function("1255.1", "on_row", "begin perform set_config('x', new.v, false); end")
        .row("n", "2620.7", "")
        .uses("2620.7", "1255.1")
        .table("1259.8", "triggering")
        .uses("1259.8", "2620.7")
        .table("1259.9", "parent")
        .uses("1259.9", "1259.8")
        .function("1255.2", "fill", "begin insert into triggering values (1); end")
        .function("1255.3", "look", "begin perform * from triggering; end");
    const auto names = from.read();
    for (const auto* const sql :
         {"insert into triggering values (1)", "copy triggering from stdin", "delete from parent",
          "with a as (delete from triggering returning *) select * from a", "select fill()",
          "merge into parent using s on true when matched then delete"}) {
        const std::string shown(sql);
        CAPTURE(shown);
        CHECK((bits(*names, sql) & setting) != 0);
    }
    for (const auto* const sql : {"select * from triggering", "table parent", "select look()",
                                  "insert into other values (1)"}) {
        const std::string shown(sql);
        CAPTURE(shown);
        CHECK(bits(*names, sql) == 0);
    }
}

TEST_CASE("hidden_effects: views, and those of views") {
    catalogue from;
    from.row("t", "2618.1", "2078 20 0 0 0 120 ")
        .row("n", "2618.1", "")
        .table("1259.2", "v")
        .uses("1259.2", "2618.1")
        .uses("2618.3", "1259.2")
        .table("1259.4", "view of \"v\"")
        .uses("1259.4", "2618.3");
    const auto names = from.read();
    CHECK(bits(*names, "select * from v") == setting);
    CHECK(bits(*names, "select * from \"view of \"\"v\"\"\"") == setting);
    CHECK(names->find("v")->always.settings == names->find("view of \"\"v\"\"")->always.settings);
    CHECK(names->find("v")->always.settings.names.contains("x"));
    CHECK(!names->find("v")->always.settings.unknown);
}

TEST_CASE("hidden_effects: calls in what PostgreSQL has parsed") {
    catalogue from;
    const auto called = [&from](std::string_view name, std::string_view call) {
        const auto id = "1255." + std::to_string(name[0]);
        from.row("n", id, name).row("l", id, "sql").row("t", id, call);
    };
    called("a", "2078 28 0 0 0 97 46 88 ");
    called("b", "2078");
    called("c", "2078 28 0 0 0 97 -61 -92 ");
    called("d", "2078 20 0 0");
    called("e", "2880 8 0 0 0 1 0 0 0 ");
    called("f", "2884");
    called("g", "1599");
    called("h", "1575");
    called("i", "4711");
    called("j", "nonsense");
    called("k", "2924 28 0 0 0 97 46 88 ");
    from.row("t", "1255.97", "2880");
    const auto names = from.read();
    CHECK(names->find("a")->always.bits == (setting | lock));
    CHECK(names->find("a")->always.settings.names.contains("a.x"));
    CHECK(!names->find("a")->always.settings.unknown);
    for (const auto* const name : {"b", "c", "d"}) {
        CAPTURE(name[0]);
        CHECK(names->find(name)->always.bits == setting);
        CHECK(names->find(name)->always.settings.unknown);
    }
    CHECK(names->find("e")->always.bits == lock);
    CHECK(names->find("f")->always.bits == gives_up_lock);
    CHECK(names->find("g")->always.bits == static_cast<effect_bits>(pin_reason::random_seed));
    CHECK(names->find("h")->always.bits == reads_sequences);
    CHECK(names->find("i") == nullptr);
    CHECK(names->find("j") == nullptr);
    CHECK(names->find("k")->always.bits == (setting | bit_of(pin_reason::large_statement)));
    CHECK(names->find("k")->always.settings.unknown);
}

TEST_CASE("hidden_effects: a body that PostgreSQL has parsed, and that writes") {
    catalogue from;
    from.function("1255.1", "on_row", "begin perform pg_advisory_lock(1); end")
        .row("n", "2620.7", "")
        .uses("2620.7", "1255.1")
        .table("1259.8", "triggering")
        .uses("1259.8", "2620.7");
    for (const auto* const id : {"1255.2", "1255.3"}) {
        from.row("n", id, id[5] == '2' ? "fill" : "look").row("l", id, "sql").uses(id, "1259.8");
    }
    from.row("w", "1255.2", "");
    const auto names = from.read();
    CHECK(bits(*names, "select fill()") == lock);
    CHECK(bits(*names, "select look()") == 0);
}

TEST_CASE("hidden_effects: where more is not known, any text may do anything") {
    catalogue from;
    from.function("1255.16400", "f", "begin perform pg_advisory_lock(1); end");
    const auto names = from.read()->with_more_unknown();
    CHECK(!names.empty());
    CHECK(bits(names, "select f()") == (lock | may_hide));
    for (const auto* const sql : {"select 1", "insert into t values (1)", "table t", "call g()"}) {
        const std::string shown(sql);
        CAPTURE(shown);
        CHECK(bits(names, sql) == may_hide);
        session_state state;
        state.statement(sql, bits(names, sql), &names);
        CHECK(state.suspicious());
        CHECK(state.pins_to_ask() == session_state::askable);
        CHECK(state.settings_to_ask());
        CHECK(state.changed_settings().some_listed);
        state.pins_told(session_state::askable, 0);
        CHECK(state.pinned()); // what was to be asked is still to be
        state.clear();
        CHECK(!state.suspicious());
    }
    for (const auto* const sql : {"begin", "commit", "rollback; begin", "show x", "savepoint a"}) {
        const std::string shown(sql);
        CAPTURE(shown);
        CHECK(bits(names, sql) == 0);
    }
}

TEST_CASE("hidden_effects: what no name shows concerns every statement") {
    catalogue from;
    from.function("1255.1", "f", "begin perform pg_advisory_lock(1); end")
        .row("n", "2617.5", "")
        .uses("2617.5", "1255.1");
    const auto names = from.read();
    CHECK(bits(*names, "select 1 === 2") == lock);
    CHECK(bits(*names, "begin; commit") == 0);
    CHECK(bits(*names, "show x") == 0);
}

TEST_CASE("hidden_effects: event triggers") {
    catalogue from;
    from.function("1255.1", "on_ddl", "begin perform pg_advisory_lock(1); end")
        .row("n", "3466.5", "")
        .uses("3466.5", "1255.1");
    const auto names = from.read();
    CHECK((bits(*names, "create table t ()") & lock) != 0);
    CHECK((bits(*names, "drop table t") & lock) != 0);
    CHECK(bits(*names, "select 1") == 0);
}

TEST_CASE("hidden_effects: other languages") {
    catalogue from;
    from.function("1255.1", "keep", "$_SHARED{x} = $_[0]; return", "plperl")
        .function("1255.2", "be", "spi_exec_query(\"set role x\"); return", "plperl")
        .function("1255.3", "py", "GD['x'] = 1", "plpython3u")
        .function("1255.11", "pyrole", "plpy.execute('set role ' + args[0])", "plpython3u")
        .function("1255.12", "pyset", "plpy.execute(f\"set {args[0]} to '{args[1]}'\")",
                  "plpython3u")
        .function("1255.13", "pydict", "return { 'set': 1, 'of': \"create \" }['set']",
                  "plpython3u")
        .function("1255.4", "pylock", "plpy.execute('select pg_advisory_lock(1)')", "plpython3u")
        .function("1255.9", "pyany", "plpy.execute(args[0])", "plpython3u")
        .function("1255.5", "tcl", "set x 1\nset y 2\nreturn $x", "pltcl")
        .function("1255.6", "via", "plpy.execute(\"select keep(1)\")", "plpython3u")
        .function("1255.7", "dblink_connect", "", "c")
        .function("1255.8", "other", "", "c")
        .function("1255.10", "set_limits", "", "internal");
    const auto names = from.read();
    CHECK(names->find("keep")->always.bits == library);
    CHECK(names->find("be")->always.bits == setting);
    CHECK(names->find("py")->always.bits == library);
    CHECK(names->find("pyrole")->always.bits == setting);
    CHECK(names->find("pyrole")->always.settings.names.at("role") == setting_changes::how::set);
    CHECK(!names->find("pyrole")->always.settings.unknown);
    CHECK(names->find("pyset")->always.settings.unknown);
    CHECK(names->find("pydict")->always.bits == bit_of(pin_reason::temporary_object));
    CHECK(names->find("pylock")->always.bits == lock);
    CHECK(names->find("pyany")->always.settings.unknown);
    CHECK(names->find("tcl") == nullptr);
    CHECK(names->find("via")->always.bits == library);
    CHECK(names->find("dblink_connect")->always.bits == library);
    CHECK(names->find("other")->always.bits == library);
    CHECK(names->find("set_limits") == nullptr);
}

TEST_CASE("hidden_effects: code in pieces, and an answer that makes no sense") {
    const std::string code = "begin perform pg_advisory_lock(1); end";
    for (std::size_t at = 0; at <= code.size(); ++at) {
        catalogue from;
        from.function("1255.1", "f", code.substr(0, at)).row("c", "1255.1", code.substr(at));
        CHECK(from.read()->find("f")->always.bits == lock);
    }
    catalogue none;
    CHECK(none.read()->empty());
    catalogue bad;
    bad.row("?", "1255.1", "x");
    CHECK(bad.read() == nullptr);
    catalogue cut;
    cut.answer.take_row({}); // it was too long
    CHECK(cut.read() == nullptr);
    catalogue failed;
    failed.answer.fail("permission denied");
    CHECK(failed.read() == nullptr);
    CHECK(read_hidden_effects(failed.answer).failure == "permission denied");
    std::string row;
    message_writer(row).u16(3).u32(1).raw("n").u32(9).raw("1255.1");
    catalogue short_one;
    short_one.answer.take_row(as_bytes(row));
    CHECK(short_one.read() == nullptr);
}

TEST_CASE("hidden_effects: many rows, and too many") {
    const std::string padding = "--" + std::string(890, 'x') + '\n';
    catalogue from;
    constexpr std::size_t functions = 2'000;
    for (std::size_t i = 0; i < functions; ++i) {
        const auto number = std::to_string(i);
        from.row("n", "1255." + number, "f" + number).row("l", "1255." + number, "plpgsql");
        from.row("c", "1255." + number, padding);
        from.row("c", "1255." + number, "begin perform pg_advisory_lock(1); end");
    }
    const auto names = from.read();
    REQUIRE(names != nullptr);
    CHECK(names->size() == functions);

    catalogue all;
    std::size_t rows = 0;
    while (all.answer.failure().empty()) {
        all.row("c", "1255.1", padding);
        ++rows;
    }
    CHECK(all.answer.failure() == "there is too much of it");
    CHECK(rows * padding.size() < 16U * 1'024U * 1'024U);
    all.row("c", "1255.1", padding);
    CHECK(all.read() == nullptr);
}

TEST_CASE("hidden_effects: the question is answered in one batch of our own") {
    std::string out;
    reply_queue owed;
    append_hidden_effects_question(out, owed, std::chrono::milliseconds(750));
    CHECK(out.find("'statement_timeout', '750'") != std::string::npos);
    CHECK(owed.owed_ready(fate::swallow) == 1);
    CHECK(owed.owed_ready(fate::forward) == 0);
    CHECK(!owed.batch_open());
}

TEST_CASE("hidden_effects: names that are the same are equal") {
    const auto read = [](std::string_view code) {
        catalogue from;
        from.function("1255.1", "f", code);
        return from.read();
    };
    CHECK(*read("select setseed(1)") == *read("select setseed(2)"));
    CHECK(!(*read("select setseed(1)") == *read("select lastval()")));
}
