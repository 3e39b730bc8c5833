#!/usr/bin/python3
"""`./dev bench [NAME…]`: pgweir and Debian's pgbouncer side by side, in one run, on one PostgreSQL, with
equal settings: one worker, transaction mode, the same bound, trust, no logging.

Bare times say as much about the machine as about the program, so every row ends in a ratio (pgweir's
number divided by pgbouncer's; for `settings` and `tracking`, of two pgweirs, for
`protocols` also of one pgweir's two ways). Short rounds alternate,
A B B A, and medians are compared, because machines are noisy; pgbench's scenarios start both anew every
few rounds, because where a process happens to lie in memory is worth some percent to it for as long as
it lives. What counts is the CPU time of the proxy alone, per transaction: throughput on a small machine
is mostly PostgreSQL's and the client's.
"""

import argparse
import collections
import contextlib
import copy
import glob
import json
import os
import shutil
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
# pylint: disable=wrong-import-position
from integration.bench import measure, tuned  # noqa: E402
from integration.support import surroundings  # noqa: E402
from integration.support.certificates import Authority, postgres_with_tls  # noqa: E402
from integration.support.pgbouncer import Pgbouncer  # noqa: E402
from integration.support.pgweir import Pgweir  # noqa: E402
from integration.support.postgres import DATABASE, OWNER, POSTGRES_BIN, Postgres, password_of  # noqa: E402

HBA = "local all all trust\nhost all all 127.0.0.1/32 trust\n"
MANY = 12_000  # clients at most
SETTLE_SECONDS = 0.3
ROUNDS_OF_A_PROCESS = 4
# To try out the benchmark itself: pgbouncer against pgbouncer, whose ratio should be 1.
STAND_IN = os.environ.get("PGWEIR_STAND_IN") == "pgbouncer"

# Two numbers, and whose they are: pgweir's and pgbouncer's, or those of two pgweirs.
Row = collections.namedtuple("Row", "scenario metric pgweir pgbouncer names",
                             defaults=(("pgweir", "pgbouncer"),))


def ratio(row):
    if row.pgweir == row.pgbouncer:
        return 1.0  # also when both are nothing
    return row.pgweir / row.pgbouncer if row.pgbouncer else float("inf")


# ----------------------------------------------------------------------------------- the two


class Bench:
    """What every scenario needs: the PostgreSQL, makers of the two, the load generator."""

    def __init__(self, arguments):
        self.arguments = arguments
        self.postgres = Postgres(hba=HBA, max_connections=150, synchronous_commit="off",
                                 log_connections="off").start()
        self.notes = []

    def make_pgweir(self, servers, mode="transaction", **switches):
        if STAND_IN:
            return self.make_pgbouncer(servers, mode)
        return Pgweir(self.postgres, **switches, workers=1, max_clients=MANY, auth={"method": "trust"},
                      pool={"mode": mode, "minconn": 5, "maxconn": servers, "wait_timeout": "60s"},
                      log={"level": "warning", "connections": False, "disconnections": False},
                      slow_query="off").start()

    def make_pgbouncer(self, servers, mode="transaction", **more):
        return Pgbouncer(self.postgres, **dict(dict(
            auth_type="trust", pool_mode=mode, default_pool_size=servers, min_pool_size=5,
            max_client_conn=MANY, query_wait_timeout=60, log_pooler_errors=0), **more)).start()

    def pair(self, servers, pgbouncer_mode="transaction"):
        return {"pgweir": self.make_pgweir(servers, pgbouncer_mode if STAND_IN else "transaction"),
                "pgbouncer": self.make_pgbouncer(servers, pgbouncer_mode)}

    def run_client(self, pooler, program, *arguments):
        environment = dict(os.environ, PGHOST=pooler.host, PGPORT=str(pooler.port), PGUSER=OWNER,
                           PGDATABASE=DATABASE, LC_ALL="C")
        return subprocess.run([os.path.join(POSTGRES_BIN, program), *arguments], env=environment,
                              capture_output=True, text=True, check=True)

    def alternate(self, poolers, one_round):
        """Rounds in the order A B B A …; the median of each number, per pooler."""
        return medians(self.rounds_of(poolers, one_round, self.arguments.rounds))

    def alternate_fresh(self, make_poolers, one_round):
        """The same with new processes every few rounds."""
        rounds = {}
        for left in range(self.arguments.rounds, 0, -ROUNDS_OF_A_PROCESS):
            poolers = make_poolers()
            try:
                some = self.rounds_of(poolers, one_round, min(left, ROUNDS_OF_A_PROCESS))
            finally:
                close_all(poolers)
            for name, values in some.items():
                rounds.setdefault(name, []).extend(values)
        return medians(rounds)

    @staticmethod
    def rounds_of(poolers, one_round, count):
        rounds = {name: [] for name in poolers}
        for number in range(count):
            names = list(poolers)
            for name in names if number % 2 == 0 else reversed(names):
                rounds[name].append(one_round(poolers[name]))
        return rounds

    def compare(self, scenario, results, metrics, names=("pgweir", "pgbouncer")):
        one, other = (results[name] for name in names)
        for metric in metrics:
            yield Row(scenario, metric, one[metric], other[metric], names)


