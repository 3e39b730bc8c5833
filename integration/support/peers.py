"""What the tests of streaming and of abandoned work do to a connection, and what they look at
afterwards: raw clients that log in, ways to vanish, the daemon's memory and CPU, and whether all
that was held has come back. And a proxy that loses what PostgreSQL is told."""

import contextlib
import os
import socket
import struct
import threading
import time
import unittest

import psycopg2

from integration.support import wire
from integration.support.metrics import Samples
from integration.support.postgres import DATABASE
from integration.support.surroundings import PATIENCE
from integration.support.waiting import wait_for

# Logs in without a password at PostgreSQL and, with `auth: trust`, at the daemon: raw clients can
# play the same script on both.
RAW_USER = "trust_user"


def raw_client(where, user=RAW_USER, timeout=30, receive_buffer=None, send_buffer=None, **parameters):
    """A raw connection to `where` (the daemon or PostgreSQL), logged in. Small socket buffers on
    request: they must be set before the connection is made, or the window is larger."""
    raw = wire.Wire.__new__(wire.Wire)
    raw.buffer = b""
    raw.socket = socket.socket()
    if receive_buffer is not None:
        raw.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    if send_buffer is not None:
        raw.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
    raw.socket.settimeout(timeout * PATIENCE)
    raw.socket.connect((where.host, where.port))
    raw.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    raw.log_in("", user=user, database=DATABASE, **parameters)
    return raw


def allow_raw_users(postgres):
    """Raw clients may make tables of their own."""
    postgres.query("create schema if not exists authorization " + RAW_USER, database=DATABASE)


def kinds(messages):
    """The types of some messages, as one word."""
    return "".join(kind for kind, _ in messages)


def rows_of(messages):
    """The first column of every DataRow among them, as text."""
    rows = []
    for kind, body in messages:
        if kind == "D":
            length = struct.unpack("!i", body[2:6])[0]
            rows.append(None if length < 0 else body[6:6 + length].decode())
    return rows


def read_ready(raw, count):
    """All messages up to the ReadyForQuery of that number."""
    messages = []
    for _ in range(count):
        messages += raw.read_until("Z")
    return messages


# A build with sanitizers keeps what was freed for a while: its size says nothing.
memory_tells = unittest.skipUnless(PATIENCE == 1, "a sanitizer keeps what was freed")


# Ways to vanish ------------------------------------------------------------------------------------

def reset(connection):
    """RST: its machine has forgotten about the connection."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def hang_up(connection):
    """FIN without a Terminate: its process was killed. (With bytes unread the kernel sends RST.)"""
    connection.close()


def terminate(connection):
    connection.sendall(wire.TERMINATE)
    connection.close()


WAYS_TO_LEAVE = {"RST": reset, "FIN": hang_up, "Terminate": terminate}


# The daemon, looked at from outside ----------------------------------------------------------------

def cpu_seconds(process):
    """As the scheduler has it, thread by thread: to the nanosecond, where stat counts ticks."""
    folder = "/proc/%d/task" % process.pid
    total = 0
    for thread in os.listdir(folder):
        with open(os.path.join(folder, thread, "schedstat"), encoding="ascii") as file:
            total += int(file.read().split()[0])
    return total / 1e9


def memory_bytes(process, which="VmRSS"):
    with open("/proc/%d/status" % process.pid, encoding="ascii") as file:
        for line in file:
            if line.startswith(which + ":"):
                return int(line.split()[1]) * 1024
    raise AssertionError("no %s of %d" % (which, process.pid))


class PeakMemory:
    """How much more memory a process had at most during the block than before it: `grown`."""

    def __init__(self, process):
        self.process = process

    def __enter__(self):
        with open("/proc/%d/clear_refs" % self.process.pid, "w", encoding="ascii") as file:
            file.write("5")  # the peak begins anew
        self.before = memory_bytes(self.process)
        return self

    def __exit__(self, *_):
        self.grown = memory_bytes(self.process, "VmHWM") - self.before


def assert_comes_back(postgres, user, minimum):
    """So many servers of the user's are opened, and opened again when PostgreSQL has ended them."""
    def open_servers():
        return {row[0] for row in postgres.query(
            "select pid from pg_stat_activity where usename = %s and client_addr is not null", user)}
    wait_for(lambda: len(open_servers()) >= minimum, "the minimum is there", 20)
    before = open_servers()
    postgres.query("select pg_terminate_backend(pid) from pg_stat_activity"
                   " where usename = %s and client_addr is not null", user)
    wait_for(lambda: len(open_servers() - before) >= minimum, "and comes back", 20)


def assert_idle(case, pooler, seconds=0.5, times=20):
    """The daemon, with nothing to do, takes less than 1 % of a core (under a sanitizer, 5 %) at least once:
    something may just be ending, and a machine that is stolen from charges what it loses to whoever was
    running; a daemon that spins never stops."""
    limit = 0.01 * PATIENCE
    def share():
        began, before = time.monotonic(), cpu_seconds(pooler.process)
        time.sleep(seconds)
        return (cpu_seconds(pooler.process) - before) / (time.monotonic() - began)
    shares = [share()]
    before = threads_at_work(pooler.process)
    while shares[-1] >= limit and len(shares) < times:
        shares.append(share())
    if shares[-1] >= limit:
        case.fail("it is busy while idle: %r of a core; its threads' run time, waits (ns), slices, before"
                  " and after:\n%s\n%s" % (shares, before, threads_at_work(pooler.process)))


