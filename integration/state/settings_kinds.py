"""Kinds of state that are settings, whichever way they are set. join_collapse_limit and
from_collapse_limit take any number, have no unit, and PostgreSQL does not report their changes;
application_name, datestyle and a few others are reported."""

from integration.state.registry import kind
from integration.state.stage import CONFIGURED
from integration.support import wire

PLAIN, OTHER = "join_collapse_limit", "from_collapse_limit"
DEFAULT = "8"  # of both


def at_start_up(marks):
    return {"options": "-c %s=%d" % (PLAIN, marks.numbers[0])}


# SET and its relatives ------------------------------------------------------------------------------

@kind()
def set_plain(s):
    """SET, twice, beside another one that stays as it was."""
    s.setting(PLAIN, DEFAULT)
    for value in (s.first, s.second):
        s.run("set %s = %s" % (PLAIN, value))
        s.setting(PLAIN, value)
    s.setting(OTHER, DEFAULT)


@kind()
def set_reported(s):
    """application_name, which PostgreSQL reports, and shows in pg_stat_activity."""
    s.run("set application_name = '%s'" % s.first_name)
    s.setting("application_name", s.first_name)
    s.shows(s.first_name, "select application_name from pg_stat_activity where pid = pg_backend_pid()")
    s.is_shown(s.first_name, "ParameterStatus", s.reported.get("application_name"))


@kind(parameters=lambda marks: {"client_encoding": "SJIS"})
def set_behind_half_a_character(s):
    """Characters of SJIS may end in a backslash, which escapes nothing."""
    character = b"\x83\\".decode(errors="surrogateescape")
    s.run("select E'%s', set_config('%s', '%s', false)" % (character, PLAIN, s.first))
    s.setting(PLAIN, s.first)
    s.setting(OTHER, DEFAULT)


@kind()
def set_local(s):
    """SET LOCAL holds until the transaction ends."""
    s.run("set %s = %s" % (PLAIN, s.first), "begin", "set local %s = %s" % (PLAIN, s.second))
    s.setting(PLAIN, s.second)
    s.run("commit")
    s.setting(PLAIN, s.first)


@kind()
def set_then_set_local(s):
    """A SET under a SET LOCAL is what remains."""
    s.run("begin", "set %s = %s" % (PLAIN, s.first), "set local %s = %s" % (PLAIN, s.second), "commit")
    s.setting(PLAIN, s.first)


@kind()
def set_rolled_back(s):
    """ROLLBACK undoes SET."""
    s.run("set %s = %s" % (PLAIN, s.first), "begin", "set %s = %s" % (PLAIN, s.second), "rollback")
    s.setting(PLAIN, s.first)


@kind()
def set_rolled_back_to_savepoint(s):
    """ROLLBACK TO undoes what was set since."""
    s.run("begin", "set %s = %s" % (PLAIN, s.first), "savepoint s", "set %s = %s" % (PLAIN, s.second),
          "rollback to s", "commit")
    s.setting(PLAIN, s.first)


@kind()
def set_in_failed_query(s):
    """SET and an error in one Query: undone."""
    s.run("set %s = %s" % (PLAIN, s.first))
    s.fails("22012", "set %s = %s; select 1/0" % (PLAIN, s.second))
    s.setting(PLAIN, s.first)


@kind()
def set_in_failed_batch(s):
    """SET and an error before one Sync: undone; the next batch is another matter."""
    s.run("set %s = %s" % (PLAIN, s.first))
    with s.refusal("22012", "a batch that fails"):
        s.converse(*s.batch("set %s = %s" % (PLAIN, s.second)), *s.batch("select 1/0"), wire.SYNC)
    s.setting(PLAIN, s.first)
    with s.refusal("22012", "a pipeline that fails"):
        s.converse(*s.batch("set %s = %s" % (PLAIN, s.second)), wire.SYNC, *s.batch("select 1/0"),
                   wire.SYNC, syncs=2)
    s.setting(PLAIN, s.second)


@kind()
def set_in_pipeline(s):
    """SET, Sync, and what shows it, in one write."""
    for value in (s.first, s.second):
        s.is_shown([(value,)], "in the same write", s.converse(
            *s.batch("set %s = %s" % (PLAIN, value)), wire.SYNC,
            *s.batch("select current_setting('%s')" % PLAIN), wire.SYNC, syncs=2))
        s.setting(PLAIN, value)