def medians(rounds):
    return {name: measure.median_of(values) for name, values in rounds.items()}


def close_all(poolers):
    for pooler in poolers.values():
        pooler.close()


# ------------------------------------------------------------------------- pgbench's scenarios


def pgbench_round(bench, pooler, *arguments, script=("-S",)):
    """One short run of pgbench: throughput, percentiles from its log, the proxy's CPU. It is made longer
    where it is over before anything has been done, which logins alone can take on a busy machine."""
    seconds = bench.arguments.seconds
    while seconds < 100:
        found = pgbench_run(bench, pooler, seconds, *script, *arguments)
        if found:
            return found
        seconds *= 4
    raise RuntimeError("pgbench has not ended a transaction")


def pgbench_run(bench, pooler, seconds, *arguments):
    """What was measured in so many seconds; nothing if there was no transaction to measure."""
    directory = surroundings.temporary_directory("pgbench")
    prefix = os.path.join(directory, "log")
    before = measure.cpu_microseconds(pooler.process.pid)
    done = bench.run_client(pooler, "pgbench", "-n", "-j", "2", "-T", "%d" % seconds,
                            "-l", "--log-prefix", prefix, "--sampling-rate", "0.2", *arguments)
    used = measure.cpu_microseconds(pooler.process.pid) - before
    count = tps = None
    for line in done.stdout.splitlines():
        if line.startswith("number of transactions actually processed:"):
            count = int(line.split(":")[1].split("/")[0])
        elif line.startswith("tps = "):
            tps = float(line.split()[2])
    latencies = []
    for path in glob.glob(prefix + ".*"):
        with open(path, encoding="ascii") as log:
            latencies += [int(line.split()[2]) / 1000 for line in log]
        os.remove(path)
    if not count or not latencies:
        return None
    return {"CPU µs/transaction": used / count, "transactions/s": tps,
            "p50 ms": measure.percentile(latencies, 0.5),
            "p95 ms": measure.percentile(latencies, 0.95),
            "p99 ms": measure.percentile(latencies, 0.99)}


PGBENCH_METRICS = ("CPU µs/transaction", "transactions/s", "p50 ms", "p95 ms", "p99 ms")


def warmed(bench, poolers, *arguments):
    """The poolers, with their servers open and caches filled."""
    for pooler in poolers.values():
        bench.run_client(pooler, "pgbench", "-n", "-S", "-j", "2", "-t", "100", *arguments)
    return poolers


def pgbench_scenario(name, *arguments, servers=20, pgbouncer_mode="transaction"):
    def run(bench):
        results = bench.alternate_fresh(
            lambda: warmed(bench, bench.pair(servers, pgbouncer_mode), *arguments),
            lambda pooler: pgbench_round(bench, pooler, *arguments))
        yield from bench.compare(name, results, PGBENCH_METRICS)
    return run


def prepared(bench):
    bench.notes.append("prepared: pgbouncer 1.18 has no prepared statements in transaction mode, so it"
                       " runs in session mode here.")
    yield from pgbench_scenario("prepared", "-c", "20", "-M", "prepared",
                                pgbouncer_mode="session")(bench)


