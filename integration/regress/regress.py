#!/usr/bin/python3
"""`./dev regress`: PostgreSQL 15's own regression suite, direct and through the daemon.

The suite comes from Debian's source package (source.py), the server is Debian's PostgreSQL, a fresh
one for each of the two runs. Simple protocol: the suite's own expected texts count, and where the
direct run prints something else (the server may be a minor version newer than the sources) its
output is one more text that may be printed. Extended protocol: psql sends every statement as Parse,
Bind, Execute, and the direct run's output is the only text that may be printed, byte for byte.
"""

import argparse
import os
import shutil
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
# pylint: disable=wrong-import-position
from integration.regress import source  # noqa: E402
from integration.regress.source import say  # noqa: E402
from integration.regress.suite_run import (  # noqa: E402
    HBA, SERVER_SETTINGS, SUPERUSER, Workplace, prepare_database, run_suite)
from integration.support import surroundings  # noqa: E402
from integration.support.pgweir import ADMIN, Pgweir  # noqa: E402
from integration.support.postgres import Postgres, password_of  # noqa: E402

LARGEST_GROUP = 20  # as many tests run side by side at most, whatever --parallel says
# psql's \c opens the new connection before it closes the old one.
CONNECTIONS_OF_ONE_TEST = 2


def arguments_of(argv):
    parser = argparse.ArgumentParser(prog="./dev regress", description=__doc__.split("\n\n", 1)[0])
    parser.add_argument("--mode", choices=("session", "transaction"), default="session")
    parser.add_argument("--servers", type=int, default=None, metavar="N",
                        help="pgweir's maxconn (two for each test that runs in parallel)")
    parser.add_argument("--switch", action="store_true",
                        help="another server at every permitted boundary (of --servers idle ones)")
    parser.add_argument("--no-reuse", action="store_true",
                        help="a server of its own for each client (pool: { reuse: never })")
    parser.add_argument("--protocol", choices=("simple", "unnamed", "named"), default="simple",
                        help="how psql sends its statements")
    parser.add_argument("--parallel", type=int, default=None, metavar="N",
                        help="tests that run side by side (twice the cores)")
    parser.add_argument("--longest-test", type=float, default=180, metavar="SECONDS",
                        help="a test that takes longer is ended and has failed (180)")
    parser.add_argument("--longest-run", type=float, default=1500, metavar="SECONDS",
                        help="each of the two runs is ended after this (1500)")
    parser.add_argument("--keep", action="store_true",
                        help="keep everything that was printed and logged, not only the differences")
    given = parser.parse_args(argv)
    if given.no_reuse and given.mode != "session":
        parser.error("--no-reuse needs --mode session")
    if given.parallel is None:
        given.parallel = 2 * (os.cpu_count() or 1)
        if given.servers is not None:
            # In transaction mode only a test that is pinned has a server for itself, and the new
            # connection of a \c needs none before the old one is closed.
            each = CONNECTIONS_OF_ONE_TEST if given.mode == "session" else 1
            given.parallel = min(given.parallel, given.servers // each)
    given.parallel = max(1, min(given.parallel, LARGEST_GROUP))
    if given.servers is None:
        given.servers = given.parallel * CONNECTIONS_OF_ONE_TEST
    return given


def pgweir_settings(given):
    pool = {"mode": given.mode, "minconn": given.servers if given.switch else 0,
            "maxconn": given.servers,
            # Where tests have to queue for servers they do so for as long as they may take.
            "wait_timeout": "%ds" % given.longest_test}
    if given.no_reuse:
        pool["reuse"] = "never"
    return {
        "databases": {"fitness_club": None,
                      "*": {"host": "127.0.0.1", "port": None}},
        "users": {"fitness": None, SUPERUSER: {"password": password_of(SUPERUSER)},
                  ADMIN: {"password": password_of(ADMIN)}},
        "auth": {"method": "trust"},
        "pool": pool,
        "slow_query": "off",
    }


def pins_line(metrics):
    """How many transactions needed no pin, and what the pins were for."""
    transactions = metrics.value("pgweir_transactions_total") or 0
    pinned = metrics.value("pgweir_pinned_transactions_total") or 0
    reasons = {labels["reason"] for name, labels, _ in metrics.samples
               if name == "pgweir_pool_pins_total"}
    counts = {reason: metrics.value("pgweir_pool_pins_total", reason=reason) for reason in reasons}
    shown = ["%s %d" % (reason, counts[reason]) for reason in sorted(counts, key=counts.get)[::-1]
             if counts[reason]]
    return "%d transactions, %.1f %% of them without a pin; pins: %s" % (
        transactions, 100 * (1 - pinned / max(1, transactions)), ", ".join(shown) or "none")


class Regress:
    """The two runs, and what is kept of them."""

    def __init__(self, given):
        self.given = given
        self.suite = source.get_suite()
        self.workplace = Workplace(self.suite, given.protocol)
        name = "%s-%s%s" % (given.mode, given.protocol, "-no-reuse" if given.no_reuse else "")
        self.pins = ""
        self.kept = os.path.join(source.cache_directory(), "runs", name)
        self.direct_results = os.path.join(self.kept, "direct", "results")
        shutil.rmtree(self.kept, ignore_errors=True)
        os.makedirs(self.kept)

    def run(self):
        direct = self.run_direct()
        if direct.hung or not os.path.isdir(self.direct_results):
            say("the direct run did not come to its end: " + direct.line())
            return 2
        self.learn_from(direct)
        through = self.run_through()
        if not self.given.keep:
            self.prune(through)
        print("differences, if any, and the daemon's log: " + self.kept)
        if self.given.mode == "transaction":
            print(self.pins)
        print(through.line())
        return 0 if through.good() else 1

    def start_postgres(self):
        postgres = Postgres(hba=HBA, **SERVER_SETTINGS).start()
        prepare_database(postgres)
        return postgres

    def prune(self, outcome):
        """Of what was printed, that of the failed tests is enough."""
        for run in ("direct", "through"):
            results = os.path.join(self.kept, run, "results")
            for name in os.listdir(results):
                if name not in [test + ".out" for test in outcome.failed]:
                    os.remove(os.path.join(results, name))

    def play(self, name, address):
        """One run; its output goes to the folder `name` of what is kept."""
        began = time.monotonic()
        limits = (self.given.longest_test, self.given.longest_run)
        outcome = run_suite(self.suite, self.workplace, address, self.given.parallel, limits)
        target = os.path.join(self.kept, name)
        shutil.move(self.workplace.output, target)
        say("the run %s took %.0f s" % (name, time.monotonic() - began))
        return outcome

    def run_direct(self):
        postgres = self.start_postgres()
        try:
            return self.play("direct", (postgres.host, postgres.port))
        finally:
            postgres.close()

    def learn_from(self, direct):
        if self.given.protocol != "simple":
            say("what the direct run printed is what every test is to print")
            self.workplace.replace_expected(self.direct_results)
            return
        say("direct: " + direct.line())
        for test in direct.failed:
            self.workplace.add_alternate(test, os.path.join(self.direct_results, test + ".out"))
        if direct.failed:
            say("the server's own answer stands beside the expected one (sources %s, server %s): %s"
                % (self.suite.version, source.installed_version(), " ".join(direct.failed)))

    def keep_pins(self, daemon):
        """SHOW PINS: which test's statements have pinned, and for how long."""
        with open(os.path.join(self.kept, "pins.txt"), "w", encoding="utf-8") as file:
            for row in daemon.console("show pins"):
                file.write("%(seconds)9s s  %(times)5s  %(application_name)-28s %(reason)-18s %(query)s\n"
                           % row)

    def run_through(self):
        postgres = self.start_postgres()
        settings = pgweir_settings(self.given)
        settings["databases"]["*"]["port"] = postgres.port
        daemon = Pgweir(postgres, rotate=self.given.switch, **settings)
        try:
            daemon.start()
            outcome = self.play("through", (daemon.host, daemon.port))
            self.pins = pins_line(daemon.metrics())
            self.keep_pins(daemon)
            return outcome
        finally:
            shutil.copy(daemon.log_path, self.kept)
            shutil.copy(daemon.config_path, self.kept)
            if self.given.keep:
                shutil.copy(postgres.log_path, self.kept)
            daemon.close()
            postgres.close()


def main(argv):
    given = arguments_of(argv)
    if not os.access(surroundings.BINARY, os.X_OK):
        say("there is no daemon at %s: build it, or set PGWEIR_BINARY" % surroundings.BINARY)
        return 2
    try:
        return Regress(given).run()
    except source.SourceError as error:
        say(str(error))
        return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