@kind()
def set_in_prepared_transaction(s):
    """PREPARE TRANSACTION keeps what was set, for the session."""
    s.run("begin", "set %s = %s" % (PLAIN, s.first),
          "insert into hidden.written values ('%s')" % s.first_name,
          "prepare transaction '%s'" % s.first_name)
    s.setting(PLAIN, s.first)
    s.run("rollback prepared '%s'" % s.first_name)
    s.setting(PLAIN, s.first)


@kind()
def set_spelled_oddly(s):
    """SET and set_config() behind comments and in quotes."""
    for statement in ("/* a /* nested */ one */ -- and this\n  sEt/**/%s/**/=/**/%s",
                      'select pg_catalog . "set_config"(\'%s\', \'%s\', false)',
                      "select set_config(E'%s', $$%s$$, 'f')"):
        for value in (s.first, s.second):
            s.run(statement % (PLAIN, value))
            s.setting(PLAIN, value)


@kind()
def set_spelled_in_unicode_escapes(s):
    """set_config() as an identifier of which some letters are escaped."""
    for value in (s.first, s.second):
        s.run('select U&"set!005fconfig" uescape \'!\' (\'%s\', \'%s\', false)' % (PLAIN, value))
        s.setting(PLAIN, value)


@kind()
def set_between_odd_strings(s):
    """What is a string depends on standard_conforming_strings."""
    s.run("set standard_conforming_strings = off")
    s.shows("it's", "select 'it\\'s'")
    s.run("select 'x\\'y'; set %s = %s; select 'z\\'w'" % (PLAIN, s.first))
    s.setting(PLAIN, s.first)
    s.shows("; set join_collapse_limit = 99; --'", "select '; set join_collapse_limit = 99; --\\''")
    s.setting(PLAIN, s.first)
    s.run("set standard_conforming_strings = on")
    s.shows("it\\", "select 'it\\'")


@kind()
def set_config_called(s):
    """set_config() in a FunctionCall message, without a text."""
    s.call("set_config(text,text,boolean)", PLAIN, s.first, "f")
    s.setting(PLAIN, s.first)


@kind()
def set_chained(s):
    """COMMIT AND CHAIN and ROLLBACK AND CHAIN begin a transaction at once."""
    s.run("begin", "set %s = %s" % (PLAIN, s.first), "commit and chain",
          "set %s = %s" % (PLAIN, s.second), "rollback and chain")
    s.setting(PLAIN, s.first)
    s.run("commit")
    s.setting(PLAIN, s.first)


@kind()
def reset(s):
    """RESET and SET TO DEFAULT."""
    for undo in ("reset " + PLAIN, "set %s to default" % PLAIN):
        s.run("set %s = %s" % (PLAIN, s.first))
        s.setting(PLAIN, s.first)
        s.run(undo)
        s.setting(PLAIN, DEFAULT)


@kind(parameters=at_start_up)
def reset_to_start_up(s):
    """RESET goes back to what the client asked for at start-up."""
    s.setting(PLAIN, s.first)
    s.run("set %s = %s" % (PLAIN, s.second))
    s.setting(PLAIN, s.second)
    s.run("reset " + PLAIN)
    s.setting(PLAIN, s.first)


@kind(parameters=at_start_up)
def reset_to_start_up_in_transaction(s):
    """RESET within a transaction block shows the start-up value at once."""
    s.run("set %s = %s" % (PLAIN, s.second), "begin", "reset " + PLAIN)
    s.setting(PLAIN, s.first)
    s.run("commit")
    s.setting(PLAIN, s.first)


@kind(parameters=at_start_up)
def reset_all(s):
    """RESET ALL: what was asked for at start-up stays, the rest goes."""
    s.run("set %s = %s" % (PLAIN, s.second), "set %s = %s" % (OTHER, s.second), "reset all")
    s.setting(PLAIN, s.first)
    s.setting(OTHER, DEFAULT)


@kind(parameters=at_start_up)
def reset_all_hidden(s):
    """RESET ALL, put together in a function."""
    s.run("set %s = %s" % (OTHER, s.second), "select hidden.undo()")
    s.setting(PLAIN, s.first)
    s.setting(OTHER, DEFAULT)