def protocols(bench):
    """What one pgweir takes for `-M prepared` and for `-M extended`, and a pgbouncer for the latter."""
    bench.notes.append("protocols: rounds of `-M prepared` and of `-M extended` alternate on the same processes,"
                       " because two scenarios some minutes apart compare the machine's moods as well.")

    def one_round(pooler):
        extended = pgbench_round(bench, pooler, "-c", "20", "-M", "extended")
        if isinstance(pooler, Pgbouncer):
            return extended
        own = pgbench_round(bench, pooler, "-c", "20", "-M", "prepared")
        return dict(extended, **{"prepared " + name: value for name, value in own.items()})

    def make():
        poolers = bench.pair(20)
        warmed(bench, {"pgweir": poolers["pgweir"]}, "-c", "20", "-M", "prepared")
        return warmed(bench, poolers, "-c", "20", "-M", "extended")

    results = bench.alternate_fresh(make, one_round)
    yield from bench.compare("protocols extended", results, PGBENCH_METRICS[:2])
    for metric in PGBENCH_METRICS[:2]:
        yield Row("protocols", metric, results["pgweir"]["prepared " + metric], results["pgweir"][metric],
                  ("prepared", "extended"))


# -------------------------------------------------------------------- the load generator's


def start_load(bench, pooler, users, seconds, think, *queries, active=0, greeting=None):
    """The generator, after everybody has logged in."""
    command = [bench.arguments.load, "--host", pooler.host, "--port", str(pooler.port),
               "--user", OWNER, "--database", DATABASE, "--users", str(users),
               "--active", str(active), "--seconds", str(seconds), "--think", str(think)]
    for query in queries:
        command += ["--query", query]
    if greeting is not None:
        command += ["--greeting", greeting]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    if process.stdout.readline().strip() != "ready":
        raise RuntimeError("%d users could not log in; the log:\n%s" % (users, pooler.log()[-2000:]))
    return process


def finish_load(process):
    result = json.loads(process.stdout.readline())
    process.wait()
    return result


# One message of the bot: what its profile handler sends, each a round trip of its own.
MESSAGE = ("begin", "select abalance from pgbench_accounts where aid = 4711", "commit")
THINK_MS = 4000
USERS = (10, 100, 500, 1_000, 5_000, 10_000)


def users_round(bench, pooler, users):
    # Long enough that each user has a few messages, whatever the number of rounds elsewhere.
    seconds = max(bench.arguments.seconds, 8)
    with measure.ServerWatch(bench.postgres) as watch:
        process = start_load(bench, pooler, users, seconds, THINK_MS, *MESSAGE)
        at_start = len(watch.open)
        before = measure.cpu_microseconds(pooler.process.pid)
        result = finish_load(process)
        used = measure.cpu_microseconds(pooler.process.pid) - before
    if result["errors"] or result["lost"]:
        raise RuntimeError("%s at %d users: %r" % (type(pooler).__name__, users, result))
    return {"open servers, at most": max(watch.open), "busy servers, mean":
            sum(watch.busy[at_start:]) / max(len(watch.busy[at_start:]), 1),
            "p50 ms": result["p50"], "p95 ms": result["p95"], "p99 ms": result["p99"],
            "messages/s": result["messages"] / result["seconds"],
            "CPU µs/message": used / max(result["messages"], 1)}


def users(bench):
    bench.notes.append(
        "users: each thinks %g s on average, then sends a message of three round trips (begin, select,"
        " commit) and waits for its end; at most 50 servers." % (THINK_MS / 1000))
    for count in bench.arguments.users:
        results = {}
        # A pooler each, one after the other: connections of the one would burden the other.
        for name, make in (("pgweir", bench.make_pgweir), ("pgbouncer", bench.make_pgbouncer)):
            pooler = make(50)
            try:
                results[name] = users_round(bench, pooler, count)
            finally:
                pooler.close()
        yield from bench.compare("users %d" % count, results, list(results["pgweir"]))


IDLE, ACTIVE = 10_000, 1_000


