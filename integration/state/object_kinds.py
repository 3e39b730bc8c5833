"""Kinds of state that are things of the session's own: temporary objects and holdable cursors. Every
client's have the same name, so that another client's would be found."""

from integration.state.registry import kind
from integration.state.stage import USER

NO_TABLE = "select to_regclass('pg_temp.mine')::text"


def no_table(s):
    s.shows(None, NO_TABLE)


def has_table(s, value):
    s.shows(value, "select value from mine")
    s.run("update mine set value = value || '+'")
    s.shows(value + "+", "select value from mine")


# Temporary objects ----------------------------------------------------------------------------------

@kind()
def temp_table(s):
    """CREATE TEMP TABLE, used, dropped, made again, and left to the session's end."""
    no_table(s)
    s.run("create temp table mine (value text)", "insert into mine values ('%s')" % s.first_name)
    has_table(s, s.first_name)
    s.run("drop table mine")
    no_table(s)
    s.run("create temp table mine (value text)", "insert into mine values ('%s')" % s.second_name)
    has_table(s, s.second_name)


@kind()
def temp_table_in_query(s):
    """... among other statements in one Query."""
    s.run("select 1; create temporary table mine as select '%s'::text as value; select 2" % s.first_name)
    has_table(s, s.first_name)


@kind()
def temp_table_as(s):
    """CREATE TEMP TABLE AS."""
    s.run("create temp table mine as select '%s'::text as value" % s.first_name)
    has_table(s, s.first_name)


@kind()
def temp_table_into(s):
    """SELECT INTO TEMP."""
    s.run("select '%s'::text as value into temp mine" % s.first_name)
    has_table(s, s.first_name)


@kind()
def temp_table_bound(s):
    """CREATE TEMP TABLE AS in a named statement, carried out twice."""
    s.prepare("make", "create temp table mine as select '%s'::text as value" % s.first_name)
    for _ in range(2):
        s.execute("make")
        has_table(s, s.first_name)
        s.run("drop table mine")
        no_table(s)


@kind()
def temp_table_as_execute(s):
    """CREATE TEMP TABLE AS EXECUTE."""
    s.run("prepare source as select '%s'::text as value" % s.first_name,
          "create temp table mine as execute source")
    has_table(s, s.first_name)


@kind()
def temp_table_explained(s):
    """EXPLAIN ANALYZE CREATE TEMP TABLE AS, which makes it."""
    s.run("explain analyze create temp table mine as select '%s'::text as value" % s.first_name)
    has_table(s, s.first_name)


@kind()
def temp_table_by_schema(s):
    """A table made in pg_temp, without the word TEMP."""
    s.run("create table pg_temp.mine as select '%s'::text as value" % s.first_name)
    has_table(s, s.first_name)


@kind()
def temp_table_by_search_path(s):
    """A table made where search_path says: in pg_temp."""
    s.run("set search_path = pg_temp, public", "create table mine as select '%s'::text as value"
          % s.first_name)
    has_table(s, s.first_name)


@kind()
def temp_table_in_do(s):
    """CREATE TEMP TABLE in a DO block."""
    s.run("do $$ begin create temp table mine as select '%s'::text as value; end $$" % s.first_name)
    has_table(s, s.first_name)


@kind()
def temp_table_in_do_by_schema(s):
    """... without the word TEMP, put together."""
    s.run("do $$ begin execute 'create table pg_' || 'temp.mine as select ''%s''::text as value'; end $$"
          % s.first_name)
    has_table(s, s.first_name)


@kind()
def temp_table_in_function(s):
    """CREATE TEMP TABLE in a function."""
    no_table(s)
    s.run("select hidden.stash('%s')" % s.first_name)
    has_table(s, s.first_name)


@kind()
def temp_table_rolled_back(s):
    """A temporary table that was never there."""
    s.run("begin", "create temp table mine (value text)", "rollback")
    no_table(s)


@kind()
def temp_table_on_commit(s):
    """ON COMMIT DROP and ON COMMIT DELETE ROWS."""
    s.run("begin", "create temp table mine (value text) on commit drop",
          "insert into mine values ('%s')" % s.first_name)
    s.shows(s.first_name, "select value from mine", 1)
    s.run("commit")
    no_table(s)
    s.run("create temp table mine (value text) on commit delete rows",
          "insert into mine values ('%s')" % s.first_name)
    s.shows("0", "select count(*) from mine")


@kind()
def temp_table_shadows(s):
    """A temporary table hides a permanent one from its session only."""
    s.shows("permanent", "select value from shadowed")
    s.run("create temp table shadowed as select '%s'::text as value" % s.first_name)
    s.shows(s.first_name, "select value from shadowed")
    s.run("drop table pg_temp.shadowed")
    s.shows("permanent", "select value from shadowed")


@kind()
def temp_table_under_prepared(s):
    """A named statement whose table the session has hidden by one of its own."""
    s.prepare("mine", "select value from shadowed")
    s.is_shown([("permanent",)], "named statement", s.execute("mine"))
    s.run("create temp table shadowed as select '%s'::text as value" % s.first_name)
    for _ in range(3):
        s.is_shown([(s.first_name,)], "named statement", s.execute("mine"))


@kind()
def temp_view(s):
    """CREATE TEMP VIEW, and a view that is temporary because its table is."""
    s.run("create temp view mine as select '%s'::text as value" % s.first_name)
    s.shows(s.first_name, "select value from mine")
    s.run("create or replace temporary view mine as select '%s'::text as value" % s.second_name)
    s.shows(s.second_name, "select value from mine")


