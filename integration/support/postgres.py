"""A throw-away PostgreSQL 15: Debian's, in a temporary directory, not as root, gone with the test.

initdb takes a second of CPU, so it is done once per build directory; every instance starts from a
copy. The template has the database fitness_club and one role per way to log in over TCP; each
role's password is its name followed by `-secret`. Over the Unix socket anybody may be anybody.
"""

import contextlib
import fcntl
import hashlib
import os
import re
import signal
import subprocess

import psycopg2

from integration.support import surroundings
from integration.support.surroundings import POSTGRES_BIN
from integration.support.waiting import wait_for

DATABASE = "fitness_club"
QUERY_USER = "pgweir"  # who asks for users, once install_user_lookup() has been called
OWNER = "fitness"  # logs in with scram-sha-256, as everybody who is not named below
ROLES = ("fitness", "trust_user", "password_user", "md5_user", "scram_user")

HBA = """\
local all all trust
host all trust_user 127.0.0.1/32 trust
host all password_user 127.0.0.1/32 password
host all md5_user 127.0.0.1/32 md5
host all all 127.0.0.1/32 scram-sha-256
"""
INITDB = ["--no-sync", "-U", "postgres", "--encoding=UTF8", "--locale=C.UTF-8", "--wal-segsize=1",
          "--auth=trust"]
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "max_connections": 120,
    "shared_buffers": "32MB",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "autovacuum": "off",
    "max_wal_senders": 0,
    "wal_level": "minimal",
    "log_connections": "on",
    "log_line_prefix": "%m [%p] %u@%d ",
    "timezone": "UTC",
    "lc_messages": "C",
}
DURABLE = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"}


def password_of(role):
    return role + "-secret"


def _make_template(target):
    """initdb in a directory that PostgreSQL's user may enter, then a copy in the build directory."""
    work = surroundings.temporary_directory("initdb")
    data = os.path.join(work, "data")
    as_user = {"user": "postgres", "group": "postgres", "extra_groups": []} \
        if surroundings.AS_ROOT else {}
    if surroundings.AS_ROOT:
        os.mkdir(data)
        subprocess.run(["chown", "postgres:postgres", data], check=True)
    subprocess.run([os.path.join(POSTGRES_BIN, "initdb"), "-D", data, *INITDB], check=True, cwd=work,
                   stdout=subprocess.DEVNULL, **as_user)
    statements = ["create database %s" % DATABASE]
    for role in ROLES:
        how = "md5" if role == "md5_user" else "scram-sha-256"
        statements += ["set password_encryption = '%s'" % how,
                       "create role %s login password '%s'" % (role, password_of(role))]
    statements.append("alter database %s owner to %s" % (DATABASE, OWNER))
    # In single-user mode, -j lets a statement end at a semicolon and an empty line.
    subprocess.run([os.path.join(POSTGRES_BIN, "postgres"), "--single", "-j", "-D", data,
                    "postgres"], input="".join(line + ";\n\n" for line in statements), text=True,
                   check=True, cwd=work, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                   **as_user)
    subprocess.run(["rm", "-rf", target], check=True)
    subprocess.run(["cp", "-a", data, target], check=True)