def idle(bench):
    """Memory per idle client, and that a thousand active ones do not mind ten thousand idle."""
    bench.notes.append("idle: %d clients that have been served once and stay connected, while %d others"
                       " are active." % (IDLE, ACTIVE))
    results = {}
    for name, make in (("pgweir", bench.make_pgweir), ("pgbouncer", bench.make_pgbouncer)):
        pooler = make(50)
        try:
            warm = start_load(bench, pooler, 50, 0.5, 0, *MESSAGE)
            finish_load(warm)
            empty = measure.resident_bytes(pooler.process.pid)
            process = start_load(bench, pooler, IDLE + ACTIVE, max(bench.arguments.seconds, 6),
                                 THINK_MS, *MESSAGE, active=ACTIVE)
            time.sleep(SETTLE_SECONDS)
            full = measure.resident_bytes(pooler.process.pid)
            result = finish_load(process)
            if result["errors"] or result["lost"]:
                raise RuntimeError("%s with idle clients: %r" % (name, result))
        finally:
            pooler.close()
        results[name] = {"bytes/idle client": (full - empty) / (IDLE + ACTIVE),
                         "p50 ms": result["p50"], "p99 ms": result["p99"]}
    yield from bench.compare("idle", results, list(results["pgweir"]))


# --------------------------------------------------------------------- what session state costs


TUNED, TUNED_SERVERS = 100, 5


def settings(bench):
    """A hundred clients, each with settings and a role of its own, on five servers; and without."""
    bench.notes.append("settings: %d clients on %d servers, each with its own search_path, role, TimeZone and"
                       " statement_timeout, beside the same without; a SELECT by primary key is a transaction,"
                       " or (transfer) all five statements of pgbench's own." % (TUNED, TUNED_SERVERS))
    tuned.prepare(bench.postgres, TUNED)
    poolers = {"with": bench.make_pgweir(TUNED_SERVERS), "without": bench.make_pgweir(TUNED_SERVERS)}

    def select_round(pooler):
        process = start_load(bench, pooler, TUNED, bench.arguments.seconds, 0,
                             "select abalance from public.pgbench_accounts where aid = 4711",
                             greeting=tuned.OWN_SETTINGS if pooler is poolers["with"] else None)
        before = measure.cpu_microseconds(pooler.process.pid)
        result = finish_load(process)
        used = measure.cpu_microseconds(pooler.process.pid) - before
        if result["errors"] or result["lost"]:
            raise RuntimeError("with settings: %r" % result)
        return {"transactions/s": result["messages"] / result["seconds"],
                "CPU µs/transaction": used / result["messages"], "p50 ms": result["p50"], "p99 ms": result["p99"]}

    def transfer_round(pooler):
        return pgbench_round(bench, pooler, "-c", "%d" % TUNED,
                             script=tuned.script(tuned.TRANSFER, pooler is poolers["with"]))

    try:
        tuned.look(poolers["with"], TUNED)
        selects = bench.alternate(poolers, select_round)
        transfers = bench.alternate(poolers, transfer_round)
        pinned = poolers["with"].metric("pgweir_pool_pinned_clients")
    finally:
        close_all(poolers)
    if pinned:
        raise RuntimeError("%d clients are pinned" % pinned)
    yield from bench.compare("settings", selects, list(selects["with"]), ("with", "without"))
    yield from bench.compare("settings transfer", transfers, PGBENCH_METRICS[:2], ("with", "without"))


def tracking(bench):
    """What a plain workload pays for being looked at."""
    bench.notes.append("tracking: beside a pgweir that does not look at what clients do to their sessions"
                       " (--without-tracking, which is for this alone).")

    def compared(protocol):
        arguments = ("-c", "20", "-M", protocol)
        return bench.alternate_fresh(
            lambda: warmed(bench, {"on": bench.make_pgweir(20), "off": bench.make_pgweir(20, track=False)},
                           *arguments),
            lambda pooler: pgbench_round(bench, pooler, *arguments))

    for protocol in ("simple", "prepared"):
        yield from bench.compare("tracking " + protocol, compared(protocol), PGBENCH_METRICS[:2], ("on", "off"))


# ------------------------------------------------------------------------------ logins and TLS


IDLE_WITH_TLS = 400
BULK = {100: 200_000, 1_000: 60_000}  # bytes in a row: rows


