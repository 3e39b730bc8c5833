"""Replication through pgweir: PostgreSQL's own programs, a subscription, and the protocol by hand. Each
connection has a server of its own, beside the pool and under a bound of its own."""

import contextlib
import os
import re
import signal
import struct
import subprocess
import unittest

from integration.support import surroundings, wire
from integration.support.case import PoolerCase, only_pgweir
from integration.support.postgres import (DATABASE, HBA, OWNER, POSTGRES_BIN, Postgres,
                                          password_of)
from integration.support.waiting import Stopwatch

REPLICATING = {"hba": HBA + "host replication all 127.0.0.1/32 scram-sha-256\n",
               "max_wal_senders": 12, "max_replication_slots": 12, "wal_level": "logical"}
# So short that a stream survives only while keepalives pass, both ways.
IMPATIENT = dict(REPLICATING, wal_sender_timeout="1500ms")
COPY_BOTH, COPY_DATA, COPY_DONE = "W", "d", "c"


def program(name):
    return os.path.join(POSTGRES_BIN, name)


class ReplicationCase(PoolerCase):
    postgres_settings = REPLICATING

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.postgres.query("alter role %s replication" % OWNER)

    def address(self):
        return ["-h", self.pooler.host, "-p", str(self.pooler.port), "-U", OWNER, "-w"]

    def environment(self):
        return dict(os.environ, PGPASSWORD=password_of(OWNER), PGCONNECT_TIMEOUT="20")

    def call(self, name, *arguments):
        """Runs one of PostgreSQL's programs to its end; what it printed."""
        done = subprocess.run([program(name), *self.address(), *arguments], env=self.environment(),
                              capture_output=True, text=True, timeout=120, check=False)
        self.assertEqual(0, done.returncode, done.stdout + done.stderr)
        return done.stdout + done.stderr

    def start(self, name, *arguments):
        """Starts one that goes on until it is told to end."""
        path = os.path.join(surroundings.temporary_directory("program"), "output")
        process = surroundings.start_process([program(name), *self.address(), *arguments], path,
                                             env=self.environment())
        self.addCleanup(surroundings.end_process, process, signal.SIGKILL)
        return process

    def psql(self, command, **parameters):
        dsn = " ".join("%s=%s" % item for item in dict(
            {"host": self.pooler.host, "port": self.pooler.port, "user": OWNER,
             "dbname": DATABASE}, **parameters).items())
        done = subprocess.run(["psql", "-X", "-A", "-t", "-c", command, dsn],
                              env=self.environment(), capture_output=True, text=True, timeout=60,
                              check=False)
        return done.stdout.strip(), done.stderr.strip()

    def raw(self, replication="true", **parameters):
        connection = wire.Wire(self.pooler.host, self.pooler.port)
        self.addCleanup(connection.socket.close)
        connection.log_in(password_of(OWNER), **dict(
            {"user": OWNER, "database": DATABASE, "replication": replication}, **parameters))
        return connection

    def refusal(self, **parameters):
        with wire.Wire(self.pooler.host, self.pooler.port) as connection:
            connection.send(wire.startup(user=OWNER, **parameters))
            for kind, body in iter(connection.read_message, None):
                if kind == "R" and body == b"\0\0\0\3":
                    connection.send(wire.message("p", password_of(OWNER).encode() + b"\0"))
                if kind == "E":
                    self.assertEqual([], connection.read_to_end())
                    return wire.error_fields(body)
        raise AssertionError("not refused")

    def stream(self, connection, command=None):
        """Starts streaming from the present position."""
        position = self.value_of("select pg_current_wal_flush_lsn()")
        connection.send(wire.query(command or "START_REPLICATION PHYSICAL %s" % position))
        kind, _ = connection.read_message()
        self.assertEqual(COPY_BOTH, kind)

    def value_of(self, sql, *parameters):
        return self.postgres.query(sql, *parameters, database=DATABASE)[0][0]

    def active(self, slot):
        return self.value_of("select active from pg_replication_slots where slot_name = %s", slot)

    def walsenders(self):
        return [row[0] for row in self.postgres.query("select pid from pg_stat_replication")]


# A pool so small and short-lived that every time-out of it would strike at once.
SMALL = {"mode": "transaction", "minconn": 0, "maxconn": 1, "wait_timeout": "2s",
         "idle_timeout": "100ms", "max_lifetime": "200ms", "max_replication": 6}