@kind(parameters=at_start_up)
def discard_all(s):
    """DISCARD ALL: a new session, with the client's start-up settings."""
    s.run("set %s = %s" % (PLAIN, s.second), "set %s = %s" % (OTHER, s.second),
          "create temp table mine as select 1 as value", "prepare mine as select 1", "discard all")
    s.setting(PLAIN, s.first)
    s.setting(OTHER, DEFAULT)
    s.shows(None, "select to_regclass('pg_temp.mine')::text")
    s.fails("26000", "execute mine")


@kind(parameters=at_start_up)
def reset_all_after_unseen(s):
    """RESET ALL, and RESET, after something was set whose name no text shows."""
    for undo in ("reset all", "reset " + PLAIN):
        s.run("set %s = %s" % (PLAIN, s.second))
        s.bound("select set_config($1, $2, false)", OTHER, s.second)
        s.run(undo)
        s.setting(PLAIN, s.first)


@kind(user=CONFIGURED, parameters=lambda marks: {"options": "-c state.tenant=" + marks.names[0]})
def reset_to_start_up_of_role(s):
    """RESET ALL of a custom setting that the role has by ALTER ROLE, and the client by its start-up packet."""
    s.run("reset all")
    s.setting("state.tenant", s.first_name)


@kind(parameters=lambda marks: {"application_name": marks.names[0], "datestyle": "German"})
def reported_after_reset(s):
    """What is reported after RESET, RESET ALL and DISCARD ALL is what was asked for at start-up."""
    for undo in ("reset datestyle", "reset all", "discard all"):
        s.run("set datestyle = 'SQL, DMY'", "set application_name = '%s'" % s.second_name, undo)
        s.run("select 1")  # by then, if not at once
        s.is_shown("German, DMY", "reported after " + undo, s.reported.get("DateStyle"))
    s.is_shown(s.first_name, "reported name", s.reported.get("application_name"))


@kind(parameters=lambda marks: {"application_name": marks.names[0], "datestyle": "German",
                                "options": "-c %s=%d" % (OTHER, marks.numbers[1])})
def start_up_parameters(s):
    """Start-up parameters and options."""
    s.setting("application_name", s.first_name)
    s.setting(OTHER, s.second)
    s.shows("04.03.2026", "select date '2026-03-04'::text")


@kind(parameters=lambda marks: {"options": "-c state.tenant=" + marks.names[0]})
def start_up_custom_setting(s):
    """A custom setting in the start-up options."""
    s.setting("state.tenant", s.first_name)
    s.run("set state.tenant = '%s'" % s.second_name)
    s.setting("state.tenant", s.second_name)
    s.run("reset state.tenant")
    s.setting("state.tenant", s.first_name)


@kind(user=CONFIGURED)
def settings_of_role(s):
    """ALTER ROLE SET, also in one database: what RESET goes back to."""
    s.setting(OTHER, "5")
    s.setting(PLAIN, "6")
    s.run("set %s = %s" % (OTHER, s.first))
    s.setting(OTHER, s.first)
    s.run("reset " + OTHER)
    s.setting(OTHER, "5")
    s.run("set %s = %s" % (PLAIN, s.first), "discard all")
    s.setting(PLAIN, "6")


@kind(user=CONFIGURED)
def custom_setting_of_role(s):
    """ALTER ROLE SET of a custom setting."""
    s.setting("state.tenant", "configured")
    s.run("set state.tenant = '%s'" % s.first_name)
    s.setting("state.tenant", s.first_name)
    s.run("reset state.tenant")
    s.setting("state.tenant", "configured")


# set_config -----------------------------------------------------------------------------------------

@kind()
def set_config_literal(s):
    """set_config with the name in the text, and for the transaction only."""
    s.run("select set_config('%s', '%s', false)" % (PLAIN, s.first))
    s.setting(PLAIN, s.first)
    s.run("begin", "select set_config('%s', '%s', true)" % (PLAIN, s.second))
    s.setting(PLAIN, s.second)
    s.run("commit")
    s.setting(PLAIN, s.first)


@kind()
def set_config_bound(s):
    """set_config with the name and the value bound, in an unnamed statement."""
    for value in (s.first, s.second):
        s.bound("select set_config($1, $2, false)", PLAIN, value)
        s.setting(PLAIN, value)


