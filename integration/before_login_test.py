"""Who may do what before and after login: every command of the console by everybody who is there, and by
those who have not proved anything yet; and every type of message at every step of a login. Whoever is not
let in gets an error, or nothing, and nothing of what was sent is carried out."""

import concurrent.futures
import os
import re
import struct
import unittest

import psycopg2

from integration.support import surroundings, wire
from integration.support.case import only_pgweir, shared_postgres
from integration.support.certificates import Authority
from integration.support.login_matrix import SASL_INITIAL
from integration.support.pgweir import ADMIN, ME, Pgweir, users
from integration.support.postgres import DATABASE, OWNER, password_of

WATCHER, PLAIN = "md5_user", OWNER
SSL_REQUEST = wire.untyped(wire.SSL_REQUEST)


def commands():
    """{command with an argument where one may follow: "stats" or "admin"}, from the table in the sources."""
    path = os.path.join(surroundings.ROOT, "daemon", "console_commands.cpp")
    rows = re.findall(r'\{"([A-Z_ ]+)", (stats|admin), \w+, "[^"]*"(?:, "([^"]*)")?\}', surroundings.read_text(path))
    return {words + (" timezone" if argument else ""): needs for words, needs, argument in rows}


class LoginCase(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.postgres = shared_postgres()
        cls.authority = Authority()
        cls.tls = dict(zip(("certificate", "key"), cls.authority.sign("pgweir", "localhost", "DNS:localhost")))

    @classmethod
    def pgweir(cls, **settings):
        made = Pgweir(cls.postgres, **dict({
            "console": {"admin_users": [ADMIN], "stats_users": [WATCHER]}, "users": users(WATCHER, PLAIN, ADMIN),
            "tls": cls.tls, "pool": {"minconn": 0}, "log": {"level": "info"}}, **settings)).start()
        cls.addClassCleanup(made.close)
        return made

    def intruders(self):
        """What was carried out that must not have been."""
        return self.postgres.query("select relname from pg_class where relname like 'intruder%%'", database=DATABASE)


@only_pgweir
class ConsoleTest(LoginCase):
    """Role by command by state of the login."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.pooler = cls.pgweir(auth={"login_timeout": "5s"})

    def run_all(self, user, **options):
        """{command: SQLSTATE, or None where it was carried out}"""
        connection = self.pooler.connect(user=user, database="pgbouncer", **options)
        connection.autocommit = True
        came_to = {}
        for command in commands():
            if user == ADMIN and command == "SHUTDOWN":
                continue  # console_test.py
            try:
                connection.cursor().execute(command)
                came_to[command] = None
            except psycopg2.Error as error:
                came_to[command] = error.pgcode
        connection.close()
        return came_to

    def test_2026_6667_every_command_by_every_role(self):
        self.assertGreater(len(commands()), 30)
        for command, sqlstate in self.run_all(ADMIN).items():
            self.assertNotEqual("42501", sqlstate, command)
        for command, sqlstate in self.run_all(WATCHER).items():
            with self.subTest(command=command):
                self.assertEqual(commands()[command] == "admin", sqlstate == "42501", sqlstate)
        for user, password in ((PLAIN, password_of(PLAIN)), ("nobody", "x"), (ADMIN, "wrong"), (WATCHER, "wrong"),
                               (ADMIN.upper(), password_of(ADMIN)), (ADMIN + "\0", password_of(ADMIN))):
            with self.subTest(user=user), self.assertRaises((psycopg2.OperationalError, ValueError)):
                self.pooler.connect(user=user, database="pgbouncer", password=password)
        # In another database they are only text for PostgreSQL.
        with self.assertRaises(psycopg2.Error) as raised:
            self.pooler.query("RELOAD", user=PLAIN)
        self.assertEqual("42601", raised.exception.pgcode)

    def sent_before(self, state):
        """A connection to the console that has come so far in logging in as the administrator."""
        raw = wire.Wire(self.pooler.host, self.pooler.port)
        if state == "in the handshake of TLS":
            raw.send(SSL_REQUEST)
            self.assertEqual(b"S", raw.read_exactly(1))
        elif state != "nothing said":
            raw.send(wire.startup(user=ADMIN, database="pgbouncer"))
            self.assertEqual("R", raw.read_message()[0])
            if state == "half a SCRAM exchange":
                raw.send(SASL_INITIAL)
                self.assertEqual("R", raw.read_message()[0])
            elif state == "a wrong proof":
                raw.send(SASL_INITIAL)
                nonce = re.match(rb"r=([^,]+),", raw.read_message()[1][4:]).group(1)
                raw.send(wire.message("p", b"c=biws,r=" + nonce + b",p=" + b"A" * 43 + b"="))
        return raw

    def test_2026_6667_every_command_before_the_login_is_complete(self):
        reloads = self.pooler.log().count("reload")
        for state in ("nothing said", "in the handshake of TLS", "no password yet", "half a SCRAM exchange",
                      "a wrong proof"):
            def run(command, state=state):
                with self.sent_before(state) as raw:
                    raw.send(wire.query(command), wire.query(command))
                    try:
                        return [kind for kind, _ in raw.read_to_end()]
                    except (struct.error, UnicodeDecodeError):
                        return ["an alert"]
            with concurrent.futures.ThreadPoolExecutor(16) as pool:
                for command, kinds in zip(commands(), pool.map(run, commands())):
                    with self.subTest(state=state, command=command):
                        self.assertIn(kinds, ([], ["E"], ["an alert"]))
        self.assertEqual(reloads, self.pooler.log().count("reload"))
        self.assertIsNone(self.pooler.process.poll(), "it was shut down")

    def test_on_a_unix_socket_a_peer_is_who_the_system_says(self):
        directory, port = surroundings.temporary_directory("sockets"), surroundings.reserve_port()
        pooler = Pgweir(self.postgres, users=users(WATCHER, PLAIN, ADMIN), pool={"minconn": 0}, console={
            "admin_users": [ADMIN], "stats_users": [WATCHER]}, auth={
                "hba": ["local pgbouncer %s peer map=ops" % ADMIN, "local all all peer"],
                "ident": ["ops %s %s" % (ME, ADMIN)]})
        pooler.settings["listen"] += [{"address": directory, "port": port}]
        pooler.write_config()
        self.addCleanup(pooler.close)
        pooler.start()
        told = dict(host=directory, port=port, database="pgbouncer", password="")
        connection = pooler.connect(user=ADMIN, **told)
        connection.autocommit = True
        connection.cursor().execute("RELOAD")
        for user in (WATCHER, PLAIN, "nobody", ME):
            with self.subTest(user=user), self.assertRaises(psycopg2.OperationalError):
                pooler.connect(user=user, **told)
        with self.assertRaises(psycopg2.OperationalError):
            pooler.connect(user=ADMIN, **dict(told, database=DATABASE))  # that line has no map


@only_pgweir
class MessagesTest(LoginCase):
    """Every type of message at every step of a login, with a statement in it and more behind it."""

    STATES = {  # what goes before: (method, packets each of which is answered)
        "first": ("scram-sha-256", []),
        "behind a refused GSSENCRequest": ("scram-sha-256", [wire.untyped(wire.GSSENC_REQUEST)]),
        "in the handshake of TLS": ("scram-sha-256", [SSL_REQUEST]),
        "asked for a password": ("password", "startup"),
        "asked for an md5 digest": ("md5", "startup"),
        "asked for SASL": ("scram-sha-256", "startup"),
        "half a SCRAM exchange": ("scram-sha-256", "sasl"),
        "not told yet that it has failed": ("password", "wrong"),
    }

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.poolers = {method: cls.pgweir(auth={"method": method, "login_timeout": "3s"})
                       for method in ("password", "md5", "scram-sha-256")}

    def begin(self, state):
        method, before = self.STATES[state]
        raw = wire.Wire(self.poolers[method].host, self.poolers[method].port)
        if isinstance(before, list):
            for packet in before:
                raw.send(packet)
                self.assertIn(raw.read_exactly(1), (b"N", b"S"))
            return raw
        raw.send(wire.startup(user=OWNER, database=DATABASE))
        self.assertEqual("R", raw.read_message()[0])
        if before == "sasl":
            raw.send(SASL_INITIAL)
            self.assertEqual("R", raw.read_message()[0])
        elif before == "wrong":
            raw.send(wire.message("p", b"wrong\0"))
        return raw

    def attempt(self, state, tag):
        """What comes back, by its types."""
        name = "intruder_%s_%d" % (re.sub(r"\W", "_", state), tag)
        statement = "create table %s ()" % name
        with self.begin(state) as raw:
            try:
                raw.send(bytes([tag]) + wire.query(statement)[1:])
                raw.send(wire.query(statement), wire.parse(statement), wire.bind(), wire.execute(), wire.SYNC)
                answers = raw.read_to_end()
            except (struct.error, UnicodeDecodeError):
                return ["an alert"]  # of TLS
            except (BrokenPipeError, ConnectionResetError):
                return []
        return [kind if kind != "R" else "R%d" % struct.unpack("!i", body[:4])[0] for kind, body in answers]

    def test_2015_0244_2015_4054_every_type_at_every_step(self):
        for state in self.STATES:
            with concurrent.futures.ThreadPoolExecutor(64) as pool:
                for tag, kinds in zip(range(256), pool.map(lambda tag: self.attempt(state, tag), range(256))):  # pylint: disable=cell-var-from-loop
                    with self.subTest(state=state, tag=tag):
                        self.assertIn(kinds, ([], ["E"], ["an alert"]))
        self.assertEqual([], self.intruders())
        for pooler in self.poolers.values():
            self.assertIsNone(pooler.process.poll())
            self.assertEqual(0, pooler.metric("pgweir_pool_servers") or 0)  # nobody has needed one
            self.assertEqual([(1,)], pooler.query("select 1"))

    def test_2015_0244_nothing_is_read_behind_what_is_out_of_step(self):
        pooler = self.pgweir(auth={"method": "trust"}, pool={"minconn": 0, "maxconn": 1})
        for before in ("", "begin", "copy kept_out from stdin"):
            for tag in sorted(set(range(256)) - set(b"QPBEDCHSFXdcf")):
                with wire.Wire(pooler.host, pooler.port) as raw:
                    raw.log_in("", user=OWNER, database=DATABASE)
                    raw.ask("create temp table kept_out (a text)" if before.startswith("copy") else "select 1")
                    if before:
                        raw.send(wire.query(before))
                        raw.read_until("G" if before.startswith("copy") else "Z")
                    statement = "create table intruder_%d ()" % tag
                    raw.send(bytes([tag]) + wire.query(statement)[1:], wire.query(statement), wire.SYNC)
                    kinds = [kind for kind, _ in raw.read_to_end()]
                    self.assertNotIn("Z", kinds, (before, tag))
        self.assertEqual([], self.intruders())
        self.assertEqual([(1,)], pooler.query("select 1"))


if __name__ == "__main__":
    unittest.main()