@only_pgweir
class ProgramsTest(ReplicationCase):
    settings = {"pool": SMALL, "slow_query": "off"}
    postgres_settings = IMPATIENT

    def back_up(self, *arguments):
        target = os.path.join(surroundings.temporary_directory("backup"), "data")
        self.call("pg_basebackup", "-D", target, "-c", "fast", "--no-sync", *arguments)
        return target

    def verify(self, target):
        subprocess.run([program("pg_verifybackup"), target], check=True, capture_output=True,
                       timeout=60)

    def test_basebackup_streaming_its_wal_on_a_second_connection(self):
        self.verify(self.back_up("-X", "stream"))
        self.wait_for(lambda: not self.walsenders(), "both connections have ended")

    def test_basebackup_fetching_its_wal(self):
        self.verify(self.back_up("-X", "fetch"))

    def test_basebackup_as_tar_to_standard_output(self):
        done = subprocess.run([program("pg_basebackup"), *self.address(), "-D", "-", "-F", "tar",
                               "-X", "fetch", "-c", "fast"], env=self.environment(), timeout=60,
                              capture_output=True, check=False)
        self.assertEqual(0, done.returncode, done.stderr)
        self.assertIn(b"PG_VERSION", done.stdout)

    def test_a_backup_becomes_a_standby_that_streams_through_pgweir(self):
        target = self.back_up("-X", "stream")
        standby = Postgres(**REPLICATING, hot_standby="on", primary_conninfo=(
            "host=%s port=%d user=%s password=%s" % (self.pooler.host, self.pooler.port, OWNER,
                                                     password_of(OWNER))))
        self.addCleanup(standby.close)
        configuration = os.path.join(standby.data, "postgresql.auto.conf")
        with open(configuration, encoding="ascii") as file:
            settings = file.read()
        subprocess.run(["rm", "-rf", standby.data], check=True)
        subprocess.run(["cp", "-a", target, standby.data], check=True)
        os.chmod(standby.data, 0o700)
        with open(configuration, "w", encoding="ascii") as file:
            file.write(settings)
        with open(os.path.join(standby.data, "pg_hba.conf"), "w", encoding="ascii") as file:
            file.write(HBA)
        with open(os.path.join(standby.data, "standby.signal"), "w", encoding="ascii"):
            pass
        if surroundings.AS_ROOT:
            subprocess.run(["chown", "-R", "postgres:postgres", standby.directory], check=True)
        standby.start()
        self.postgres.query("create table streamed as select 42 as n", database=DATABASE)
        self.addCleanup(self.postgres.query, "drop table streamed", database=DATABASE)
        self.wait_for(lambda: standby.query("select to_regclass('streamed') is not null",
                                            database=DATABASE)[0][0], "the table is there", 30)
        self.assertEqual([(42,)], standby.query("select n from streamed", database=DATABASE))

    def test_receivewal_gets_the_servers_own_bytes_and_stays_while_idle(self):
        target = surroundings.temporary_directory("wal")
        process = self.start("pg_receivewal", "-D", target, "--no-loop", "--synchronous")
        self.wait_for(self.walsenders, "it streams")
        pid = self.walsenders()
        first = self.value_of("select reply_time from pg_stat_replication")
        # Twice the time after which the server would have given up.
        self.wait_for(lambda: self.value_of(
            "select reply_time > %s + interval '3 s' from pg_stat_replication", first),
            "it has replied to keepalives", 20)
        self.assertEqual(pid, self.walsenders())
        name = self.value_of("select pg_walfile_name(pg_current_wal_lsn())")
        self.postgres.query("select pg_logical_emit_message(false, 'x', repeat('y', 3000000))",
                            database=DATABASE)
        self.postgres.query("select pg_switch_wal()")
        received = os.path.join(target, name)
        self.wait_for(lambda: os.path.exists(received), "the segment is complete", 20)
        with open(received, "rb") as ours, open(os.path.join(self.postgres.data, "pg_wal", name),
                                                "rb") as theirs:
            self.assertTrue(ours.read() == theirs.read(), "the segments differ")
        process.send_signal(signal.SIGINT)
        self.assertEqual(0, process.wait(20))
        self.wait_for(lambda: not self.walsenders(), "its walsender has ended")

    def test_recvlogical_decodes(self):
        path = os.path.join(surroundings.temporary_directory("decoded"), "changes")
        where = ("-d", DATABASE, "-S", "through_pgweir")
        self.postgres.query("create table decoded (n int)", database=DATABASE)
        self.addCleanup(self.postgres.query, "drop table decoded", database=DATABASE)
        self.call("pg_recvlogical", *where, "--create-slot", "-P", "test_decoding")
        process = self.start("pg_recvlogical", *where, "--start", "-f", path, "-F", "0",
                             "--no-loop")
        self.postgres.query("insert into decoded select generate_series(1, 2000)",
                            database=DATABASE)
        self.wait_for(lambda: "n[integer]:2000" in surroundings.read_text(path), "the last row", 20)
        self.assertEqual([str(n) for n in range(1, 2001)], re.findall(
            r"table public\.decoded: INSERT: n\[integer\]:(\d+)", surroundings.read_text(path)))
        process.send_signal(signal.SIGINT)
        self.assertEqual(0, process.wait(20))
        self.wait_for(lambda: not self.active("through_pgweir"), "the slot is free")
        self.call("pg_recvlogical", *where, "--drop-slot")

    def test_a_subscription_of_another_postgresql(self):
        for sql in ("create table published (id int primary key, text text)",
                    "insert into published select n, 'copied' from generate_series(1, 500) n",
                    "create publication everything for table published",
                    "grant select on published to %s" % OWNER):
            self.postgres.query(sql, database=DATABASE)
        subscriber = Postgres(**REPLICATING).start()
        self.addCleanup(subscriber.close)

        def ask(sql):
            return subscriber.query(sql, database=DATABASE)
        ask("create table published (id int primary key, text text)")
        ask("create subscription through_pgweir connection 'host=%s port=%d dbname=%s user=%s"
            " password=%s application_name=subscriber' publication everything"
            % (self.pooler.host, self.pooler.port, DATABASE, OWNER, password_of(OWNER)))
        self.wait_for(lambda: ask("select count(*) from published") == [(500,)], "the copy", 30)
        self.postgres.query("insert into published values (501, 'streamed')", database=DATABASE)
        self.postgres.query("update published set text = 'changed' where id = 7", database=DATABASE)
        self.wait_for(lambda: ask("select text from published where id in (7, 501) order by id")
                      == [("changed",), ("streamed",)], "the changes", 30)
        row = next(row for row in self.pooler.console("show clients")
                   if row["application_name"] == "subscriber" and row["replication"] == "logical")
        self.assertEqual("active", row["state"])
        ask("drop subscription through_pgweir")
        self.wait_for(lambda: not self.walsenders(), "its walsender has ended")
        self.postgres.query("drop publication everything", database=DATABASE)
        self.postgres.query("drop table published", database=DATABASE)

    def test_psql_speaks_to_a_walsender(self):
        system = self.value_of("select system_identifier from pg_control_system()")
        for kind in ("database", "true"):
            text, errors = self.psql("IDENTIFY_SYSTEM", replication=kind)
            self.assertEqual(str(system), text.split("|")[0], errors)
        self.assertEqual(("1500ms", ""), self.psql("SHOW wal_sender_timeout", replication="on"))
        self.assertEqual("2", self.psql("select 1 + 1", replication="database")[0])
        # Only with database can it do SQL; PostgreSQL says so.
        self.assertIn("cannot execute SQL commands in WAL sender for physical", self.psql("select 1", replication="true")[1])