@kind()
def set_config_prepared(s):
    """set_config in a named statement, bound again and again."""
    s.prepare("tune", "select set_config('%s', $1, false)" % PLAIN)
    for value in (s.first, s.second, s.first):
        s.execute("tune", value)
        s.setting(PLAIN, value)


@kind()
def set_prepared(s):
    """SET in a named statement, executed again after RESET."""
    s.prepare("tune", "set %s = %s" % (PLAIN, s.first))
    for _ in range(2):
        s.execute("tune")
        s.setting(PLAIN, s.first)
        s.run("reset " + PLAIN)
        s.setting(PLAIN, DEFAULT)


@kind()
def set_config_in_sql_prepared(s):
    """set_config under SQL's PREPARE and EXECUTE."""
    s.run("prepare tune as select set_config('%s', $1, false)" % PLAIN)
    for value in (s.first, s.second):
        s.run("execute tune('%s')" % value)
        s.setting(PLAIN, value)


@kind()
def set_config_in_passing(s):
    """set_config in INSERT, COPY, EXPLAIN ANALYZE, and in a cursor's query."""
    call = "set_config('%s', '%s', false)"
    for statements in (["insert into hidden.written values (%s)"], ["copy (select %s) to stdout"],
                       ["explain analyze select %s"],
                       ["begin", "declare c cursor for select %s", "fetch c", "commit"],
                       ["declare c cursor with hold for select %s", "close c"]):
        for value in (s.first, s.second):
            for statement in statements:
                s.simple(statement.replace("%s", call % (PLAIN, value)))
            s.setting(PLAIN, value)


@kind()
def set_config_by_portal(s):
    """set_config called while a portal is fetched from in portions."""
    s.steps.append("Bind, Execute 1, Execute 1, Sync: set_config() of two rows")
    s.converse(wire.parse("select set_config('%s', value, false) from (values ('%s'), ('%s'))"
                          " as v (value)" % (PLAIN, s.first, s.second)),
               wire.bind(), wire.execute(rows=1), wire.execute(rows=1), wire.SYNC)
    s.setting(PLAIN, s.second)


@kind()
def set_config_from_rows(s):
    """set_config called for the rows of a query that makes up the names."""
    s.run("select set_config(name, '%s', false) from pg_settings where name in ('%s', '%s')"
          % (s.first, PLAIN, OTHER))
    s.setting(PLAIN, s.first)
    s.setting(OTHER, s.first)


@kind()
def update_pg_settings(s):
    """UPDATE pg_settings, which is set_config by a rule."""
    s.run("update pg_settings set setting = '%s' where name = '%s'" % (s.first, PLAIN))
    s.setting(PLAIN, s.first)


@kind()
def set_config_in_do(s):
    """set_config in a DO block."""
    s.run("do $$ begin perform set_config('%s', '%s', false); end $$" % (PLAIN, s.first))
    s.setting(PLAIN, s.first)


@kind()
def set_in_do(s):
    """SET in a DO block, and put together in one."""
    s.run("do $$ begin set %s = %s; end $$" % (PLAIN, s.first))
    s.setting(PLAIN, s.first)
    s.run("do $$ begin execute 's' || 'et %s = %s'; end $$" % (PLAIN, s.second))
    s.setting(PLAIN, s.second)


@kind()
def set_config_in_function(s):
    """set_config in a plpgsql function; nothing in the text or the answer tells."""
    s.run("select hidden.tune('%s', '%s')" % (PLAIN, s.first))
    s.setting(PLAIN, s.first)


@kind()
def set_config_in_sql_function(s):
    """set_config in a function in SQL."""
    s.run("select hidden.tune_sql('%s', '%s')" % (PLAIN, s.first))
    s.setting(PLAIN, s.first)


@kind()
def set_in_function(s):
    """SET put together in a function."""
    s.run("select hidden.tune_dynamically('%s', '%s')" % (PLAIN, s.first))
    s.setting(PLAIN, s.first)


@kind()
def set_joined(s):
    """SET and the setting's name, joined in a DO block; a time zone, an encoding."""
    s.run("do $$ begin execute 'set ' || '%s' || ' to ' || %s; end $$" % (PLAIN, s.first))
    s.setting(PLAIN, s.first)
    s.run("do $$ begin execute 'set time zone ' || quote_literal('Asia/Tokyo'); end $$",
          "do $$ begin execute concat('set names ', quote_literal('LATIN1')); end $$")
    s.setting("timezone", "Asia/Tokyo")
    s.setting("client_encoding", "LATIN1")