def _template():
    """The directory to copy, made by whoever comes first."""
    recipe = repr((ROLES, INITDB, DATABASE, OWNER, surroundings.AS_ROOT))
    folder = os.path.join(surroundings.BUILD, "integration")
    os.makedirs(folder, exist_ok=True)
    target = os.path.join(folder, "postgres-template-"
                          + hashlib.sha256(recipe.encode()).hexdigest()[:12])
    with open(target + ".lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not os.path.exists(os.path.join(target, "ready")):
            _make_template(target)
            with open(os.path.join(target, "ready"), "w", encoding="ascii"):
                pass
    return target


class Postgres:
    """One instance. `start()` it; it can be stopped, killed and started again on the same port."""

    def __init__(self, durable=False, hba=HBA, **settings):
        self.directory = surroundings.temporary_directory("postgres")
        self.data = os.path.join(self.directory, "data")
        self.log_path = os.path.join(self.directory, "postgres.log")
        self.port = surroundings.reserve_port()
        self.host = "127.0.0.1"
        self.process = None
        subprocess.run(["cp", "-a", _template(), self.data], check=True)
        os.remove(os.path.join(self.data, "ready"))
        values = dict(SETTINGS, **(DURABLE if durable else {}))
        values.update(settings)
        values.update(port=self.port, unix_socket_directories=self.directory)
        with open(os.path.join(self.data, "postgresql.auto.conf"), "w", encoding="ascii") as file:
            for name, value in values.items():
                file.write("%s = '%s'\n" % (name, value))
        with open(os.path.join(self.data, "pg_hba.conf"), "w", encoding="ascii") as file:
            file.write(hba)
        if surroundings.AS_ROOT:
            subprocess.run(["chown", "-R", "postgres:postgres", self.directory], check=True)

    # Life ----------------------------------------------------------------------------------------

    def start(self, wait=True):
        self.process = surroundings.start_process(
            [os.path.join(POSTGRES_BIN, "postgres"), "-D", self.data], self.log_path,
            user="postgres", ends_by=signal.SIGQUIT, cwd=self.directory)
        if wait:
            self.wait_until_ready()
        return self

    def wait_until_ready(self):
        wait_for(self.is_ready, lambda: "PostgreSQL is up:\n" + self.log()[-2000:], 60)

    def is_ready(self):
        if self.process.poll() is not None:
            raise AssertionError("PostgreSQL ended:\n" + self.log()[-2000:])
        try:
            self.connect(connect_timeout=2).close()
            return True
        except psycopg2.OperationalError:
            return False

    def stop(self, how="fast"):
        """smart, fast or immediate, as pg_ctl calls them."""
        signals = {"smart": signal.SIGTERM, "fast": signal.SIGINT, "immediate": signal.SIGQUIT}
        surroundings.end_process(self.process, signals[how])

    def restart(self, how="fast"):
        self.stop(how)
        self.start()

    def kill(self):
        """kill -9, the postmaster first, then all its children; returns when none is left."""
        children = self.child_pids()
        self.process.kill()
        self.process.wait()
        for pid in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        wait_for(lambda: not any(os.path.exists("/proc/%d" % pid) for pid in children),
                 "PostgreSQL's processes are gone")

    def child_pids(self):
        path = "/proc/%d/task/%d/children" % (self.process.pid, self.process.pid)
        return [int(pid) for pid in surroundings.read_text(path).split()]

    def close(self):
        if self.process is not None:
            self.stop("immediate")
        subprocess.run(["rm", "-rf", self.directory], check=False)

    # Looking and asking --------------------------------------------------------------------------

    def connect(self, user="postgres", database=DATABASE, **options):
        """Past the pooler, over the Unix socket; a superuser unless said otherwise."""
        connection = psycopg2.connect(host=self.directory, port=self.port, user=user,
                                      dbname=database, **options)
        connection.autocommit = True
        return connection

    def query(self, sql, *parameters, database="postgres"):
        """Rows of one statement run by a superuser on a connection of its own."""
        with contextlib.closing(self.connect(database=database)) as connection:
            with connection.cursor() as cursor:
                cursor.execute(sql, parameters or None)
                return cursor.fetchall() if cursor.description else []

    def install_user_lookup(self, database=DATABASE, check=True):
        """deploy/auth_query.sql, by a superuser; QUERY_USER has to be there. The ended process."""
        script = os.path.join(surroundings.ROOT, "deploy", "auth_query.sql")
        return subprocess.run([os.path.join(POSTGRES_BIN, "psql"), "-X", "-q", "-v", "query_user=" + QUERY_USER, "-h",
                               self.directory, "-p", str(self.port), "-U", "postgres", "-d", database, "-f", script],
                              env=dict(os.environ, PGCLIENTENCODING="UTF8"), check=check, capture_output=True, text=True)

    def backends(self, database=DATABASE):
        """Process ids of the connections that came over TCP to that database."""
        return [row[0] for row in self.query(
            "select pid from pg_stat_activity where backend_type = 'client backend'"
            " and client_addr is not null and datname = %s order by 1", database)]

    def log(self):
        return surroundings.read_text(self.log_path)

    def connections_received(self):
        """How many connections were ever accepted over TCP, whatever came of them."""
        return len(re.findall(r"connection received: host=127\.0\.0\.1", self.log()))