@only_pgweir
class ProtocolTest(ReplicationCase):
    settings = {"pool": dict(SMALL, max_replication=3), "auth": {"method": "password"}}

    def test_every_spelling_of_physical_replication(self):
        for text in ("true", "on", "yes", "1", "TRUE", "t"):
            with self.subTest(text), contextlib.closing(self.raw(text).socket) as still_open:
                self.assertTrue(still_open)
                self.wait_for(lambda: self.pooler.metric("pgweir_replication_connections") == 1,
                              "it is counted")
            self.wait_for(lambda: self.pooler.metric("pgweir_replication_connections") == 0,
                          "it has ended")

    def test_false_is_an_ordinary_connection(self):
        connection = self.raw("false")
        self.assertEqual("D", connection.ask("select 1")[1][0])
        self.assertEqual(0, self.pooler.metric("pgweir_replication_connections"))

    def test_a_stream_is_ended_by_the_client_and_the_session_goes_on(self):
        connection = self.raw()
        for _ in range(3):
            self.stream(connection)
            # A status that asks for one back.
            connection.send(wire.message(COPY_DATA, b"r" + struct.pack("!qqqqb", 0, 0, 0, 0, 1)))
            kind, body = connection.read_message()
            while body[:1] != b"k":
                self.assertEqual((COPY_DATA, b"w"), (kind, body[:1]))
                kind, body = connection.read_message()
            connection.send(wire.message(COPY_DONE))
            kinds = [kind for kind, _ in connection.read_until("Z")]
            self.assertEqual([COPY_DONE, "C", "C", "Z"], [k for k in kinds if k != COPY_DATA])
            self.assertEqual(["T", "D", "C", "Z"],
                             [kind for kind, _ in connection.ask("IDENTIFY_SYSTEM")])

    def test_an_error_leaves_the_session_usable(self):
        connection = self.raw("database")
        kinds = [kind for kind, _ in connection.ask("START_REPLICATION SLOT none LOGICAL 0/0")]
        self.assertEqual(["E", "Z"], kinds)
        self.assertEqual(["T", "D", "C", "Z"],
                         [kind for kind, _ in connection.ask("select 1")])
        # A walsender knows no extended protocol: an error, then it skips to the Sync.
        connection.send(wire.parse("select 1"), wire.bind(), wire.execute(), wire.SYNC)
        self.assertEqual(["E", "Z"], [kind for kind, _ in connection.read_until("Z")])

    def test_the_welcome_is_its_own_servers(self):
        connection = wire.Wire(self.pooler.host, self.pooler.port)
        self.addCleanup(connection.socket.close)
        messages = connection.log_in(password_of(OWNER), user=OWNER, database=DATABASE,
                                     replication="database", application_name="mine",
                                     options="-c datestyle=German")
        told = dict(body.rstrip(b"\0").split(b"\0") for kind, body in messages
                    if kind == "S" and body.count(b"\0") == 2 and not body.endswith(b"\0\0"))
        self.assertEqual((b"mine", b"German, DMY"), (told[b"application_name"], told[b"DateStyle"]))
        pid = struct.unpack("!i", next(body for kind, body in messages if kind == "K")[:4])[0]
        self.assertIn(str(pid).encode(), connection.ask("select pg_backend_pid()")[1][1])

    def test_a_client_that_vanishes_frees_its_slot_at_once(self):
        first = self.raw()
        first.ask("CREATE_REPLICATION_SLOT vanishing PHYSICAL RESERVE_WAL")
        self.addCleanup(self.postgres.query, "select pg_drop_replication_slot('vanishing')")
        position = self.value_of("select pg_current_wal_flush_lsn()")
        self.stream(first, "START_REPLICATION SLOT vanishing PHYSICAL %s" % position)
        self.assertTrue(self.active("vanishing"))
        with Stopwatch() as watch:
            first.socket.close()
            self.wait_for(lambda: not self.active("vanishing"), "the slot is free")
        self.assertLess(watch.seconds, 5 * surroundings.PATIENCE)

    def test_the_bound_is_its_own(self):
        ordinary = self.connect()  # in a transaction: all that maxconn allows
        self.rows(ordinary, "select 1")
        streams = [self.raw() for _ in range(3)]
        for connection in streams:
            self.stream(connection)
        with Stopwatch() as watch:
            fields = self.refusal(database=DATABASE, replication="true")
        self.assertEqual("53300", fields["C"])
        self.assertIn("too many replication connections", fields["M"])
        self.assertIn("max_replication", fields["H"])
        self.assertLess(watch.seconds, 1.5 * surroundings.PATIENCE)  # told at once
        ordinary.rollback()
        self.assertEqual([(1,)], self.pooler.query("select 1"))
        streams[0].socket.close()
        self.wait_for(lambda: self.pooler.metric("pgweir_replication_connections") == 2, "it left")
        self.stream(self.raw())

    def test_postgresql_has_the_last_word(self):
        self.postgres.query("alter role %s noreplication" % OWNER)
        try:
            fields = self.refusal(database=DATABASE, replication="true")
        finally:
            self.postgres.query("alter role %s replication" % OWNER)
        self.assertEqual("42501", fields["C"])
        self.assertIn("walsender", fields["M"] + fields.get("D", ""))