def with_tls(bench):
    """The two, with TLS to clients and to PostgreSQL, and SCRAM with clients."""
    authority = Authority()
    secured = copy.copy(bench)
    secured.postgres = postgres_with_tls(authority, hba=HBA, max_connections=150, log_connections="off").start()
    certificate, key = authority.sign("pooler", "localhost", "DNS:localhost", "IP:127.0.0.1")
    readable = authority.path("pgbouncer.key")  # pgbouncer runs as somebody else
    shutil.copy(key, readable)
    if surroundings.AS_ROOT:
        shutil.chown(readable, "postgres", "postgres")
    poolers = {
        "pgweir": Pgweir(secured.postgres, workers=1, max_clients=MANY, slow_query="off",
                         pool={"minconn": 5, "maxconn": 20, "wait_timeout": "60s"},
                         databases={DATABASE: {"sslmode": "require"}},
                         tls={"certificate": certificate, "key": key},
                         log={"level": "warning", "connections": False, "disconnections": False}).start(),
        "pgbouncer": secured.make_pgbouncer(
            20, auth_type="scram-sha-256", client_tls_sslmode="allow", client_tls_cert_file=certificate,
            client_tls_key_file=readable, server_tls_sslmode="require"),
    }
    secured.run_client(secured.postgres, "pgbench", "-i", "-q")
    return secured, poolers


def login_round(bench, pooler, sslmode):
    """A connection for each transaction."""
    os.environ["PGSSLMODE"] = sslmode
    before = measure.cpu_microseconds(pooler.process.pid)
    done = bench.run_client(pooler, "pgbench", "-n", "-S", "-C", "-c", "8", "-j", "2", "-T",
                            "%d" % bench.arguments.seconds)
    used = measure.cpu_microseconds(pooler.process.pid) - before
    count = next(int(line.split(":")[1].split("/")[0]) for line in done.stdout.splitlines()
                 if line.startswith("number of transactions actually processed:"))
    return {"logins/s and core": 1e6 * count / used, "CPU µs/login": used / count}


def bulk_round(pooler, width):
    with contextlib.closing(pooler.connect(sslmode="require")) as connection:
        cursor = connection.cursor()
        before = measure.cpu_microseconds(pooler.process.pid)
        started = time.monotonic()
        with open(os.devnull, "w", encoding="ascii") as nowhere:
            cursor.copy_expert("copy (select repeat('x', %d) from generate_series(1, %d)) to stdout"
                               % (width, BULK[width]), nowhere)
        seconds = time.monotonic() - started
        used = measure.cpu_microseconds(pooler.process.pid) - before
    mebibytes = BULK[width] * (width + 1) / 2**20
    return {"MiB/s": mebibytes / seconds, "CPU µs/MiB": used / mebibytes}


def idle_round(pooler):
    empty = measure.resident_bytes(pooler.process.pid)
    with contextlib.ExitStack() as held:
        for _ in range(IDLE_WITH_TLS):
            connection = held.enter_context(contextlib.closing(pooler.connect(sslmode="require")))
            connection.autocommit = True
            connection.cursor().execute("select 1")
        time.sleep(SETTLE_SECONDS)
        return {"bytes/idle client": (measure.resident_bytes(pooler.process.pid) - empty) / IDLE_WITH_TLS}


def tls(bench):
    """TLS 1.3 with clients and with PostgreSQL; logins with SCRAM, without TLS and with."""
    bench.notes.append("tls bulk: COPY TO STDOUT of rows of so many bytes. Short rows are more work for"
                       " PostgreSQL and for the client than for a pooler: no pooler is faster than the client"
                       " is without one.")
    secured, poolers = with_tls(bench)
    os.environ["PGPASSWORD"] = password_of(OWNER)
    try:
        rounds = bench.arguments.rounds
        yield from bench.compare("tls idle", {name: idle_round(each) for name, each in poolers.items()},
                                 ("bytes/idle client",))
        for name, sslmode in (("scram logins", "disable"), ("scram tls logins", "require")):
            results = medians(secured.rounds_of(
                poolers, lambda each, mode=sslmode: login_round(secured, each, mode), rounds))
            yield from bench.compare(name, results, ("logins/s and core", "CPU µs/login"))
        warmed(secured, poolers, "-c", "20")
        results = medians(secured.rounds_of(
            poolers, lambda each: pgbench_round(secured, each, "-c", "20", "-M", "simple"), rounds))
        yield from bench.compare("tls simple", results, PGBENCH_METRICS)
        for width in BULK:
            results = medians(secured.rounds_of(
                dict(poolers, direct=secured.postgres),
                lambda each, bytes_of_row=width: bulk_round(each, bytes_of_row), rounds))
            yield from bench.compare("tls bulk %d" % width, results, ("MiB/s", "CPU µs/MiB"))
            bench.notes.append("tls bulk %d without a pooler: %.0f MiB/s, %.2f times what it is with pgbouncer."
                               % (width, results["direct"]["MiB/s"],
                                  results["direct"]["MiB/s"] / results["pgbouncer"]["MiB/s"]))
    finally:
        del os.environ["PGPASSWORD"]
        os.environ.pop("PGSSLMODE", None)
        close_all(poolers)
        secured.postgres.close()


