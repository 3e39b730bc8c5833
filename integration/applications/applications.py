#!/usr/bin/python3
"""`./dev apps [NAME…]`: a scripted session of each application, direct and through pgweir, same output.

Through pgweir each runs twice in transaction mode on few servers, beside other clients of the same pool
that have settings, roles and statements of their own: once with another server at every permitted
boundary, once as it comes. What may differ is in `differences.py`. Ends with 1 when anything else does,
and with 77 (CTest: skipped) when the one application that was asked for is not installed.
"""

import argparse
import collections
import contextlib
import difflib
import os
import shutil
import subprocess
import sys
import time

import psycopg2

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
# pylint: disable=wrong-import-position
from integration.applications import stage  # noqa: E402
from integration.applications.contenders import contending  # noqa: E402
from integration.applications.differences import same_words  # noqa: E402
from integration.support import surroundings  # noqa: E402
from integration.support.pgweir import Pgweir  # noqa: E402
from integration.support.postgres import DATABASE, OWNER, POSTGRES_BIN  # noqa: E402
from integration.support.waiting import wait_for  # noqa: E402

SESSIONS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "sessions")
JDBC_DRIVER = "/usr/share/java/postgresql.jar"
# Debian's; and where `./dev apps` unpacks node-pg, if Node.js is not Debian's.
NODE_PATH = ":".join(("/usr/share/nodejs", os.path.join(
    os.environ.get("XDG_CACHE_HOME", os.path.expanduser("~/.cache")),
    "pgweir/applications/usr/share/nodejs")))
SECONDS = 120  # for one session
SKIPPED = 77

# `probe`: a command that succeeds where the application is installed.
Application = collections.namedtuple("Application", "name about command probe servers")


def python(module, package, about, servers=2):
    """A session in Python; `package` is what it imports."""
    return Application(module.replace("_session", "").replace("_", "-"), about,
                       (sys.executable, "-m", "integration.applications.sessions." + module),
                       (sys.executable, "-c", "import " + package), servers)


def script(name, about, command, probe, servers=2):
    return Application(name, about, command, probe, servers)


def file(name):
    return os.path.join(SESSIONS, name)


APPLICATIONS = {one.name: one for one in (
    python("psycopg2_session", "psycopg2", "psycopg2: transactions, cursors, COPY, large objects, two-phase"),
    python("psycopg3_session", "psycopg", "psycopg 3: prepared by itself, pipeline, COPY, asyncio"),
    python("sqlalchemy_session", "sqlalchemy", "SQLAlchemy: ORM, pool, streams, reflection"),
    python("django_session", "django", "Django: migrations, atomic, server-side cursors, SET TIME ZONE"),
    script("node-postgres", "node-postgres: pool, named queries, cursors, LISTEN",
           ("node", file("node_postgres.js")), ("node", "-e", "require('pg')")),
    script("jdbc", "JDBC with and without autocommit: server-side prepares, fetch size, savepoints",
           ("java", "-cp", JDBC_DRIVER, file("Jdbc.java")),
           ("sh", "-c", "javac -version && test -e " + JDBC_DRIVER)),
    script("pdo", "PHP PDO, emulated and real prepares", ("php", file("pdo.php")),
           ("php", "-r", "exit(extension_loaded('pdo_pgsql') ? 0 : 1);")),
    script("dbd-pg", "Perl DBD::Pg, with and without AutoCommit", ("perl", file("dbd_pg.pl")),
           ("perl", "-MDBD::Pg", "-e", "1")),
    script("psql", "psql: \\d and friends, \\gdesc, \\copy, FETCH_COUNT, ON_ERROR_ROLLBACK",
           (os.path.join(POSTGRES_BIN, "psql"), "-X", "-a", "-f", file("psql.sql")), ("true",)),
    script("pg-dump", "pg_dump and pg_restore, plain, custom, parallel restore",
           ("bash", file("pg_dump.sh")), ("true",)),
    script("pg-dump-parallel", "pg_dump -j 2: three sessions share a snapshot",
           ("bash", file("pg_dump_parallel.sh")), ("true",), servers=4),
    python("postgrest", "psycopg", "as PostgREST does: set_config(…, true), SET LOCAL ROLE, prepared"),
    python("migrator", "psycopg2", "migrations under a session advisory lock, as Rails and golang-migrate"),
    python("listen_worker", "psycopg2", "a worker that LISTENs and waits in select()"),
    python("queue_worker", "psycopg2", "workers that take jobs by FOR UPDATE SKIP LOCKED"),
)}


def environment_for(where):
    return dict(os.environ, PGHOST=where.host, PGPORT=str(where.port), PGUSER=OWNER, PGDATABASE=DATABASE,
                PGPASSWORD="unused", PGTZ="UTC", LC_ALL="C.UTF-8", TZ="UTC", NODE_PATH=NODE_PATH,
                PYTHONHASHSEED="0", PATH=POSTGRES_BIN + ":" + os.environ["PATH"], PYTHONDONTWRITEBYTECODE="1")


