"""Kinds of state that are settings, by what they do: how values look, what is found, what is permitted,
what times out."""

import time

from integration.state.registry import kind
from integration.state.settings_kinds import DEFAULT, PLAIN
from integration.state.stage import SUPERUSER, schema_of


@kind()
def time_zone(s):
    """SET TIME ZONE and what timestamps look like."""
    zones = [("Asia/Tokyo", "2026-01-01 09:00:00+09"), ("America/New_York", "2025-12-31 19:00:00-05"),
             ("Europe/Paris", "2026-01-01 01:00:00+01"), ("Asia/Kolkata", "2026-01-01 05:30:00+05:30")]
    for which in (0, 1):
        zone, shown = zones[(s.marks.client + which) % len(zones)]
        s.run("set time zone '%s'" % zone)
        s.shows(shown, "select timestamptz '2026-01-01 00:00:00 UTC'::text")


@kind()
def client_encoding(s):
    """SET NAMES and the bytes that come for the euro sign."""
    for which in (0, 1):
        name, shown = [("LATIN9", "\udca4"), ("WIN1252", "\udc80"), ("UTF8", "\u20ac")][
            (s.marks.client + which) % 3]
        s.run("set names '%s'" % name)
        s.shows(shown, "select chr(8364)")


@kind()
def date_style(s):
    """SET datestyle, intervalstyle and bytea_output, and how values look."""
    style, shown = [("German", "04.03.2026"), ("SQL, DMY", "04/03/2026"), ("SQL, MDY", "03/04/2026")][
        s.marks.client % 3]
    s.run("set datestyle = '%s'" % style, "set intervalstyle = iso_8601", "set bytea_output = escape")
    s.shows(shown, "select date '2026-03-04'::text")
    s.shows("P1DT2H", "select interval '1 day 2 hours'::text")
    s.shows("a", "select convert_to('a', 'UTF8')::text")
    for _ in range(3):
        s.is_shown([(shown,)], "COPY", s.simple("copy (select date '2026-03-04') to stdout"))


@kind()
def client_min_messages(s):
    """client_min_messages: which notices come."""
    for level, heard in (("error", 0), ("notice", 3)):
        s.run("set client_min_messages = " + level)
        s.notices.clear()
        for _ in range(3):
            s.run("select hidden.say('%s')" % s.first_name)
        s.is_shown([s.first_name] * heard, "notices", s.notices)


@kind()
def search_path(s):
    """Tables and functions are found where this session's path says."""
    for number in (s.marks.client, s.marks.client + 1):
        s.run("set search_path = %s, public" % schema_of(number))
        s.shows(schema_of(number), "select value from whoami")
        s.shows(schema_of(number), "select who()")


@kind()
def search_path_of_prepared(s):
    """A named statement is planned anew where the path has changed."""
    s.run("set search_path = " + schema_of(s.marks.client))
    s.prepare("mine", "select value from whoami")
    for number in (s.marks.client, s.marks.client + 1, s.marks.client):
        s.run("set search_path = " + schema_of(number))
        for _ in range(3):
            s.is_shown([(schema_of(number),)], "named statement", s.execute("mine"))


@kind()
def search_path_in_function(s):
    """The path, set in a function."""
    s.run("select hidden.tune('search_path', '%s')" % schema_of(s.marks.client))
    s.shows(schema_of(s.marks.client), "select value from whoami")


@kind()
def default_isolation(s):
    """SESSION CHARACTERISTICS: the isolation level of every transaction."""
    level = ("serializable", "repeatable read")[s.marks.client % 2]
    s.run("set session characteristics as transaction isolation level " + level)
    s.shows(level, "show transaction_isolation")
    s.run("begin")
    s.shows(level, "show transaction_isolation", 1)
    s.run("rollback", "begin isolation level read committed")
    s.shows("read committed", "show transaction_isolation", 1)
    s.run("commit")
    s.shows(level, "show transaction_isolation")


@kind()
def default_read_only(s):
    """SESSION CHARACTERISTICS READ ONLY: nothing is written until it is READ WRITE again."""
    s.run("insert into hidden.written values ('%s')" % s.first_name)
    s.run("set session characteristics as transaction read only")
    for _ in range(3):
        s.fails("25006", "insert into hidden.written values ('%s')" % s.second_name)
    s.run("set session characteristics as transaction read write",
          "insert into hidden.written values ('%s')" % s.first_name)


@kind()
def set_transaction(s):
    """SET TRANSACTION is for one transaction."""
    s.run("begin", "set transaction isolation level serializable, read only")
    s.shows("serializable", "show transaction_isolation", 1)
    s.run("commit")
    s.shows("read committed", "show transaction_isolation")
    s.setting("transaction_read_only", "off")


@kind()
def statement_timeout(s):
    """statement_timeout ends this session's statements, and nobody else's."""
    s.run("select pg_sleep(0.01)", "set statement_timeout = '150ms'")
    s.fails("57014", "select pg_sleep(20)")
    s.setting("statement_timeout", "150ms", 1)
    s.run("set statement_timeout = 0")
    s.setting("statement_timeout", "0")


@kind()
def idle_in_transaction_timeout(s):
    """idle_in_transaction_session_timeout ends the session that idles in a transaction."""
    s.run("set idle_in_transaction_session_timeout = '50ms'", "begin")
    time.sleep(0.3)
    s.fails("25P03", "select 1")


@kind()
def idle_timeout(s):
    """idle_session_timeout ends the session that idles, and no other."""
    s.run("set idle_session_timeout = '150ms'")
    time.sleep(0.5)
    s.fails("57P05", "select 1")


@kind()
def row_security_by_setting(s):
    """Row security by a custom setting shows this session's rows."""
    s.shows("0", "select count(*) from hidden.tenants")
    for number in (s.marks.client, s.marks.client + 500):
        s.run("set state.tenant = 'tenant%d'" % number)
        s.shows("tenant%d" % number, "select string_agg(tenant, ',') from hidden.tenants")


@kind()
def row_security_by_setting_in_function(s):
    """... also where a function set it, as applications have it."""
    s.run("select hidden.tune('state.tenant', 'tenant%d')" % s.marks.client)
    s.shows("tenant%d" % s.marks.client, "select string_agg(tenant, ',') from hidden.tenants")


@kind(user=SUPERUSER)
def trigger_switched_off(s):
    """session_replication_role, with which triggers do not fire."""
    s.run("set session_replication_role = replica",
          "insert into hidden.triggering values ('%s')" % s.first)
    s.setting(PLAIN, DEFAULT)
    s.setting("session_replication_role", "replica")
    s.run("reset session_replication_role", "begin",
          "insert into hidden.triggering values ('%s')" % s.first)
    s.setting(PLAIN, s.first, 1)
    s.run("rollback")