SCENARIOS = {
    "simple": pgbench_scenario("simple", "-c", "20", "-M", "simple"),
    "extended": pgbench_scenario("extended", "-c", "20", "-M", "extended"),
    "prepared": prepared,
    "protocols": protocols,
    "queue": pgbench_scenario("queue", "-c", "500", "-M", "simple"),
    "users": users,
    "idle": idle,
    "settings": settings,
    "tracking": tracking,
    "tls": tls,
}


# ---------------------------------------------------------------------------------- reporting


def number(value):
    return "%d" % value if value == int(value) and abs(value) >= 1 else "%.4g" % value


def digits(row):
    """A ratio of two pgweirs is of a few percent."""
    return 2 if row.names == ("pgweir", "pgbouncer") else 3


def text_line(row):
    return "%-12s %-22s %s %10s   %s %10s   ratio %.*f" % (
        row.scenario, row.metric, row.names[0], number(row.pgweir), row.names[1], number(row.pgbouncer),
        digits(row), ratio(row))


def markdown(bench, rows):
    version = subprocess.run(["/usr/sbin/pgbouncer", "--version"], capture_output=True, text=True,
                             check=False).stdout.split("\n")[0]
    yield "# pgweir beside pgbouncer\n"
    yield "%s; %s; PostgreSQL %s. One worker each, transaction mode, 20 servers (50 for users and" \
          " idle), trust, no logging. %d rounds of %d s, alternating; medians." % (
              measure.machine(), version, bench.postgres.query("show server_version")[0][0],
              bench.arguments.rounds, bench.arguments.seconds)
    yield "A ratio is pgweir's number divided by pgbouncer's: CPU, latency and memory are better below" \
          " 1, throughput above.\n"
    yield "| scenario | metric | pgweir | pgbouncer | ratio |"
    yield "|---|---|---:|---:|---:|"
    for row in rows:
        told = [number(value) if name in ("pgweir", "pgbouncer") else "%s %s" % (name, number(value))
                for name, value in zip(row.names, (row.pgweir, row.pgbouncer))]
        yield "| %s | %s | %s | %s | ratio %.*f |" % (row.scenario, row.metric, *told, digits(row), ratio(row))
    yield ""
    for note in bench.notes:
        yield "- " + note


def main():
    parser = argparse.ArgumentParser(prog="./dev bench", description=__doc__.split("\n\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="of: " + ", ".join(SCENARIOS))
    parser.add_argument("--rounds", type=int, default=5, help="of each, for medians")
    parser.add_argument("--seconds", type=int, default=3, help="per round")
    parser.add_argument("--users", type=int, nargs="+", default=USERS, help="how many, for `users`")
    parser.add_argument("--report", default=os.path.join(surroundings.ROOT, "build", "bench.md"))
    parser.add_argument("--pgweir", default=surroundings.BINARY, help=argparse.SUPPRESS)
    parser.add_argument("--load", default=os.path.join(surroundings.BUILD, "integration", "bench",
                                                       "pgweir_load"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    for name in arguments.names:
        if name not in SCENARIOS:
            parser.error("unknown scenario '%s'; there are: %s" % (name, ", ".join(SCENARIOS)))
    surroundings.BINARY = arguments.pgweir
    measure.raise_descriptor_limit(MANY + 1000)

    bench = Bench(arguments)
    rows = []
    try:
        bench.run_client(bench.postgres, "pgbench", "-i", "-q", "-s", "10")
        for name in arguments.names or SCENARIOS:
            for row in SCENARIOS[name](bench):
                print(text_line(row), flush=True)
                rows.append(row)
        os.makedirs(os.path.dirname(os.path.abspath(arguments.report)), exist_ok=True)
        with open(arguments.report, "w", encoding="utf-8") as file:
            file.write("\n".join(markdown(bench, rows)) + "\n")
        print("report: " + arguments.report, file=sys.stderr)
    finally:
        bench.postgres.close()


if __name__ == "__main__":
    main()