def is_installed(application):
    if shutil.which(application.probe[0]) is None:
        return False
    return subprocess.run(application.probe, env=dict(os.environ, NODE_PATH=NODE_PATH), check=False,
                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0


def play(application, where):
    """What it prints and how it ends, in words that are the same wherever it runs."""
    try:
        done = subprocess.run(application.command, env=environment_for(where), cwd=surroundings.ROOT,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              timeout=SECONDS * surroundings.PATIENCE, check=False)
        text, end = done.stdout, "ended with %d" % done.returncode
    except subprocess.TimeoutExpired as expired:
        text, end = expired.stdout or b"", "did not end"
    return same_words(text.decode("utf-8", "replace") + end + "\n")


def start_pgweir(postgres, servers, switch):
    daemon = Pgweir(postgres, rotate=switch, users={OWNER: {"password": "unused"}}, workers=2,
                    auth={"method": "trust"}, slow_query="off",
                    pool={"mode": "transaction", "minconn": servers, "maxconn": servers,
                          "wait_timeout": "60s"}).start()
    wait_for(lambda: daemon.metric("pgweir_pool_servers", state="idle") == servers,
             "all servers are open")
    return daemon


def tell_that_sequences_are_read(daemon):
    """The first who ever reads lastval() in a pool may be refused (see differences.py): that is us."""
    with contextlib.suppress(psycopg2.errors.ObjectNotInPrerequisiteState):
        daemon.query("select lastval()")


def differences(application, postgres, switch, expected):
    """How what it prints through pgweir differs from what is expected, and how many other clients came
    and went meanwhile."""
    stage.prepare(postgres)
    daemon = start_pgweir(postgres, application.servers, switch)
    with contextlib.closing(daemon):
        tell_that_sequences_are_read(daemon)
        with contending(daemon, stage.CONTENDERS) as contenders:
            seen = play(application, daemon)
        visits = sum(contender.visits for contender in contenders)
    lines = list(difflib.unified_diff(expected.splitlines(), seen.splitlines(), "direct",
                                      "through pgweir", lineterm="", n=3))
    lines += [contender.failure for contender in contenders if contender.failure is not None]
    if lines:
        lines += ["the daemon's log ends so:"] + daemon.log().splitlines()[-8:]
    return lines, visits


def check(application, postgres, given):
    """True when it cannot tell pgweir from PostgreSQL."""
    stage.prepare(postgres)
    expected = play(application, postgres)
    if given.print or not expected.endswith("ended with 0\n"):
        print(expected)
    if not expected.endswith("ended with 0\n"):
        print("%-18s fails when run direct" % application.name)
        return False
    same = True
    for switch in () if given.direct else (True, False):
        for _ in range(given.rounds):
            began = time.monotonic()
            lines, visits = differences(application, postgres, switch, expected)
            print("%-18s %-9s %-9s %3d lines, %5.1f s, %4d other sessions beside it" % (
                application.name, "switching" if switch else "", "differs" if lines else "same",
                expected.count("\n"), time.monotonic() - began, visits), flush=True)
            if lines:
                print("\n".join(lines))
                same = False
    return same


def main(argv):
    parser = argparse.ArgumentParser(prog="./dev apps", description=__doc__.split("\n\n", 1)[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="of: " + ", ".join(APPLICATIONS))
    parser.add_argument("--list", action="store_true", help="what each is about")
    parser.add_argument("--names", action="store_true", dest="only_names", help="their names only")
    parser.add_argument("--direct", action="store_true", help="only without pgweir")
    parser.add_argument("--print", action="store_true", help="what is expected")
    parser.add_argument("--rounds", type=int, default=1, metavar="N", help="how often each (1)")
    given = parser.parse_args(argv)
    for name in given.names:
        if name not in APPLICATIONS:
            parser.error("unknown application '%s'; there are: %s" % (name, ", ".join(APPLICATIONS)))
    chosen = [APPLICATIONS[name] for name in given.names] or list(APPLICATIONS.values())
    if given.only_names:
        print("\n".join(application.name for application in chosen))
        return 0
    if given.list:
        for application in chosen:
            print("%-18s %s" % (application.name, application.about))
        return 0
    missing = [application for application in chosen if not is_installed(application)]
    for application in missing:
        print("%-18s skipped: not installed (./dev apps installs it)" % application.name)
    if missing == chosen:
        return SKIPPED
    with contextlib.closing(stage.start_postgres()) as postgres:
        results = [check(application, postgres, given) for application in chosen
                   if application not in missing]
    print("%d applications: %d same, %d differ, %d skipped" % (
        len(chosen), results.count(True), results.count(False), len(missing)))
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