@kind()
def set_reported_in_function(s):
    """What PostgreSQL reports, set in a function."""
    s.run("select hidden.tune('application_name', '%s')" % s.first_name)
    s.setting("application_name", s.first_name)


@kind()
def set_custom_in_function(s):
    """A custom setting, set in a function."""
    s.run("select hidden.tune('state.tenant', '%s')" % s.first_name)
    s.setting("state.tenant", s.first_name)


@kind()
def set_in_function_rolled_back(s):
    """A function's set_config, rolled back."""
    s.run("set %s = %s" % (PLAIN, s.first), "begin",
          "select hidden.tune('%s', '%s')" % (PLAIN, s.second), "rollback")
    s.setting(PLAIN, s.first)


@kind()
def set_in_procedure(s):
    """A procedure that sets, commits, sets again and rolls back."""
    s.run("call hidden.tune_and_commit('%s', '%s')" % (s.first, s.second))
    s.setting(PLAIN, s.first)


@kind()
def set_in_view(s):
    """A view that sets something when it is read."""
    s.setting(OTHER, s.value("select value from hidden.tuned"))


@kind()
def set_in_trigger(s):
    """A trigger that sets something when a row is inserted."""
    s.run("insert into hidden.triggering values ('%s')" % s.first)
    s.setting(PLAIN, s.first)


@kind()
def set_in_deferred_trigger(s):
    """A trigger that sets something at COMMIT."""
    s.run("begin", "insert into hidden.triggering_late values ('%s')" % s.first, "commit")
    s.setting(PLAIN, s.first)


@kind()
def function_with_set_clause(s):
    """A function's SET clause holds within the function."""
    s.run("set %s = %s" % (PLAIN, s.first))
    s.shows("3", "select hidden.tune_for_itself()")
    s.setting(PLAIN, s.first)


@kind()
def set_in_function_with_set_clause(s):
    """... and what such a function sets otherwise stays."""
    s.run("set %s = %s" % (PLAIN, s.first))
    s.shows("3", "select hidden.tune_all_the_same('%s')" % s.second, 1)
    s.setting(PLAIN, s.first)
    s.setting(OTHER, s.second)


@kind()
def set_by_c_function(s):
    """pg_trgm's set_limit(), which sets pg_trgm.similarity_threshold."""
    limit = "0.%d" % (s.marks.numbers[0] % 89999 + 10001)
    s.run("select set_limit(%s)" % limit)
    s.shows("t", "select abs(show_limit() - %s) < 0.000001" % limit)


# Custom settings ------------------------------------------------------------------------------------

@kind()
def custom_setting(s):
    """A setting that the application made up; before that it is not another client's."""
    for _ in range(3):
        seen = s.value("select current_setting('state.owner', true)")
        s.is_shown(True, "state.owner %r before it was set is NULL or empty" % seen, seen in (None, ""))
    for value in (s.first_name, s.second_name):
        s.run("set state.owner = '%s'" % value)
        s.setting("state.owner", value)


@kind()
def custom_setting_is_null_at_first(s):
    """... and is NULL, which is not the same as empty."""
    s.setting("state.owner", None)


@kind()
def custom_setting_rolled_back(s):
    """A custom setting, rolled back to what it was."""
    s.run("set state.owner = '%s'" % s.first_name, "begin", "set state.owner = '%s'" % s.second_name,
          "rollback")
    s.setting("state.owner", s.first_name)


@kind()
def custom_setting_in_do(s):
    """A custom setting, set in a DO block under a name that is made up there."""
    s.run("do $$ begin perform set_config('state.' || 'owner', '%s', false); end $$" % s.first_name)
    s.setting("state.owner", s.first_name)


@kind()
def settings_have_no_source_at_first(s):
    """pg_settings says of no setting that this session has set it. (Of two that are always the current
    transaction's it goes on saying so after SET TRANSACTION.)"""
    s.shows(None, "select string_agg(name, ',') from pg_settings where source = 'session'"
            " and name not in ('transaction_isolation', 'transaction_read_only')")
