"""The daemon under test: writes its YAML, starts it, waits until it answers, ends it by its pid.

With PGWEIR_STAND_IN=pgbouncer in the environment Debian's pgbouncer takes its place, to see which of
the tests hold for it too (and to try out the tests themselves). With PGWEIR_AUDIT_EVERY=1 every daemon
audits each lease, unless its test says otherwise, and a leak that was found fails the test.
"""

import contextlib
import copy
import json
import os
import pwd
import signal
import socket

import psycopg2

from integration.support import surroundings
from integration.support.metrics import Samples, http_get
from integration.support.postgres import DATABASE, OWNER, password_of
from integration.support.waiting import wait_for


def merged(base, over):
    """`base` with `over` laid on top, mapping by mapping; None removes a key."""
    result = copy.deepcopy(base)
    for key, value in over.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, dict) and isinstance(result.get(key), dict):
            result[key] = merged(result[key], value)
        else:
            result[key] = value
    return result


ME = pwd.getpwuid(os.getuid()).pw_name
LEAK = "a client has left session state behind"  # in the log, when an audit has found some
AUDIT_EVERY = os.environ.get("PGWEIR_AUDIT_EVERY", "")
ADMIN = "operator"  # logs in to the console only; PostgreSQL does not know it


def users(*roles):
    """The `users:` of a configuration. Each has a pool of its own, which is kept warm: a test names
    only those it needs, or its counts of backends are of all of them."""
    return {role: {"password": password_of(role)} for role in roles}


class Pooler:
    """What the tests need of whatever stands in front of PostgreSQL."""

    def __init__(self, postgres):
        self.postgres = postgres
        self.host = "127.0.0.1"
        self.port = surroundings.reserve_port()
        self.process = None
        self.connections = []

    def dsn(self, user=OWNER, database=DATABASE, password=None, **options):
        """Keyword arguments for psycopg2.connect(), as an application would write them."""
        return dict(dict(host=self.host, port=self.port, user=user, dbname=database,
                         password=password_of(user) if password is None else password,
                         connect_timeout=30), **options)

    def connect(self, **options):
        """A psycopg2 connection through the pooler; closed with the pooler at the latest."""
        connection = psycopg2.connect(**self.dsn(**options))
        self.connections.append(connection)
        return connection

    def lets_in(self, **options):
        """Such a client."""
        try:
            self.connect(**options).close()
            return True
        except psycopg2.OperationalError:
            return False

    def query(self, sql, *parameters, **options):
        """Rows of one statement, autocommitted, on a connection of its own."""
        with contextlib.closing(self.connect(**options)) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(sql, parameters or None)
                return cursor.fetchall() if cursor.description else []

    def accepts(self):
        with socket.socket() as probe:
            probe.settimeout(2)
            return probe.connect_ex((self.host, self.port)) == 0

    def close_connections(self):
        for connection in self.connections:
            with contextlib.suppress(psycopg2.Error):
                connection.close()
        self.connections.clear()


class Pgweir(Pooler):
    """One daemon. `settings` are laid over `base_settings()`; with `rotate` a client gets another server
    wherever it can: the one that has been idle longest. Without `track` it does not look at what clients
    do to their sessions: for benchmarks."""

    def __init__(self, postgres, rotate=False, track=True, **settings):
        super().__init__(postgres)
        self.arguments = (["--rotate-servers"] if rotate else []) + ([] if track else ["--without-tracking"])
        self.directory = surroundings.temporary_directory("daemon")
        self.user = ME  # whom it runs as
        self.run_by = []  # a command that becomes it, as somebody who is not root
        self.config_path = os.path.join(self.directory, "pgweir.yaml")
        self.log_path = os.path.join(self.directory, "pgweir.log")
        self.metrics_port = surroundings.reserve_port()
        self.may_leak = not AUDIT_EVERY
        if AUDIT_EVERY:
            settings = merged({"pool": {"audit_every": int(AUDIT_EVERY)}}, settings)
        self.settings = merged(self.base_settings(), settings)
        self.write_config()

    def base_settings(self):
        return {
            "listen": [{"address": self.host, "port": self.port}],
            "databases": {DATABASE: {"host": self.postgres.host, "port": self.postgres.port}},
            "users": users(OWNER, ADMIN),
            "pool": {"mode": "transaction", "minconn": 1, "maxconn": 10, "wait_timeout": "5s"},
            "auth": {"method": "scram-sha-256"},
            "console": {"admin_users": [ADMIN]},
            "metrics": {"address": "127.0.0.1", "port": self.metrics_port},
            "shutdown_timeout": "10s",
        }

    def write_config(self, text=None):
        """The settings, or a text as it is. JSON is YAML."""
        with open(self.config_path, "w", encoding="utf-8") as file:
            file.write(json.dumps(self.settings, indent=2) if text is None else text)
        if self.user == ME:
            os.chmod(self.config_path, 0o600)  # passwords stand in it

    # Life ----------------------------------------------------------------------------------------

    def start(self, **environment):
        self.process = surroundings.start_process(
            self.run_by + [surroundings.BINARY, "run", "--config", self.config_path] +
            ([] if self.run_by else ["--user", self.user]) + self.arguments,
            self.log_path, env=dict(os.environ, **environment))
        wait_for(self.is_up, lambda: "the daemon is up; its log:\n" + self.log(), 30)
        return self

    def is_up(self):
        if self.process.poll() is not None:
            raise AssertionError("the daemon ended (%d):\n%s" % (self.process.returncode, self.log()))
        try:
            return self.accepts() and self.http("/healthz")[0] == 200
        except OSError:
            return False

    def reload(self, **settings):
        """Lays settings over the present ones, writes the file and sends SIGHUP."""
        self.settings = merged(self.settings, settings)
        self.write_config()
        self.process.send_signal(signal.SIGHUP)

    def stop(self, how=signal.SIGTERM, seconds=30):
        return surroundings.end_process(self.process, how, seconds * surroundings.PATIENCE)

    def close(self):
        self.close_connections()
        if self.process is not None:
            self.stop(signal.SIGKILL)
        if not self.may_leak and self.leaks():
            raise AssertionError("\n".join(self.leaks()))

    # Looking -------------------------------------------------------------------------------------

    def http(self, path):
        return http_get("127.0.0.1", self.metrics_port, path)

    def metrics(self):
        status, body = self.http("/metrics")
        assert status == 200, (status, body)
        return Samples(body)

    def metric(self, name, **labels):
        return self.metrics().value(name, **labels)

    def console(self, command, user=ADMIN):
        """Rows of a console command, as dictionaries."""
        with contextlib.closing(self.connect(user=user, database="pgbouncer")) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(command)
                if cursor.description is None:
                    return []
                names = [column.name for column in cursor.description]
                return [dict(zip(names, row)) for row in cursor.fetchall()]

    def leaks(self):
        """What audits have found: lines of the log."""
        return [line for line in self.log().splitlines() if LEAK in line]

    def log(self):
        return surroundings.read_text(self.log_path)
