"""Waiting for conditions. There are no fixed sleeps in these tests: only these, with a deadline."""

import time

from integration.support.surroundings import PATIENCE


def wait_for(condition, what, seconds=10.0, interval=0.02):
    """Calls `condition` until it is true and returns what it returned. `what` says what was awaited,
    for the message of the failure; a function may say it then."""
    deadline = time.monotonic() + seconds * PATIENCE
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            text = what() if callable(what) else what
            raise AssertionError("not within %g s: %s" % (seconds * PATIENCE, text))
        time.sleep(interval)


class Stopwatch:
    """How long something took: `with Stopwatch() as watch: ...; watch.seconds`."""

    def __enter__(self):
        self.began = time.monotonic()
        return self

    def __exit__(self, *_):
        self.seconds = time.monotonic() - self.began