@only_pgweir
class SeveralDatabasesTest(ReplicationCase):
    settings = {"auth": {"method": "password"}}

    @classmethod
    def setUpClass(cls):

        super().setUpClass()
        where = cls.pooler.settings["databases"][DATABASE]
        cls.pooler.reload(databases={"another": dict(where, dbname=DATABASE)})

    def test_physical_replication_names_a_database(self):
        self.wait_for(lambda: "another" in {row["name"] for row in
                                            self.pooler.console("show databases")}, "the reload")
        self.raw("true", database="another").ask("IDENTIFY_SYSTEM")
        fields = self.refusal(database="replication", replication="true")
        self.assertEqual("3D000", fields["C"])
        self.assertIn("dbname=", fields["H"])
        fields = self.refusal(replication="true")  # PostgreSQL takes the user's name
        self.assertEqual("3D000", fields["C"])
        fields = self.refusal(database="nowhere", replication="database")
        self.assertEqual(("3D000", 'database "nowhere" does not exist'), (fields["C"], fields["M"]))


@only_pgweir
class ShutdownTest(ReplicationCase):
    def test_shutdown_ends_streams_at_once(self):
        connection = self.start("pg_receivewal", "-D", surroundings.temporary_directory("wal"),
                                "--no-loop")
        self.wait_for(self.walsenders, "it streams")
        with Stopwatch() as watch:
            self.assertEqual(0, self.pooler.stop())
        self.assertLess(watch.seconds, 5 * surroundings.PATIENCE)  # of a shutdown_timeout of 10 s
        self.assertNotEqual(0, connection.wait(20))
        self.wait_for(lambda: not self.walsenders(), "its walsender has ended")


if __name__ == "__main__":
    unittest.main()
