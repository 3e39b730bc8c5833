"""One run of the suite: pg_regress against one address, its output read, a test that hangs ended.

The folders that the server reads and writes as well (COPY and lo_import take files, CREATE FUNCTION
takes libraries) are copied to where PostgreSQL's user may go. Both runs, direct and through the
daemon, use the same paths, because the suite prints some of them.
"""

import os
import re
import shutil
import signal
import subprocess
import time

from integration.support import surroundings

SUPERUSER = "postgres"
DATABASE = "regression"
# What pg_regress gives to a database that it creates itself (which it does not with --use-existing).
DATABASE_SETTINGS = {"lc_messages": "C", "lc_monetary": "C", "lc_numeric": "C", "lc_time": "C",
                     "bytea_output": "hex", "timezone_abbreviations": "Default"}
SERVER_SETTINGS = {"max_connections": 300, "autovacuum": "on", "wal_level": "replica",
                   "max_wal_senders": 10, "shared_buffers": "128MB", "max_wal_size": "1GB",
                   "max_prepared_transactions": 2}
HBA = "local all all trust\nhost all all 127.0.0.1/32 trust\n"
RESULT = re.compile(r"^(?:test| {4}) (\S+)\s+\.\.\. (ok|FAILED|failed \(ignored\))", re.MULTILINE)
LOOK_SECONDS = 0.5


def prepare_database(postgres):
    """A database as pg_regress would make it. Past the daemon: it is the stage, not the play."""
    postgres.query("create database %s template template0" % DATABASE)
    for name, value in DATABASE_SETTINGS.items():
        postgres.query("alter database %s set %s to '%s'" % (DATABASE, name, value))


class Workplace:
    """A temporary folder with the suite's input, libraries and programs."""

    def __init__(self, suite, protocol):
        self.protocol = protocol
        self.directory = surroundings.temporary_directory("regress")
        self.input = os.path.join(self.directory, "input")
        self.output = os.path.join(self.directory, "output")
        self.libraries = os.path.join(self.directory, "lib")
        self.programs = os.path.join(self.directory, "bin")
        self.schedule = os.path.join(self.input, "parallel_schedule")
        shutil.copytree(suite.input, self.input)
        shutil.copytree(suite.libraries, self.libraries)
        shutil.copytree(suite.psql_directory(protocol), self.programs)
        shutil.copy(suite.pg_regress, self.programs)
        self.give_to_postgres()

    def give_to_postgres(self):
        if surroundings.AS_ROOT:
            subprocess.run(["chown", "-R", "postgres:postgres", self.directory], check=True)

    def fresh_output(self):
        shutil.rmtree(self.output, ignore_errors=True)
        os.makedirs(self.output)
        self.give_to_postgres()

    def expected(self, name=""):
        return os.path.join(self.input, "expected", name)

    def add_alternate(self, test, path):
        """A further text that `test` may print: pg_regress tries NAME.out, NAME_0.out … NAME_9.out."""
        for digit in range(10):
            alternate = self.expected("%s_%d.out" % (test, digit))
            if not os.path.exists(alternate):
                shutil.copy(path, alternate)
                return
        raise RuntimeError("%s has ten alternates already" % test)

    def replace_expected(self, folder):
        """The results in `folder` are the only texts that the tests may print."""
        shutil.rmtree(self.expected())
        shutil.copytree(folder, self.expected())


class Outcome:
    """What became of the tests of one run."""

    def __init__(self, tests, text, hung):
        status = dict(RESULT.findall(text))
        self.tests = tests
        self.hung = hung
        self.ignored = [test for test in tests if status.get(test) == "failed (ignored)"]
        self.passed = [test for test in tests if status.get(test) == "ok"]
        self.failed = [test for test in tests if test not in self.passed]

    def line(self):
        """`214 of 217 passed`, and the names of the others."""
        notes = []
        for test in self.failed:
            why = "hung" if test in self.hung else "ignored" if test in self.ignored else ""
            notes.append("%s (%s)" % (test, why) if why else test)
        text = "%d of %d passed" % (len(self.passed), len(self.tests))
        return text + ("; failed: " + " ".join(notes) if notes else "")

    def good(self):
        """pg_regress's own verdict: what its schedule says to ignore does not count."""
        return all(test in self.ignored for test in self.failed)


def psql_processes(process):
    """{pid: name of the test} of the tests that run now: pg_regress's children read NAME.sql."""
    found = {}
    children = surroundings.read_text("/proc/%d/task/%d/children" % (process.pid, process.pid))
    for pid in children.split():
        try:
            name = os.path.basename(os.readlink("/proc/%s/fd/0" % pid))
        except OSError:
            continue
        if name.endswith(".sql"):
            found[int(pid)] = name[:-len(".sql")]
    return found


def wait_and_end_what_hangs(process, longest_test, longest_run):
    """Waits for pg_regress. A test that runs for too long loses its psql, so that the suite goes on;
    returns the names of those. When everything takes too long, all that is left is ended."""
    began, first_seen, hung = time.monotonic(), {}, []
    while True:
        try:
            process.wait(LOOK_SECONDS)
            return hung
        except subprocess.TimeoutExpired:
            pass
        now = time.monotonic()
        running = psql_processes(process)
        first_seen = {pid: first_seen.get(pid, now) for pid in running}
        for pid, since in first_seen.items():
            if now - since > longest_test or now - began > longest_run:
                hung.append(running[pid])
                os.kill(pid, signal.SIGKILL)
        if now - began > longest_run:
            surroundings.end_process(process, signal.SIGTERM, 5)
            return hung


def run_suite(suite, workplace, address, parallel, limits):
    """Runs it all against `address` (host, port). `limits` are the longest test and run, in s."""
    workplace.fresh_output()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    environment.update(LD_LIBRARY_PATH=workplace.programs, PGWEIR_PROTOCOL=workplace.protocol,
                       HOME=workplace.directory)
    log = os.path.join(workplace.output, "pg_regress.log")
    host, port = address
    process = surroundings.start_process(
        [os.path.join(workplace.programs, "pg_regress"), "--use-existing",
         "--host=%s" % host, "--port=%d" % port, "--user=" + SUPERUSER, "--dbname=" + DATABASE,
         "--bindir=" + workplace.programs, "--dlpath=" + workplace.libraries,
         "--inputdir=" + workplace.input, "--outputdir=" + workplace.output,
         "--schedule=" + workplace.schedule, "--max-connections=%d" % parallel],
        log, user="postgres", env=environment, cwd=workplace.output)
    hung = wait_and_end_what_hangs(process, *limits)
    return Outcome(suite.tests(), surroundings.read_text(log), hung)
