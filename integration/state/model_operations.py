"""What a client of the model test may do next: one function for each sort of operation, which makes one or
several steps (model_player.py) with a client's own values. What is known to be wrong is not made: the
conditions are in known.py."""

import collections
import random

from integration.state import stage
from integration.state.known import NOT_IN_MODEL

SETTINGS = {
    "join_collapse_limit": ("3", "11", "77"),
    "from_collapse_limit": ("4", "12"),
    "work_mem": ("'1MB'", "'99MB'"),
    "statement_timeout": ("'100s'", "200001", "0"),
    "lock_timeout": ("'9s'", "'8s'"),
    "timezone": ("'Asia/Tokyo'", "'America/New_York'", "'UTC'", "interval '2 hours'"),
    "datestyle": ("german", "'SQL, DMY'", "iso", "ymd"),
    "intervalstyle": ("iso_8601", "sql_standard"),
    "extra_float_digits": ("-3", "0"),
    "bytea_output": ("escape", "hex"),
    "application_name": ("'one name'", "'and another'"),
    "client_encoding": ("'LATIN1'", "'UTF8'"),
    "default_transaction_isolation": ("serializable", "'repeatable read'"),
    "default_transaction_read_only": ("on", "off"),
    "standard_conforming_strings": ("off", "on"),
    "row_security": ("off", "on"),
    "search_path": ("state_schema_1", "state_schema_2, public", "'$user', public", "hidden, pg_catalog"),
    "state.tenant": ("'tenant1'", "'tenant2'", "'of nobody'"),
    "state.word": ("'first'", "'second'"),
    "xmloption": ("document", "content"),
    "role": ("state_role_1", "state_role_2", "none", "nobody_at_all"),
    "session_authorization": ("state_role_3", "state_role_4", "default"),
}
LOOKED_AT = [name for name in SETTINGS if name not in ("session_authorization",)]
WRONG_VALUES = ("work_mem = 'much'", "timezone = 'Nowhere/City'", "datestyle = 'odd'", "no_such_setting = 1")
START_UP = ({}, {}, {"application_name": "at start-up", "timezone": "Europe/Rome"},
            {"options": "-c search_path=state_schema_3 -c statement_timeout=54321", "datestyle": "SQL, DMY"},
            {"options": "-c work_mem=7MB -c state.word=begun --join-collapse-limit=5"},
            {"options": "-c state.tenant=begun -c from_collapse_limit=3"})
STATEMENTS = ("select current_setting('work_mem')", "select current_user, current_schema()",
              "select now() is not null, '2026-01-02'::date",
              "select count(*) from hidden.tenants", "select %d + 1")
SAVEPOINTS = ("s", "t")
TEMPORARY = ("mine", "other")

Client = collections.namedtuple("Client", "number name user parameters")


def make_client(seed, number, dice):
    """`name` is used for what only this client touches, in this seed."""
    user = dice.choice((stage.USER, stage.USER, stage.SUPERUSER, stage.CONFIGURED))
    return Client(number, "model_%s_%d" % (seed, number), user, dice.choice(START_UP))


def objects(client):
    """What is there for this client before it comes."""
    return ("create table public.{0} (id serial, value text); create sequence public.{0}_numbers;"
            "grant all on public.{0}, public.{0}_id_seq, public.{0}_numbers to public").format(client.name)