@kind()
def temp_sequence(s):
    """CREATE TEMP SEQUENCE."""
    s.run("create temp sequence mine start %s" % s.first)
    for step in range(4):
        s.shows(str(s.marks.numbers[0] + step), "select nextval('mine')", 1)


@kind()
def temp_function(s):
    """A function in pg_temp."""
    s.run("create function pg_temp.mine() returns text language sql as $$ select '%s'::text $$"
          % s.first_name)
    s.shows(s.first_name, "select pg_temp.mine()")


@kind()
def temp_type(s):
    """A domain and an enumeration in pg_temp."""
    s.run("create domain pg_temp.mine as text default '%s'" % s.first_name,
          "create type pg_temp.colour as enum ('%s')" % s.first_name)
    s.shows(s.first_name, "select enum_first(null::pg_temp.colour)::text")


@kind()
def temp_objects_discarded(s):
    """DISCARD TEMP."""
    s.run("create temp table mine (value text)", "create temp view too as select 1", "discard temp")
    no_table(s)
    s.shows(None, "select to_regclass('pg_temp.too')::text")


@kind()
def temp_schema(s):
    """pg_my_temp_schema() is the same from the first temporary object on."""
    s.run("create temp table mine (value text)")
    schema = s.value("select pg_my_temp_schema()::text")
    s.is_shown(True, "pg_my_temp_schema() %s is not 0" % schema, schema != "0")
    s.shows(schema, "select pg_my_temp_schema()::text")
    s.shows(schema, "select relnamespace::text from pg_class where oid = 'mine'::regclass")


@kind()
def temp_schema_is_none_at_first(s):
    """pg_my_temp_schema() is 0 before the first temporary object."""
    s.shows("0", "select pg_my_temp_schema()::text")


# Cursors --------------------------------------------------------------------------------------------

def fetches(s, value):
    for _ in range(3):
        s.shows(value, "fetch mine", 1)


@kind()
def hold_cursor(s):
    """DECLARE WITH HOLD, fetched from and closed."""
    s.fails("34000", "fetch mine")
    s.run("declare mine cursor with hold for select generate_series(%s, %s)"
          % (s.first, s.marks.numbers[0] + 9))
    for step in range(4):
        s.shows(str(s.marks.numbers[0] + step), "fetch mine", 1)
    s.run("close mine")
    s.fails("34000", "fetch mine")


@kind()
def hold_cursor_in_transaction(s):
    """A holdable cursor outlives its transaction, and not its rollback."""
    declare = "declare mine scroll cursor with hold for select '%s'::text from generate_series(1, 9)"
    s.run("begin", declare % s.first_name, "rollback")
    s.fails("34000", "fetch mine")
    s.run("begin", declare % s.second_name, "fetch mine", "commit")
    fetches(s, s.second_name)


@kind()
def hold_cursor_in_do(s):
    """DECLARE WITH HOLD in a DO block."""
    s.run("do $$ begin execute 'declare mine cursor with hold for select ''%s''::text"
          " from generate_series(1, 9)'; end $$" % s.first_name)
    fetches(s, s.first_name)


@kind()
def hold_cursor_in_function(s):
    """DECLARE WITH HOLD in a function."""
    s.run("select hidden.open('%s')" % s.first_name)
    fetches(s, s.first_name)


@kind()
def cursor_in_transaction(s):
    """A cursor without HOLD ends with its transaction."""
    s.run("begin", "declare mine cursor for select '%s'::text from generate_series(1, 9)" % s.first_name)
    fetches(s, s.first_name)
    s.run("commit")
    s.fails("34000", "fetch mine")


# A new session --------------------------------------------------------------------------------------

@kind()
def left_in_transaction(s):
    """A session that leaves in a transaction, having touched all it could: for others to find."""
    s.run("begin", "set join_collapse_limit = " + s.first, "set state.owner = '%s'" % s.first_name,
          "set role state_role_1", "reset role", "create temp table mine (value text)",
          "declare mine cursor with hold for select 1", "prepare mine as select 1",
          "listen %s" % s.first_name, "select pg_advisory_lock(%s)" % s.first,
          "set local role state_role_2")
    s.shows("state_role_2", "select current_user::text", 1)


@kind()
def several_at_once(s):
    """Many kinds of state, given up one by one."""
    s.run("set join_collapse_limit = " + s.first, "create temp table mine as select '%s' as value"
          % s.first_name, "listen " + s.first_name, "select pg_advisory_lock(%s)" % s.first,
          "prepare mine as select value from mine")
    for end in ("unlisten *", "select pg_advisory_unlock(%s)" % s.first, "set work_mem = '7MB'"):
        s.shows(s.first_name, "execute mine")
        s.run(end)
    s.run("drop table mine")
    no_table(s)
    s.run("deallocate mine")
    s.fails("26000", "execute mine")
    s.setting("work_mem", "7MB")
    s.setting("join_collapse_limit", s.first)


@kind()
def nothing_at_first(s):
    """A new session has nothing of those who have left."""
    for sql in ("select count(*) from pg_cursors where is_holdable",
                "select count(*) from pg_listening_channels()",
                "select count(*) from pg_locks where pid = pg_backend_pid() and locktype = 'advisory'",
                "select count(*) from pg_class where relnamespace = pg_my_temp_schema()"):
        s.shows("0", sql)
    s.shows(USER, "select current_user::text")
