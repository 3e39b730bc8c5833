"""The base of the test cases: one PostgreSQL per test file, one daemon per test case, and their logs
printed when something fails."""

import atexit
import contextlib
import os
import sys
import threading
import unittest

import psycopg2

from integration.support.pgbouncer import Pgbouncer
from integration.support.pgweir import Pgweir
from integration.support.postgres import DATABASE, Postgres
from integration.support.waiting import wait_for

_SHARED = {}
STAND_IN = os.environ.get("PGWEIR_STAND_IN", "")
only_pgweir = unittest.skipIf(STAND_IN, "is about pgweir itself")


def shared_postgres(**settings):
    """The PostgreSQL of this test file with these settings, started when first asked for."""
    key = tuple(sorted(settings.items()))
    if key not in _SHARED:
        _SHARED[key] = Postgres(**settings).start()
        atexit.register(_SHARED[key].close)
    return _SHARED[key]


def new_pooler(postgres, **settings):
    """A daemon that is not started yet."""
    if STAND_IN == "pgbouncer":
        pool = settings.get("pool", {})
        return Pgbouncer(postgres, default_pool_size=pool.get("maxconn", 10),
                         min_pool_size=pool.get("minconn", 1),
                         pool_mode=pool.get("mode", "transaction"),
                         auth_type={"password": "plain"}.get(
                             settings.get("auth", {}).get("method", "scram-sha-256"),
                             settings.get("auth", {}).get("method", "scram-sha-256")))
    return Pgweir(postgres, **settings)


class PoolerCase(unittest.TestCase):
    """`self.postgres` and `self.pooler`, the latter started anew for each class."""

    settings = {}           # laid over Pgweir.base_settings()
    postgres_settings = {}  # a PostgreSQL of its own for each set of these
    longMessage = True

    @classmethod
    def setUpClass(cls):
        cls.postgres = shared_postgres(**cls.postgres_settings)
        cls.pooler = new_pooler(cls.postgres, **cls.settings).start()
        cls.addClassCleanup(lambda: cls.pooler.close())

    def tearDown(self):
        self.pooler.close_connections()

    def run(self, result=None):
        trouble = lambda: len(result.failures) + len(result.errors)  # noqa: E731
        before, log_before = trouble(), len(self.logs_now())
        result = super().run(result)
        if result is not None and trouble() > before:
            print("--- the daemon's log during %s:\n%s" % (self.id(),
                  self.logs_now()[log_before:][-8000:]), file=sys.stderr)
        return result

    def logs_now(self):
        pooler = getattr(self, "pooler", None)
        return pooler.log() if pooler is not None else ""

    # What many tests say -------------------------------------------------------------------------

    def connect(self, **options):
        return self.pooler.connect(**options)

    def connect_autocommit(self, **options):
        connection = self.connect(**options)
        connection.autocommit = True
        return connection

    def rows(self, connection, sql, *parameters):
        with connection.cursor() as cursor:
            cursor.execute(sql, parameters or None)
            return cursor.fetchall() if cursor.description else []

    def value(self, connection, sql, *parameters):
        return self.rows(connection, sql, *parameters)[0][0]

    @contextlib.contextmanager
    def fails_with(self, sqlstate, text=""):
        """The block ends in a psycopg2 error with that SQLSTATE; yields a list with the error."""
        caught = []
        with self.assertRaises(psycopg2.Error) as raised:
            yield caught
        caught.append(raised.exception)
        if sqlstate is not None and raised.exception.pgcode is not None:
            self.assertEqual(sqlstate, raised.exception.pgcode, str(raised.exception))
        self.assertIn(text, str(raised.exception))

    def wait_for(self, condition, what, seconds=10.0):
        return wait_for(condition, what, seconds)


class BackendSampler:
    """Looks at pg_stat_activity all along, past the pooler: `with BackendSampler(postgres) as s: …`,
    then `s.most` is how many connections there were at most, `s.samples` how often it looked."""

    SQL = ("select count(*) from pg_stat_activity where backend_type = 'client backend'"
           " and client_addr is not null and datname = %s")

    def __init__(self, postgres, database=DATABASE, interval=0.01):
        self.postgres, self.database, self.interval = postgres, database, interval
        self.most = self.samples = 0
        self.stopped = threading.Event()
        self.thread = threading.Thread(target=self._look)

    def _look(self):
        connection = None
        while not self.stopped.wait(self.interval):
            try:
                connection = connection or self.postgres.connect(database="postgres")
                with connection.cursor() as cursor:
                    cursor.execute(self.SQL, (self.database,))
                    self.most = max(self.most, cursor.fetchone()[0])
                    self.samples += 1
            except psycopg2.Error:
                connection = None  # PostgreSQL is being restarted
        if connection is not None:
            connection.close()

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stopped.set()
        self.thread.join()