class Operations:
    """The dice, the client, and what has to be remembered of it to ask for what makes sense."""

    def __init__(self, client, dice):
        self.client, self.dice = client, dice
        self.status = "I"

    # Sorts of operations, each returns steps ---------------------------------------------------------

    def send(self, sql):
        """In one protocol or the other."""
        return [(self.dice.choice(("simple", "bound")), sql)]

    def assignment(self):
        name = self.dice.choice(list(SETTINGS))
        return name, self.dice.choice(SETTINGS[name])

    def set(self):
        name, value = self.assignment()
        return self.send("set %s%s %s %s" % (self.dice.choice(("", "", "session ")), name,
                                             self.dice.choice(("=", "to")), value))

    def set_local(self):
        return self.send("set local %s = %s" % self.assignment())

    def set_wrongly(self):
        return self.send("set " + self.dice.choice(WRONG_VALUES))

    def set_by_name(self):
        if self.dice.random() < 0.05:
            return self.send("set time zone local")
        return self.send(self.dice.choice((
            "set time zone 'Australia/Perth'", "set names 'UTF8'", "set role state_role_5",
            "set role none", "reset role", "set local role state_role_6", "set xml option content",
            "set session characteristics as transaction isolation level repeatable read",
            "set session characteristics as transaction read only",
            "set session characteristics as transaction isolation level read committed, read write",
            "set transaction isolation level serializable", "set transaction read only",
            "set session authorization default", "reset session authorization")))

    def set_config(self):
        name, value = self.assignment()
        while name in ("timezone", "session_authorization"):  # their values are not all strings
            name, value = self.assignment()
        value, local = value.strip("'"), self.dice.choice(("true", "false", "false"))
        if self.dice.random() < 0.3:
            return [("bound", "select set_config($1, $2, %s)" % local, name, value.replace("''", "'"))]
        return self.send("select set_config('%s', '%s', %s)" % (name, value, local))

    def set_in_do(self):
        return self.send("do $$ begin perform set_config('%s', '%s', false); end $$"
                         % self.dice.choice((("work_mem", "5MB"), ("state.word", "done"), ("timezone", "Asia/Kabul"))))

    def hidden(self):
        """In functions and triggers (stage.py), of which the text shows nothing."""
        what = self.dice.choice((
            "select hidden.tune('lock_timeout', '6s')", "select hidden.tune('state.word', 'hidden')",
            "select hidden.tune_all_the_same('14')", "call hidden.tune_and_commit('4', '15')",
            "insert into hidden.triggering values ('16')", "insert into hidden.triggering_late values ('17')",
            "select hidden.become('state_role_7')", "select hidden.become_wholly('state_role_3')",
            "select hidden.stash('{0}')", "select hidden.open('{0}')",
            "select hidden.claim({1})", "select hidden.claim_together({1})", "select hidden.yield({1})",
            "select hidden.subscribe('{0}_a')", "select hidden.undo()"))
        if "undo" in what and self.status != "I" and NOT_IN_MODEL["RESET in code in a transaction"]:
            return self.look()
        return self.send(what.format(self.client.name, 1000 * self.client.number + self.dice.randrange(2)))

    def set_in_odd_words(self):
        name, value = self.dice.choice((("work_mem", "3MB"), ("timezone", "Asia/Dhaka"), ("lock_timeout", "7s")))
        return self.send(self.dice.choice((
            "update pg_settings set setting = '{1}' where name = lower('{0}')",
            "select U&\"set!005fconfig\" uescape '!' ('{0}', '{1}', false)", "set \"{0}\" = '{1}'",
            "/* a */ sEt -- b\n {0} to '{1}'", "select pg_catalog . set_config('{0}', $${1}$$, 'f')")
        ).format(name, value))

    def reset(self):
        name, _ = self.assignment()
        return self.send(self.dice.choice(("reset %s", "set %s to default")) % name)

    def reset_all(self):
        return self.send("reset all")

    def transaction(self):
        if self.status == "I":
            return self.send(self.dice.choice((
                "begin", "begin", "begin", "start transaction isolation level serializable", "begin read only")))
        return self.send(self.dice.choice((
            "commit", "commit", "rollback", "end", "commit and chain", "rollback and chain")))

    def savepoint(self):
        name = self.dice.choice(SAVEPOINTS)
        return self.send(self.dice.choice(("savepoint %s", "savepoint %s", "rollback to %s", "release %s")) % name)

    def error(self):
        return self.send(self.dice.choice((
            "select 1/0", "select * from nowhere", "selec", "select set_config('work_mem', '3MB', false), 1/0")))

    def temporary(self):
        name, value = self.dice.choice(TEMPORARY), self.client.name
        return self.send(self.dice.choice((
            "create temp table %s as select '%s'::text as value" % (name, value),
            "create temp table %s (value text)" % name, "create temp table %s (value text) on commit drop" % name,
            "create temp table if not exists %s (value text) on commit delete rows" % name,
            "insert into pg_temp.%s values ('%s')" % (name, value), "select value from pg_temp.%s" % name,
            "drop table pg_temp.%s" % name, "select to_regclass('pg_temp.%s') is not null" % name,
            "create temp view seen as select '%s'::text as value" % value, "select * from pg_temp.seen",
            "create function pg_temp.mine() returns text language sql as $$ select '%s'::text $$" % value,
            "select pg_temp.mine()", "discard temp")))

    def cursor(self):
        return self.send(self.dice.choice((
            "declare c cursor with hold for select n, '%s' from generate_series(1, 5) n" % self.client.name,
            "declare c scroll cursor for select n from generate_series(1, 9) n", "fetch 2 from c", "fetch 1 from c",
            "move 1 in c", "close c", "close all", "select name, is_holdable from pg_cursors where name <> ''")))

    def prepared_in_sql(self):
        return self.send(self.dice.choice((
            "prepare mine as select '%s'::text, current_setting('work_mem')" % self.client.name,
            "prepare mine(int) as select $1 + %d" % self.client.number, "execute mine", "execute mine(3)",
            "execute named", "deallocate mine", "deallocate named", "deallocate all", "deallocate prepare nothing")))

    def prepared(self):
        name = self.dice.choice(("named", "mine", "path", ""))
        text = self.dice.choice(STATEMENTS).replace("%d", str(self.client.number))
        if name == "path":  # no EXECUTE names it
            text = "select value from whoami"
        parse = ("parse", name, text)
        execute = ("execute", name)
        if name == "":  # else it may be a RESET that is executed once more
            return [parse, execute]
        return self.dice.choice(([parse], [parse, execute], [execute], [execute], [("close", name)],
                                 [("close", name), parse, execute]))

    def advisory(self):
        key = 1000 * self.client.number + self.dice.randrange(2)
        return self.send(self.dice.choice((
            "select pg_advisory_lock(%d)", "select pg_advisory_lock_shared(%d)", "select pg_try_advisory_lock(%d)",
            "select pg_advisory_xact_lock(%d)", "select pg_advisory_unlock(%d)", "select pg_advisory_unlock(%d)",
            "select pg_advisory_unlock_shared(%d)", "select pg_advisory_unlock_all() where %d > 0",
            "select count(*) from pg_locks where locktype = 'advisory' and pid = pg_backend_pid() and %d > 0")) % key)

    def channels(self):
        name = "%s_%s" % (self.client.name, self.dice.choice("ab"))
        operation = self.dice.choice((
            "listen {0}", "listen {0}", "unlisten {0}", "notify {0}, 'said'", "notify {0}", "unlisten *",
            "select pg_notify('{0}', 'by function')", "select c from pg_listening_channels() c order by 1"))
        if "pg_listening" in operation and self.status != "I" and \
                NOT_IN_MODEL["pg_listening_channels() in a transaction"]:
            operation = "select 1"
        return self.send(operation.format(name))

    def sequence(self):
        name = self.client.name
        return self.send(self.dice.choice((
            "select nextval('public.%s_numbers')", "insert into public.%s (value) values ('x') returning id",
            "select setval('public.%s_numbers', 100)")) % name)

    def value_of_sequence(self):
        """currval() and lastval() where the transaction has called nextval()."""
        name = self.client.name
        return [("simple", "begin; select nextval('public.%s_numbers'); select lastval();"
                           " select currval('public.%s_numbers'); commit" % (name, name))]

    def several(self):
        name, value = self.assignment()
        return [("simple", self.dice.choice((
            "set {0} = {1}; select current_setting('{0}', true)", "set {0} = {1}; select 1/0",
            "begin; set {0} = {1}; commit; select 2", "begin; set {0} = {1}; rollback; select 3",
            "begin; set local {0} = {1}; set work_mem = '2MB'; commit")).format(name, value))]

    def pipelined(self):
        sort = self.dice.choice(("pipeline", "batch"))
        statements = [self.dice.choice((
            "set %s = %s" % self.assignment(), "select current_setting('work_mem')", "select current_user",
            "select current_setting('timezone')", "select 1/0", "set local work_mem = '6MB'"))
            for _ in range(self.dice.randrange(2, 5))]
        return [(sort,) + tuple(statements)]

    def discard(self):
        return self.send(self.dice.choice(("discard all", "discard all", "discard plans", "discard sequences")))

    def reconnect(self):
        return [("reconnect",)]

    def look(self):
        """What a session shows of itself."""
        what = self.dice.choice(("settings", "settings", "identity", "rows", "objects"))
        if what == "settings":
            names = self.dice.sample(LOOKED_AT, 3)
            # A custom setting that others have had is '' instead of NULL.
            return self.send("select " + ", ".join(
                "coalesce(current_setting('%s', true), '')" % name for name in names))
        return self.send({
            "identity": "select current_user, session_user, current_schemas(false)",
            "rows": "select count(*), min(tenant) from hidden.tenants union all"
                    " select count(*), min(tenant) from hidden.roles",
            "objects": "select '2026-03-04 05:06:07+00'::timestamptz, interval '1 day 2 hours', '\\x6162'::bytea,"
                       " 1.23456789012345678::float8",
        }[what])


WEIGHTS = {
    "look": 14, "set": 8, "set_local": 3, "set_wrongly": 1, "set_by_name": 4, "set_config": 4, "set_in_do": 1, "set_in_odd_words": 2,
    "hidden": 4,
    "reset": 4, "reset_all": 1, "transaction": 12, "savepoint": 5, "error": 2, "temporary": 4, "cursor": 4,
    "prepared_in_sql": 3, "prepared": 5, "advisory": 3, "channels": 3, "sequence": 2, "value_of_sequence": 1,
    "several": 3, "pipelined": 3, "discard": 1, "reconnect": 1,
}


def next_steps(operations):
    """Steps of an operation drawn by weight; more of what ends a transaction that has failed."""
    if operations.status == "E" and operations.dice.random() < 0.5:
        return operations.dice.choice(([("simple", "rollback")], [("simple", "commit")],
                                       [("simple", "rollback to s")]))
    name = operations.dice.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
    return getattr(operations, name)()


def dice_of(seed, number):
    return random.Random("%s/%d" % (seed, number))
