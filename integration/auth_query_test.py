"""Users whom no file names: PostgreSQL is asked for them, with no rights but those that
deploy/auth_query.sql gives, and logged in to with the client's own proof."""

import contextlib
import os
import signal
import socket
import statistics
import threading
import time
import unittest

import psycopg2

from integration.support import surroundings, wire
from integration.support.peers import assert_comes_back
from integration.support.pgweir import ADMIN, ME, Pgweir, users
from integration.support.postgres import DATABASE, OWNER, QUERY_USER, Postgres, password_of
from integration.support.waiting import Stopwatch, wait_for

REFUSED = 'password authentication failed for user "%s"'


class AuthQueryTest(unittest.TestCase):
    """The fitness club's set-up: no password in the YAML but that of pgweir itself."""

    @classmethod
    def setUpClass(cls):
        cls.postgres = Postgres().start()
        cls.addClassCleanup(cls.postgres.close)
        cls.postgres.query("create role pgweir login password 'pgweir-secret'")
        cls.postgres.install_user_lookup()

    def pgweir(self, **settings):
        made = Pgweir(self.postgres, **settings)
        made.settings["users"] = users(QUERY_USER, ADMIN)
        made.settings["auth"] = dict({"query_user": QUERY_USER}, **settings.get("auth", {}))
        made.write_config()
        made.start()
        self.addCleanup(made.close)
        return made

    def role(self, name, options="", password=None):
        self.postgres.query("create role %s login password '%s' %s" %
                            (name, password or password_of(name), options))
        self.addCleanup(lambda: self.postgres.query("drop role %s" % name))

    def refused(self, pooler, user, **options):
        with self.assertRaises(psycopg2.OperationalError) as raised:
            pooler.connect(user=user, **options)
        return str(raised.exception)

    def test_zero_passwords_in_yaml(self):
        pooler = self.pgweir(pool={"minconn": 2})
        self.assertEqual([(OWNER, OWNER)],
                         pooler.query("select current_user::text, session_user::text"))
        # The minimum is opened, and comes back, with the same proof.
        assert_comes_back(self.postgres, OWNER, 2)
        # The one who asks has one connection, and no pool that is kept warm.
        self.assertEqual([("pgweir auth_query", 1)], self.postgres.query(
            "select application_name, count(*) from pg_stat_activity where usename = %s group by 1", QUERY_USER))

    def test_2015_6817_unknown_users_are_nobody(self):
        pooler = self.pgweir()
        pooler.query("select 1")
        for user in ("nobody", "Fitness", "fitness ", "fitness\ttab", "pgweir' or '1'='1"):
            self.assertIn("password authentication failed", self.refused(pooler, user, password="x"))

    def strange(self, pooler, name, database=DATABASE):
        """What is answered to a stranger of that name (bytes), who leaves then."""
        with wire.Wire(pooler.host, pooler.port) as stranger:
            stranger.send(wire.untyped(wire.PROTOCOL_3_0, b"user\0" + name + b"\0database\0" +
                                       database.encode() + b"\0\0"))
            return stranger.read_message()[0]

    def test_names_that_postgresql_cannot_read_concern_nobody_else(self):
        pooler = self.pgweir(pool={"minconn": 0})
        for number, name in enumerate((b"\xff", b"a\xc3", b"\xed\xa0\x80", "ö".encode() * 40)):
            with self.subTest(name=name):
                self.role("next%d" % number)
                self.assertEqual("R", self.strange(pooler, name), "asked for a proof as anybody")
                pooler.query("select 1", user="next%d" % number)
        self.assertNotIn("users cannot be looked up", pooler.log())

    def test_names_that_the_database_cannot_have_concern_nobody_else(self):
        self.postgres.query("create database latin encoding 'LATIN1' locale 'C' template template0")
        self.addCleanup(lambda: self.postgres.query("drop database latin with (force)"))
        self.postgres.install_user_lookup("latin")
        pooler = self.pgweir(databases={"latin": {"host": self.postgres.host, "port": self.postgres.port}},
                             pool={"minconn": 0})
        for number in range(2):
            self.role("next%d" % number)
            self.assertEqual("R", self.strange(pooler, "€%d".encode() % number, "latin"))
            pooler.query("select 1", user="next%d" % number, database="latin")
        self.assertNotIn("users cannot be looked up", pooler.log())

    def test_a_question_that_fails_for_one_name_does_not_for_another(self):
        pooler = self.pgweir(pool={"minconn": 0}, auth={"query": (
            "SELECT name, verifier, valid_until, groups FROM pgweir.user_lookup($1)"
            " WHERE 1 / length(replace($1, 'nobody', '')) >= 0")})
        self.assertIn("it cannot be found out at present", self.refused(pooler, "nobody"))
        pooler.query("select 1")

    def test_an_answer_that_cannot_be_read_is_told_the_log(self):
        """To the client it is a wrong password: it is to learn nothing, the operator what is wrong."""
        lookup = " FROM pgweir.user_lookup($1)"
        for columns, complaint in (
                ("verifier" + lookup, "one column"),
                ("name, verifier%s UNION ALL SELECT name, verifier%s" % (lookup, lookup), "2 rows for one name"),
                ("name, verifier, '2099-01-01'::timestamptz" + lookup, "a valid_until that is no number"),
                ("name, verifier, NULL, 'a,b'" + lookup, "groups that are no array")):
            with self.subTest(columns=columns):
                pooler = self.pgweir(pool={"minconn": 0}, auth={"query": "SELECT " + columns, "query_ttl": "0"})
                works = "groups" in complaint  # nothing here depends on them
                for _ in range(2):
                    self.assertEqual(works, self.works(pooler, OWNER, password_of(OWNER)))
                told = [line for line in pooler.log().splitlines() if "auth.query answers what it should not" in line]
                self.assertEqual(1, len(told), told)
                self.assertIn(complaint, told[0])
                self.assertIn(" error ", told[0])
                self.assertNotIn("SCRAM-SHA-256$", pooler.log())

    def test_superusers_and_those_who_may_not_log_in_are_left_out(self):
        self.role("boss", "superuser")
        self.role("nologin_role")
        self.postgres.query("alter role nologin_role nologin")
        self.postgres.query("create role no_password login")
        self.addCleanup(lambda: self.postgres.query("drop role no_password"))
        pooler = self.pgweir()
        for user in ("boss", "nologin_role", "no_password"):
            self.assertIn(REFUSED % user, self.refused(pooler, user))

    def test_2025_2291_an_expired_password_is_refused_fresh_cached_and_on_reconnect(self):
        self.role("expired", "valid until '2001-01-01'")
        self.role("expiring", "valid until '2099-01-01'")
        # The question does not ask whether it counts still: pgweir is told until when.
        pooler = self.pgweir(pool={"minconn": 0})
        self.assertIn(REFUSED % "expired", self.refused(pooler, "expired"))
        self.postgres.query("alter role expiring valid until '%s'" % self.postgres.query(
            "select now() + interval '5 seconds'")[0][0])
        pooler.query("select 1", user="expiring")  # from now on what is known of it is kept
        servers = "select count(*) from pg_stat_activity where usename = 'expiring'"
        self.assertNotEqual([(0,)], self.postgres.query(servers))
        wait_for(lambda: self.postgres.query(
            "select now() >= rolvaliduntil from pg_roles where rolname = 'expiring'")[0][0], "it has expired", 60)
        self.assertIn(REFUSED % "expiring", self.refused(pooler, "expiring"), "as it is kept")
        self.postgres.query("select pg_terminate_backend(pid) from pg_stat_activity where usename = 'expiring'")
        wait_for(lambda: self.postgres.query(servers) == [(0,)], "its servers are gone", 20)
        opened = self.postgres.log().count("user=expiring")
        self.assertIn(REFUSED % "expiring", self.refused(pooler, "expiring"), "on reconnect")
        self.assertEqual(opened, self.postgres.log().count("user=expiring"), "no server is opened for it")

    def test_a_changed_password_is_noticed_at_the_first_failure(self):
        self.role("changing", password="first")
        pooler = self.pgweir()
        pooler.query("select 1", user="changing", password="first")
        self.postgres.query("alter role changing password 'second'")
        wait_for(lambda: self.works(pooler, "changing", "second"), "the new one counts", 20)
        self.assertFalse(self.works(pooler, "changing", "first"))

    def test_a_role_that_has_just_been_made_is_found(self):
        """Try, fail, create the role, try again: what has not done is not kept, whatever it was."""
        pooler = self.pgweir(auth={"query_ttl": "1h"})
        self.assertIn(REFUSED % "newcomer", self.refused(pooler, "newcomer"))
        self.role("newcomer")
        wait_for(lambda: self.works(pooler, "newcomer", password_of("newcomer")), "it is found", 20)

    def test_how_long_an_answer_counts(self):
        self.role("changing", password="first")
        for ttl, counts in (("1h", False), ("0s", True)):
            with self.subTest(ttl=ttl):
                pooler = self.pgweir(auth={"query_ttl": ttl})
                self.assertTrue(self.works(pooler, "changing", "first"))
                self.postgres.query("alter role changing password 'second'")
                self.assertEqual(counts, self.works(pooler, "changing", "second"), "at the first attempt")
                self.postgres.query("alter role changing password 'first'")

    def ask_many_at_once(self, pooler):
        with contextlib.ExitStack() as all_of_them:
            strangers = [all_of_them.enter_context(wire.Wire(pooler.host, pooler.port)) for _ in range(100)]
            for number, each in enumerate(strangers):
                each.send(wire.startup(user="one_of_many_%d" % number, database=DATABASE))
            for each in strangers:
                self.assertEqual("R", each.read_message()[0])

    def times_of_answers(self, phase):
        """Medians for each kind of name, of a daemon that has just been started."""
        pooler = self.pgweir(pool={"minconn": 0})
        if phase == "after many at once":
            self.ask_many_at_once(pooler)
        elif phase == "after a reload":
            self.ask_many_at_once(pooler)
            pooler.reload()
            wait_for(lambda: " reloaded" in pooler.log(), "the reload is done", 20)
        took = {}
        # Who has never been asked for comes last: each such question is one of the last then.
        for what, user, database in (
                ("known", OWNER, DATABASE), ("known to be nobody", "nobody", DATABASE),
                ("in the file", ADMIN, DATABASE), ("no such database", "nobody", "none"),
                ("never asked for", "never %d", DATABASE)):
            for number in range(15):
                name = user % number if "%" in user else user
                with wire.Wire(pooler.host, pooler.port) as stranger:
                    began = time.perf_counter()
                    stranger.send(wire.startup(user=name, database=database))
                    self.assertEqual("R", stranger.read_message()[0])
                    took.setdefault(what, []).append(time.perf_counter() - began)
        pooler.stop()
        return {what: statistics.median(times) for what, times in took.items()}

    def test_the_time_of_an_answer_does_not_tell_what_was_known(self):
        for phase in ("after a start", "after many at once", "after a reload"):
            with self.subTest(phase=phase):
                for _ in range(4):  # a busy machine may slow down the few that the first times are from
                    medians = self.times_of_answers(phase)
                    if max(medians.values()) < 4 * min(medians.values()):
                        break
                else:
                    self.fail("told apart: %r" % medians)

    def test_servers_are_logged_in_to_with_the_new_password_of_a_changed_one(self):
        for method in ("password", "scram-sha-256"):
            with self.subTest(method=method):
                self.role("by_" + method[:5], password="first")
                pooler = self.pgweir(auth={"method": method})
                as_first, as_second = (dict(user="by_" + method[:5], password=password) for password in
                                       ("first", "second"))
                pooler.query("select 1", **as_first)
                self.postgres.query("alter role by_%s password 'second'" % method[:5])
                self.postgres.query("select pg_terminate_backend(pid) from pg_stat_activity where usename = %s",
                                    as_first["user"])
                wait_for(lambda: self.works(pooler, **as_second), "the new one counts", 20)
                self.assertFalse(self.works(pooler, **as_first))

    @staticmethod
    def works(pooler, user, password):
        try:
            return pooler.query("select 1", user=user, password=password) == [(1,)]
        except psycopg2.OperationalError:
            return False

    def test_2025_12819_what_clients_set_reaches_nothing_of_it(self):
        self.postgres.query("create schema hostile", database=DATABASE)
        self.postgres.query("create function hostile.user_lookup(text) returns table"
                            " (name text, verifier text) language sql as $$ select 'x', 'y' $$", database=DATABASE)
        self.postgres.query("create role crew")
        self.postgres.query("grant usage on schema hostile to public", database=DATABASE)
        self.addCleanup(lambda: self.postgres.query(
            "drop schema hostile cascade; drop role crew; alter role pgweir reset search_path", database=DATABASE))
        # Not even what the role itself has.
        self.postgres.query("alter role pgweir set search_path = hostile")
        pooler = self.pgweir(auth={"query": (
            "SELECT name, verifier, valid_until, groups FROM pgweir.user_lookup($1)"
            " WHERE current_setting('search_path') = 'pg_catalog' AND current_user = 'pgweir'"
            " AND session_user = 'pgweir' AND current_setting('row_security') = 'on'")})
        # Each time a user of whom nothing is known yet: PostgreSQL is asked.
        for number, options in enumerate(("-c search_path=hostile", "-c role=crew", "-c row_security=off",
                                          "-c search_path=hostile -c role=crew")):
            with self.subTest(options=options):
                user = "fresh%d" % number
                self.role(user, "in role crew")
                self.assertEqual([(1,)], pooler.query("select 1", user=user, options=options))
        self.role("fresh")
        with contextlib.closing(pooler.connect(user="fresh0")) as connection:
            connection.autocommit = True
            connection.cursor().execute("set search_path = hostile; set role crew; set row_security = off")
            self.assertEqual([(1,)], pooler.query("select 1", user="fresh"))

    def test_an_unknown_database_is_told_after_the_proof_only(self):
        pooler = self.pgweir(auth={"query_database": DATABASE})
        self.assertIn(REFUSED % OWNER, self.refused(pooler, OWNER, database="none", password="x"))
        self.assertIn('database "none" does not exist', self.refused(pooler, OWNER, database="none"))
        without = self.pgweir()
        self.assertIn(REFUSED % OWNER, self.refused(without, OWNER, database="none"))

    FOUND = ("select n.nspowner::regrole::text, p.proowner::regrole::text, p.prosecdef,"
             " n.nspacl::text, p.proacl::text from pg_proc p join pg_namespace n on n.oid = p.pronamespace"
             " where p.proname = 'user_lookup'")
    PLANTED = ("create function pgweir.user_lookup(in wanted text, out name text, out verifier text,"
               " out valid_until double precision, out groups text[]) returns setof record language sql"
               " as $$ select null::text, null::text, null::float8, null::text[] $$;")

    def owned_by_another(self):
        self.role("mallory")
        self.postgres.query("create database victim owner mallory")
        self.addCleanup(lambda: self.postgres.query("drop database victim with (force)"))

    def as_user(self, user, statements):
        with contextlib.closing(psycopg2.connect(host=self.postgres.directory, port=self.postgres.port,
                                                 user=user, dbname="victim")) as connection:
            connection.autocommit = True
            connection.cursor().execute(statements)

    def test_the_script_takes_over_nothing_that_another_owns(self):
        self.owned_by_another()
        for by, statements, theirs in (
                ("mallory", "create schema pgweir", "schema pgweir of mallory"),
                ("mallory", "create schema if not exists pgweir; " + self.PLANTED, "of mallory"),
                ("postgres", "alter schema pgweir owner to postgres", "function pgweir.user_lookup(text) of mallory")):
            with self.subTest(statements=statements):
                self.as_user(by, statements)
                before = self.postgres.query(self.FOUND, database="victim")
                ended = self.postgres.install_user_lookup("victim", check=False)
                self.assertEqual(3, ended.returncode, "psql is to stop, whatever its own settings say")
                self.assertIn(theirs, ended.stderr)
                self.assertEqual(before, self.postgres.query(self.FOUND, database="victim"))

    def test_the_script_run_again_leaves_only_what_it_grants(self):
        self.owned_by_another()
        for turn in ("first", "again", "after others have been let in"):
            with self.subTest(turn=turn):
                self.postgres.install_user_lookup("victim")
                self.assertEqual([("postgres", "postgres", True,
                                   "{postgres=UC/postgres,pgweir=U/postgres}",
                                   "{postgres=X/postgres,pgweir=X/postgres}")],
                                 self.postgres.query(self.FOUND, database="victim"))
            self.as_user("postgres", "grant all on schema pgweir to mallory with grant option; grant all on schema pgweir to public;"
                         "grant all on function pgweir.user_lookup(text) to mallory with grant option;"
                         "grant all on function pgweir.user_lookup(text) to public")
            self.as_user("mallory", "grant usage on schema pgweir to trust_user;"
                         "grant execute on function pgweir.user_lookup(text) to trust_user")

    def test_who_has_shown_no_password_hears_how_a_server_could_be_had(self):
        for pool in ({"mode": "transaction"}, {"mode": "session", "reuse": "never"}):
            with self.subTest(pool=pool):
                pooler = self.pgweir(auth={"method": "trust"}, pool=dict({"minconn": 0}, **pool))
                with wire.Wire(pooler.host, pooler.port) as raw:
                    raw.send(wire.startup(user=OWNER, database=DATABASE))
                    fields = wire.error_fields(dict(raw.read_to_end())["E"])
                self.assertEqual(("FATAL", "08004"), (fields["S"], fields["C"]))
                self.assertIn("the server asks for a password, and none is configured", fields["M"])
                self.assertIn("Give databases.%s a user and password" % DATABASE, fields["H"])
                self.assertNotIn("not reachable", pooler.log())
                # A server of its client's own is no news of the pool.
                if "reuse" not in pool:
                    wait_for(lambda: "PostgreSQL cannot be logged in to" in pooler.log(), "the log says it", 20)

    def test_groups_of_access_rules(self):
        self.postgres.query("create role trainers")
        self.postgres.query("create role staff")
        self.postgres.query("grant staff to trainers")
        self.role("anna", "in role trainers")
        self.role("otto")
        pooler = self.pgweir(auth={"hba": ["host all +staff all scram-sha-256"]})
        self.assertEqual([("anna",)], pooler.query("select current_user::text", user="anna"))
        self.assertIn("no pg_hba.conf entry for host", self.refused(pooler, "otto"))
        self.postgres.query("drop role trainers, staff")

    def test_a_peer_behind_lines_about_groups(self):
        self.role(ME)
        self.postgres.query("create role crew")
        self.addCleanup(lambda: self.postgres.query("drop role crew"))
        self.postgres.query("grant crew to %s" % ME)
        for lines, works in ((["local all +crew peer"], True),
                             (["local all +others reject", "local all all peer"], True),
                             (["local all +crew reject", "local all all peer"], False),
                             (["local all +crew peer map=system"], True),
                             (["local all +crew peer map=others"], False)):
            with self.subTest(lines=lines):
                directory = surroundings.temporary_directory("sockets")
                pooler = Pgweir(self.postgres, databases={DATABASE: {"host": self.postgres.directory}}, auth={
                    "query_user": QUERY_USER, "hba": lines, "ident": ["system %s %s" % (ME, ME)]})
                pooler.settings["users"] = users(QUERY_USER, ADMIN)
                pooler.settings["listen"].append({"address": directory, "port": pooler.port})
                pooler.write_config()
                self.addCleanup(pooler.close)
                pooler.start()
                told = dict(host=directory, password="", user=ME)
                if works:
                    self.assertEqual([(ME,)], pooler.query("select current_user::text", **told))
                else:
                    self.refused(pooler, **told)

    def test_while_postgresql_is_away_nobody_gets_in_and_it_is_said_why(self):
        """They wait as long as they would for a server, whether there are such users or not."""
        pooler = self.pgweir(databases={DATABASE: {"port": surroundings.reserve_port()}},
                             pool={"wait_timeout": "1500ms"})
        for user in (OWNER, "stranger", OWNER):
            with Stopwatch() as watch:
                told = self.refused(pooler, user)
            self.assertIn("it cannot be found out at present who may log in", told)
            self.assertIn("cannot be reached or takes no connections", told)
            self.assertTrue(1.4 < watch.seconds < 4, watch.seconds)
        # The end of the login is not to come first: it would tell no cause.
        pooler = self.pgweir(databases={DATABASE: {"port": surroundings.reserve_port()}},
                             pool={"wait_timeout": "1h"}, auth={"login_timeout": "2s"})
        self.assertIn("it cannot be found out at present who may log in", self.refused(pooler, OWNER))
        self.assertEqual(1, pooler.log().count("users cannot be looked up"))
        self.assertNotIn("pgweir-secret", pooler.log())

    def test_who_waits_no_more_gives_its_place_back(self):
        pooler = self.pgweir(databases={DATABASE: {"port": surroundings.reserve_port()}}, pool={"wait_timeout": "1h"},
                             auth={"login_timeout": "10m", "max_unauthenticated": 5})
        wires = [wire.Wire(pooler.host, pooler.port) for _ in range(5)]
        for each in wires:
            each.send(wire.startup(user=OWNER, database=DATABASE))
        wait_for(lambda: pooler.metric("pgweir_clients") == 5, "all wait", 20)
        with self.assertRaises(psycopg2.OperationalError):
            pooler.console("show version")
        for each in wires:
            each.socket.close()
        wait_for(lambda: pooler.metric("pgweir_clients") == 0, "none does", 20)
        pooler.console("show version")

    def test_logins_wait_until_postgresql_is_back(self):
        postgres = Postgres(durable=True).start()
        self.addCleanup(postgres.close)
        postgres.query("create role pgweir login password 'pgweir-secret'")
        postgres.install_user_lookup()
        pooler = self.pgweir(databases={DATABASE: {"port": postgres.port}}, auth={"query_ttl": "0"},
                             pool={"wait_timeout": "1h", "minconn": 0})
        pooler.query("select 1")
        postgres.kill()
        told = {}

        def log_in(user, number):
            try:
                told[user, number] = pooler.query("select current_user::text", user=user, password=password_of(OWNER))
            except psycopg2.Error as error:
                told[user, number] = str(error)
        logins = [threading.Thread(target=log_in, args=(user, number)) for number in range(5)
                  for user in (OWNER, "stranger%d" % number)]
        for one in logins:
            one.start()
        wait_for(lambda: "users cannot be looked up" in pooler.log(), "it is known to be away", 20)
        wait_for(lambda: pooler.metric("pgweir_clients") == len(logins), "all have come", 20)
        self.assertEqual({}, told)
        # Nobody waits with them, nor does a reload keep them from being answered.
        pooler.reload()
        wait_for(lambda: " reloaded" in pooler.log(), "it is reloaded", 20)
        postgres.start()
        with Stopwatch() as watch:
            for one in logins:
                one.join(20)
        self.assertLess(watch.seconds, 5)
        self.assertLess(watch.seconds, 5)
        self.assertEqual({(OWNER, number): [(OWNER,)] for number in range(5)},
                         {which: rows for which, rows in told.items() if which[0] == OWNER})
        for number in range(5):
            self.assertIn(REFUSED % ("stranger%d" % number), told["stranger%d" % number, number])
        self.assertLessEqual(pooler.log().count("users cannot be looked up"), 2, "once for each configuration")

    def test_what_one_database_does_not_answer_concerns_no_other(self):
        with socket.socket() as silent:  # it takes connections, and says nothing
            silent.bind(("127.0.0.1", 0))
            silent.listen(100)
            pooler = self.pgweir(databases={"silent": {"host": "127.0.0.1", "port": silent.getsockname()[1]}})
            strangers = []
            for number in range(12):
                one = socket.create_connection((pooler.host, pooler.port))
                self.addCleanup(one.close)
                one.sendall(wire.startup(user="stranger%d" % number, database="silent"))
                strangers.append(one)
            began = time.monotonic()
            with psycopg2.connect(**pooler.dsn()) as connection, connection.cursor() as cursor:
                cursor.execute("select 1")
            self.assertLess(time.monotonic() - began, 4, "it has waited for the others")
            began = time.monotonic()
            self.assertEqual(0, pooler.stop())
            self.assertLess(time.monotonic() - began, 4, "the end has waited for them")

    def test_the_owner_of_a_database_called_like_the_console_is_not_its_admin(self):
        self.role(ADMIN)
        self.role("tenant")
        [(verifier,)] = self.postgres.query("select rolpassword from pg_authid where rolname = 'tenant'")
        self.postgres.query("create database pgweir owner tenant")
        self.addCleanup(lambda: self.postgres.query("drop database pgweir with (force)"))
        with contextlib.closing(self.postgres.connect(database="pgweir")) as connection:
            connection.cursor().execute(
                "create schema pgweir; grant usage on schema pgweir to public;"
                "create function pgweir.user_lookup(text, out name text, out verifier text, out valid_until float8,"
                " out groups text[]) language sql as $$ select $1, '%s', null::float8, null::text[] $$" % verifier)
        for query_database in (None, DATABASE):
            pooler = Pgweir(self.postgres, auth=dict({"query_user": QUERY_USER}, **(
                {"query_database": query_database} if query_database else {})),
                databases={"*": {"host": self.postgres.host, "port": self.postgres.port}})
            pooler.settings["users"] = users(QUERY_USER)
            pooler.write_config()
            self.addCleanup(pooler.close)
            pooler.start()
            for console in ("pgweir", "pgbouncer"):
                self.assertIn(REFUSED % ADMIN, self.refused(pooler, ADMIN, database=console,
                                                            password=password_of("tenant")))
            if query_database is None:
                self.assertIn(REFUSED % ADMIN, self.refused(pooler, ADMIN, database="pgweir"))
            else:
                connection = pooler.connect(user=ADMIN, database="pgweir")
                connection.autocommit = True
                cursor = connection.cursor()
                cursor.execute("SHOW VERSION")
                self.assertTrue(cursor.fetchall())

    def test_databases_that_strangers_make_up_are_opened_a_few_at_a_time(self):
        with socket.socket() as slow:  # it takes connections, and says nothing until it is let
            slow.bind(("127.0.0.1", 0))
            slow.listen(100)
            pooler = self.pgweir(databases={"*": {"host": "127.0.0.1", "port": slow.getsockname()[1],
                                                  "sslmode": "disable"}})
            for number in range(12):
                stranger = socket.create_connection((pooler.host, pooler.port))
                self.addCleanup(stranger.close)
                stranger.sendall(wire.startup(user="stranger", database="made_up%d" % number))
            slow.settimeout(20)
            opened = [slow.accept()[0] for _ in range(4)]
            # Whom the file names waits for none of them.
            self.assertEqual([(1,)], pooler.query("select 1"))
            slow.settimeout(1)
            with self.assertRaises(socket.timeout):
                slow.accept()
            slow.settimeout(20)
            for each in opened:
                each.close()
            for _ in range(8):
                slow.accept()[0].close()
            wait_for(lambda: pooler.log().count("login refused") == 12, "all have been told", 20)
            self.assertEqual(1, pooler.log().count("users cannot be looked up"))

    def test_databases_that_are_there_are_asked_by_themselves(self):
        self.postgres.query("create database other")
        self.addCleanup(lambda: self.postgres.query("drop database other with (force)"))
        self.postgres.install_user_lookup("other")
        pooler = self.pgweir(databases={DATABASE: None, "*": {"host": self.postgres.host,
                                                              "port": self.postgres.port}})
        for database in (DATABASE, "other", "none"):
            self.assertIn(REFUSED % OWNER, self.refused(pooler, OWNER, database=database, password="wrong"))
        for database in (DATABASE, "other"):
            self.assertEqual([(database,)], pooler.query("select current_database()::text", database=database))
        self.assertEqual([(DATABASE,), ("other",)], self.postgres.query(
            "select datname::text from pg_stat_activity where usename = %s order by 1", QUERY_USER))

    def test_strangers_are_not_told_which_databases_there_are(self):
        """With '*': the database is the stranger's word, and its answer that of one that is there."""
        self.postgres.query("create database tenant")
        self.postgres.query("create database closed allow_connections false")
        self.postgres.query("create database forbidden")
        self.postgres.query("revoke connect on database forbidden from public")
        self.postgres.query("create database full_of_others connection limit 0")
        self.postgres.query("create database incomplete")
        self.postgres.query("alter database incomplete set session_preload_libraries = 'of_which_there_is_none'")
        for database in ("tenant", "closed", "forbidden", "full_of_others", "incomplete"):
            self.addCleanup(lambda name=database: self.postgres.query("drop database %s with (force)" % name))
        self.postgres.install_user_lookup("tenant")
        every = {"host": self.postgres.host, "port": self.postgres.port}
        names = ("tenant", "closed", "forbidden", "full_of_others", "incomplete", "none", "FATAL:  57P03: ",
                 "postgres")  # which has no function
        pooler = self.pgweir(databases={"*": every}, pool={"minconn": 0})
        for database in names:
            for turn in ("first", "from what is kept"):
                with self.subTest(database=database, turn=turn):
                    self.assertEqual("R", self.strange(pooler, b"stranger", database))
                    self.assertIn(REFUSED % "stranger", self.refused(pooler, "stranger", database=database))
        self.assertIn("55000", pooler.log(), "the log says what clients are not told")
        # What is so of all of them says nothing of any.
        pooler = self.pgweir(databases={"*": dict(every, port=surroundings.reserve_port())},
                             pool={"wait_timeout": "200ms"})
        for database in names:
            self.assertIn("it cannot be found out at present", self.refused(pooler, OWNER, database=database))
        pooler = self.pgweir(databases={"*": every}, auth={"query_database": "none"}, pool={"minconn": 0})
        for database in names:
            self.assertIn("it cannot be found out at present", self.refused(pooler, OWNER, database=database))

    def test_a_login_that_waits_is_answered_whatever_is_reloaded(self):
        asks = "SELECT name, verifier, valid_until, groups FROM pgweir.user_lookup($1)%s"
        pooler = self.pgweir(auth={"query": asks % ", pg_sleep(2)"})
        logged_in = []
        login = threading.Thread(target=lambda: logged_in.append(self.works(pooler, OWNER, password_of(OWNER))))
        login.start()
        wait_for(lambda: self.postgres.query("select 1 from pg_stat_activity where state = 'active' and"
                                             " application_name = 'pgweir auth_query'"), "it is asked", 20)
        for count in range(1, 4):
            pooler.reload(auth={"query": asks % " WHERE false"})
            wait_for(lambda: pooler.log().count(" reloaded") == count, "the reload is done", 20)
        self.assertFalse(logged_in, "it does not wait any more")
        login.join(20)
        self.assertEqual([True], logged_in)
        # What the former question found out counts for that login only.
        self.assertFalse(self.works(pooler, OWNER, password_of(OWNER)))

    def test_a_connection_that_hangs_is_given_up(self):
        pooler = self.pgweir()
        with psycopg2.connect(**pooler.dsn()):
            pass
        [(pid,)] = self.postgres.query("select pid from pg_stat_activity where application_name = 'pgweir auth_query'")
        os.kill(pid, signal.SIGSTOP)
        self.addCleanup(os.kill, pid, signal.SIGCONT)
        self.assertIn("password authentication failed", self.refused(pooler, "nobody_by_that_name"))
        self.assertNotIn("users cannot be looked up", pooler.log())


if __name__ == "__main__":
    unittest.main()
