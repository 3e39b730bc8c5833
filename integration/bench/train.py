"""Runs an instrumented daemon (preset `profile`) under plain loads, so that the compiler can lay the
release build's code out by what runs when. `./dev build release` does it. Numbers of no load matter
here, only that each kind of work is seen: short statements in every protocol, transactions of several
statements, clients with settings of their own, logins, and bulk in both directions."""

import argparse
import io
import os
import subprocess

from integration.bench import tuned
from integration.support import surroundings
from integration.support.pgweir import Pgweir
from integration.support.postgres import DATABASE, OWNER, POSTGRES_BIN, Postgres, password_of

CLIENTS = 20
SECONDS = 3
BULK_ROWS = 100_000


def pgbench(pooler, *arguments):
    environment = dict(os.environ, PGHOST=pooler.host, PGPORT=str(pooler.port), PGUSER=OWNER,
                       PGDATABASE=DATABASE, PGPASSWORD=password_of(OWNER), LC_ALL="C")
    subprocess.run([os.path.join(POSTGRES_BIN, "pgbench"), *arguments], env=environment, check=True,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def bulk(pooler):
    connection = pooler.connect()
    with connection.cursor() as cursor:
        cursor.execute("create table bulk (line text)")
        cursor.copy_expert("copy bulk from stdin", io.StringIO("some line of text\n" * BULK_ROWS))
        cursor.copy_expert("copy bulk to stdout", io.StringIO())
        cursor.execute("select line from bulk")
        cursor.fetchall()
    connection.rollback()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pgweir", required=True, help="the instrumented daemon")
    surroundings.BINARY = parser.parse_args().pgweir
    postgres = Postgres().start()
    # As many servers as clients; then fewer, so that clients wait for each other. With these no
    # transactions of several statements: pgbench prepares while it looks at no other of its clients,
    # and waits for a server that only they could give back.
    everything = ("select-only", "simple-update", "tpcb-like")
    for servers, scripts in ((CLIENTS, everything), (CLIENTS // 4, everything[:1])):
        pooler = Pgweir(postgres, pool={"maxconn": servers}, workers=1, log={"level": "warning"}).start()
        pgbench(pooler, "-i", "-q")
        for protocol in ("simple", "extended", "prepared"):
            for script in scripts:
                seconds = SECONDS if script == "select-only" else 1
                pgbench(pooler, "-n", "-b", script, "-M", protocol, "-c", str(CLIENTS), "-T", str(seconds))
        if servers < CLIENTS:
            tuned.prepare(postgres, CLIENTS)
            pgbench(pooler, "-n", *tuned.script(tuned.SELECT), "-c", str(CLIENTS), "-T", str(SECONDS))
        pgbench(pooler, "-n", "-S", "-C", "-c", "4", "-T", "1")
        bulk(pooler)
        pooler.close_connections()
        pooler.stop()  # counts are written when it ends by itself
    postgres.close()


if __name__ == "__main__":
    main()
