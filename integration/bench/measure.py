"""What is read off a process and off PostgreSQL while a benchmark runs, and how rounds become one number."""

import glob
import os
import resource
import statistics
import threading

import psycopg2

from integration.support import surroundings
from integration.support.postgres import DATABASE


def cpu_microseconds(pid):
    """CPU time a process has used so far, all threads; the scheduler's own nanoseconds."""
    total = 0
    for path in glob.glob("/proc/%d/task/*/schedstat" % pid):
        total += int(surroundings.read_text(path).split()[0])
    return total / 1000


def resident_bytes(pid):
    """The process's own memory: what is shared with others (libraries) counts by its share."""
    for line in surroundings.read_text("/proc/%d/smaps_rollup" % pid).splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("no smaps_rollup for process %d" % pid)


def median_of(rounds):
    """Rounds are dictionaries with the same keys; the median of each key."""
    return {key: statistics.median(one[key] for one in rounds) for key in rounds[0]}


def percentile(values, part):
    ordered = sorted(values)
    return ordered[int((len(ordered) - 1) * part)] if ordered else 0.0


class ServerWatch:
    """Samples how many server connections are open, and how many of them are at work for a client."""

    SQL = ("select count(*), count(*) filter (where state <> 'idle') from pg_stat_activity"
           " where backend_type = 'client backend' and client_addr is not null and datname = '%s'"
           % DATABASE)

    def __init__(self, postgres):
        self.postgres = postgres
        self.open, self.busy = [], []
        self.stopped = threading.Event()
        self.thread = threading.Thread(target=self._look)

    def _look(self):
        connection = self.postgres.connect(database="postgres")
        with connection.cursor() as cursor:
            while not self.stopped.wait(0.05):
                try:
                    cursor.execute(self.SQL)
                except psycopg2.Error:
                    return
                count, busy = cursor.fetchone()
                self.open.append(count)
                self.busy.append(busy)
        connection.close()

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stopped.set()
        self.thread.join()


def raise_descriptor_limit(count):
    """For us and whatever we start; root may, others have what they have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, count), max(hard, count)))
    except (ValueError, PermissionError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def machine():
    """One line about where this was measured."""
    model = [line.split(":", 1)[1].strip() for line in surroundings.read_text("/proc/cpuinfo")
             .splitlines() if line.startswith("model name")]
    return "%d × %s, Linux %s" % (os.cpu_count(), model[0] if model else "unknown CPU",
                                  os.uname().release)