def threads_at_work(process):
    """What the scheduler says of each thread, for whoever has to find out which of them is busy."""
    lines = []
    for thread in sorted(os.listdir("/proc/%d/task" % process.pid)):
        said = []
        for name in ("comm", "schedstat"):
            with open("/proc/%d/task/%s/%s" % (process.pid, thread, name), encoding="ascii") as file:
                said.append(file.read().strip())
        lines.append(" ".join(said))
    return "; ".join(lines)


def not_given_back(pooler, clients=0):
    """What clients that are gone have left behind, as the metrics say. `clients` are still there."""
    status, body = pooler.http("/metrics")
    assert status == 200, (status, body)
    samples = Samples(body)
    left = {"pgweir_clients": (samples.value("pgweir_clients") or 0) - clients,
            "pinned": samples.value("pgweir_pool_pinned_clients"),
            "servers that are not idle": (samples.value("pgweir_pool_servers") or 0)
            - (samples.value("pgweir_pool_servers", state="idle") or 0)}
    return {name: value for name, value in left.items() if value}


def assert_hears_itself(connection):
    """What it tells a channel that it listens to reaches it."""
    with connection.cursor() as cursor:
        cursor.execute("listen news")
        cursor.execute("select pg_notify('news', 'heard')")

    def heard():
        connection.poll()
        return [each.payload for each in connection.notifies] == ["heard"]
    wait_for(heard, "it is heard", 20)


def assert_can_be_cancelled(connection, postgres):
    """What it runs; the cancel request comes when PostgreSQL has begun with it."""
    runs = "select 1 from pg_stat_activity where state = 'active' and query = 'select pg_sleep(60)'"

    def cancel():
        wait_for(lambda: postgres.query(runs), "it runs", 20)
        connection.cancel()
    canceller = threading.Thread(target=cancel)
    canceller.start()
    with connection.cursor() as cursor, unittest.TestCase().assertRaises(psycopg2.errors.QueryCanceled):
        cursor.execute("select pg_sleep(60)")
    canceller.join()


def wait_until_given_back(pooler, seconds=10.0, clients=0):
    """Until nobody holds or waits for anything, by the daemon's own account and PostgreSQL's."""
    wait_for(lambda: not not_given_back(pooler, clients),
             lambda: "all is given back: %r" % not_given_back(pooler, clients), seconds)
    wait_for(lambda: not left_in_postgres(pooler.postgres),
             lambda: "PostgreSQL is at rest: %r" % left_in_postgres(pooler.postgres), seconds)


def left_in_postgres(postgres):
    """Backends that are in a transaction, and locks that somebody holds without one."""
    return postgres.query(
        "select pid::text, state, left(query, 60) from pg_stat_activity"
        " where client_addr is not null and datname = %s and state <> 'idle'"
        " union all select l.pid::text, l.locktype, l.mode from pg_locks l join pg_stat_activity a"
        " on a.pid = l.pid where a.client_addr is not null and a.datname = %s"
        " and l.pid <> pg_backend_pid()", DATABASE, DATABASE, database="postgres")


# A session looks like a new one --------------------------------------------------------------------

FINGERPRINT = """
select current_setting('work_mem'), current_setting('search_path'), current_user::text,
       coalesce(current_setting('weir.custom', true), ''),
       (select count(*)::int from pg_prepared_statements where name not like 'pgw%'),
       (select count(*)::int from pg_cursors where is_holdable),
       (select count(*)::int from pg_listening_channels()),
       (select count(*)::int from pg_locks where pid = pg_backend_pid() and locktype = 'advisory'),
       (select count(*)::int from pg_class where relnamespace = pg_my_temp_schema()
                                            and relkind = 'r')
"""


class SilencingProxy:
    """Stands before PostgreSQL. A connection on which `about` is sent falls silent there, until close()."""

    def __init__(self, postgres, about):
        self.to, self.about = (postgres.host, postgres.port), about
        self.silenced = threading.Event()  # one has been
        self.silent = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.host, self.port = self.listener.getsockname()
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                server = socket.create_connection(self.to)
                for ends in ((client, server), (server, client)):
                    threading.Thread(target=self.pass_on, args=ends, daemon=True).start()

    def pass_on(self, source, sink):
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if self.about in data:
                    self.silent.append(source)
                    self.silenced.set()
                if source not in self.silent:
                    sink.sendall(data)
        with contextlib.suppress(OSError):  # also where the other end was reset
            sink.shutdown(socket.SHUT_RDWR)

    def close(self):
        self.listener.close()
        for source in self.silent:
            with contextlib.suppress(OSError):
                source.shutdown(socket.SHUT_RDWR)
