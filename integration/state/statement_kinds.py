"""Kinds of state that are prepared statements. Every client's have the same names."""

from integration.state.registry import kind
from integration.state.stage import role_of
from integration.support import wire

NO_STATEMENT = "26000"


def returns(s, name, value, *values):
    for _ in range(3):
        s.is_shown([(value,)], "statement " + name, s.execute(name, *values))


@kind()
def sql_prepare(s):
    """PREPARE, EXECUTE, DEALLOCATE, and PREPARE of something else under the same name."""
    s.fails(NO_STATEMENT, "execute mine")
    for value in (s.first_name, s.second_name):
        s.run("prepare mine as select '%s'::text" % value)
        s.shows(value, "execute mine")
        s.run("deallocate mine")
        s.fails(NO_STATEMENT, "execute mine")


@kind()
def sql_prepare_rolled_back(s):
    """PREPARE and DEALLOCATE are not undone by ROLLBACK."""
    s.run("begin", "prepare mine as select '%s'::text" % s.first_name, "rollback")
    s.shows(s.first_name, "execute mine")
    s.run("begin", "deallocate mine", "rollback")
    s.fails(NO_STATEMENT, "execute mine")


@kind()
def sql_prepare_in_do(s):
    """PREPARE in a DO block."""
    s.run("do $$ begin execute 'prepare mine as select ''%s''::text'; end $$" % s.first_name)
    s.shows(s.first_name, "execute mine")


@kind()
def sql_prepare_in_function(s):
    """PREPARE in a function."""
    s.run("select hidden.remember('%s')" % s.first_name)
    s.shows(s.first_name, "execute mine")


@kind()
def sql_prepare_joined(s):
    """PREPARE and the name, joined in a DO block."""
    s.run("do $$ begin execute 'prepare ' || 'mine' || ' as select ''%s''::text'; end $$" % s.first_name)
    s.shows(s.first_name, "execute mine")


@kind()
def named_statement(s):
    """Parse under a name, Bind later, Close, and another under that name."""
    for value in (s.first_name, s.second_name):
        s.prepare("mine", "select '%s' || $1::text" % value)
        returns(s, "mine", value + "!", "!")
        s.converse(wire.message("C", b"Smine\0"), wire.SYNC)
        with s.refusal(NO_STATEMENT, "closed statement"):
            s.execute("mine", "!")


@kind()
def named_statement_twice(s):
    """Parse under a name that is taken is an error."""
    s.prepare("mine", "select '%s'::text" % s.first_name)
    with s.refusal("42P05", "Parse of a name that is taken"):
        s.prepare("mine", "select '%s'::text" % s.second_name)
    returns(s, "mine", s.first_name)


@kind()
def named_statement_in_sql(s):
    """EXECUTE and DEALLOCATE of a statement prepared with Parse."""
    s.prepare("mine", "select '%s' || $1::text" % s.first_name)
    s.shows(s.first_name + "!", "execute mine('!')")
    s.run("deallocate mine")
    s.fails(NO_STATEMENT, "execute mine('!')")


@kind()
def sql_statement_bound(s):
    """Bind of a statement prepared with PREPARE."""
    s.run("prepare mine as select '%s' || $1::text" % s.first_name)
    returns(s, "mine", s.first_name + "!", "!")


@kind()
def unnamed_statement(s):
    """Parse without a name, Bind transactions later."""
    s.converse(wire.parse("select '%s' || $1::text" % s.first_name), wire.SYNC)
    for _ in range(3):
        s.is_shown([(s.first_name + "!",)], "unnamed statement", s.execute("", "!"))


@kind()
def all_deallocated(s):
    """DEALLOCATE ALL, of both kinds."""
    s.prepare("mine", "select 1")
    s.run("prepare too as select 1", "deallocate all")
    s.fails(NO_STATEMENT, "execute too")
    with s.refusal(NO_STATEMENT, "a statement that is gone"):
        s.execute("mine")


@kind()
def prepared_statements_listed(s):
    """pg_prepared_statements lists the session's own."""
    s.prepare("mine", "select '%s'::text" % s.first_name)
    for _ in range(3):
        s.is_shown([("mine",)], "pg_prepared_statements",
                   s.simple("select name from pg_prepared_statements"))


@kind()
def statement_with_own_table(s):
    """A named statement about a temporary table, which is made again otherwise."""
    s.run("create temp table mine as select '%s'::text as value" % s.first_name)
    s.prepare("mine", "select value from mine")
    returns(s, "mine", s.first_name)
    s.run("drop table mine", "create temp table mine as select '%s'::text as value" % s.second_name)
    returns(s, "mine", s.second_name)


# What a statement does that was prepared with Parse, when SQL's EXECUTE carries it out ----------------

@kind()
def set_by_execute(s):
    """SET."""
    s.prepare("mine", "set join_collapse_limit = " + s.first)
    s.run("execute mine")
    s.setting("join_collapse_limit", s.first)


@kind()
def set_config_by_execute(s):
    """set_config()."""
    s.prepare("mine", "select set_config('join_collapse_limit', $1, false)")
    for value in (s.first, s.second):
        s.run("execute mine('%s')" % value)
        s.setting("join_collapse_limit", value)


@kind()
def set_role_by_execute(s):
    """SET ROLE."""
    s.prepare("mine", "set role " + role_of(s.marks.client))
    s.run("execute mine")
    s.shows(role_of(s.marks.client), "select current_user::text")


@kind()
def temp_table_by_execute(s):
    """CREATE TEMP TABLE AS."""
    s.prepare("mine", "create temp table mine as select '%s'::text as value" % s.first_name)
    s.run("execute mine")
    s.shows(s.first_name, "select value from mine")


@kind()
def hold_cursor_by_execute(s):
    """DECLARE WITH HOLD."""
    s.prepare("mine", "declare mine cursor with hold for select '%s'::text from generate_series(1, 9)"
              % s.first_name)
    s.run("execute mine")
    for _ in range(3):
        s.shows(s.first_name, "fetch mine", 1)


@kind()
def listen_by_execute(s):
    """LISTEN."""
    s.prepare("mine", "listen " + s.first_name)
    s.run("execute mine")
    s.shows(s.first_name, "select coalesce(string_agg(c, ','), 'none') from pg_listening_channels() c")


@kind()
def do_by_execute(s):
    """DO with set_config() of a name that is put together."""
    s.prepare("mine", "do $$ begin perform set_config('state.' || 'owner', '%s', false); end $$"
              % s.first_name)
    s.run("execute mine")
    s.setting("state.owner", s.first_name)


@kind()
def execute_of_what_is_not_found(s):
    """EXECUTE of a protocol-level statement whose table the search_path no longer finds: an error, no more."""
    s.run("set search_path = state_schema_1")
    s.prepare("mine", "select value from whoami")
    s.run("set search_path = public")
    s.fails("42P01", "execute mine")
    s.shows("public", "select current_schema()::text")
