"""Kinds of state that reach other sessions: advisory locks, LISTEN, the process id. Others are here the
observer, past the pooler, and for the exclusive lock the other clients of the pool."""

from integration.state.registry import kind
from integration.support import wire

EXCLUSIVE_KEY = 7  # the one that all clients want


def locked(s, key, by_us=True):
    """Another session cannot take it, or can."""
    seen = s.observer.value("select pg_try_advisory_lock(%s)", key)
    if seen:
        s.observer.value("select pg_advisory_unlock(%s)", key)
    s.is_shown(not by_us, "another session takes the lock", seen)


def unlocks(s, how, key):
    s.shows("t", "select %s(%s)" % (how, key), 1)


@kind()
def advisory_lock(s):
    """pg_advisory_lock is held across transactions; unlocking says that it was."""
    s.run("select pg_advisory_lock(%s)" % s.first)
    for _ in range(3):
        locked(s, s.first)
        s.run("select 1")
    unlocks(s, "pg_advisory_unlock", s.first)
    locked(s, s.first, by_us=False)
    s.shows("f", "select pg_advisory_unlock(%s)" % s.first)


@kind()
def advisory_lock_tried(s):
    """pg_try_advisory_lock, taken twice, is given up twice."""
    for _ in range(2):
        s.shows("t", "select pg_try_advisory_lock(%s)" % s.first, 1)
    for _ in range(2):
        locked(s, s.first)
        unlocks(s, "pg_advisory_unlock", s.first)
    locked(s, s.first, by_us=False)


@kind()
def advisory_lock_excludes(s):
    """No two clients have the same lock."""
    if s.value("select pg_try_advisory_lock(%d)" % EXCLUSIVE_KEY) == "f":
        return
    holders = s.shared.setdefault("holders", [])
    holders.append(s.marks.names)
    try:
        for _ in range(3):
            s.is_shown([s.marks.names], "who has the lock", list(holders))
            s.run("select 1")
    finally:
        holders.remove(s.marks.names)
    unlocks(s, "pg_advisory_unlock", EXCLUSIVE_KEY)


@kind()
def advisory_lock_shared(s):
    """pg_advisory_lock_shared lets others share and nobody have it alone."""
    s.run("select pg_advisory_lock_shared(%s)" % s.first)
    for _ in range(2):
        locked(s, s.first)
        s.is_shown(True, "another session shares", s.observer.value(
            "select pg_try_advisory_lock_shared(%s)", s.first))
        s.observer.value("select pg_advisory_unlock_shared(%s)", s.first)
    unlocks(s, "pg_advisory_unlock_shared", s.first)
    locked(s, s.first, by_us=False)


@kind()
def advisory_lock_rolled_back(s):
    """ROLLBACK does not give up a session's lock."""
    s.run("begin", "select pg_advisory_lock(%s)" % s.first, "rollback")
    s.run("select 1", "select 2")
    locked(s, s.first)
    unlocks(s, "pg_advisory_unlock", s.first)


@kind()
def advisory_lock_in_do(s):
    """An advisory lock taken in a DO block."""
    s.run("do $$ begin perform pg_advisory_lock(%s); end $$" % s.first)
    s.run("select 1", "select 2")
    locked(s, s.first)
    unlocks(s, "pg_advisory_unlock", s.first)


@kind()
def advisory_lock_in_function(s):
    """An advisory lock taken in a function, given up by the client itself."""
    s.run("select hidden.claim(%s)" % s.first)
    s.run("select 1", "select 2")
    locked(s, s.first)
    unlocks(s, "pg_advisory_unlock", s.first)
    locked(s, s.first, by_us=False)


@kind()
def advisory_lock_shared_in_function(s):
    """A shared one taken in a function, given up by the client itself."""
    s.run("select hidden.claim_together(%s)" % s.first)
    s.run("select 1", "select 2")
    locked(s, s.first)
    unlocks(s, "pg_advisory_unlock_shared", s.first)


@kind()
def advisory_lock_called(s):
    """pg_advisory_lock() in a FunctionCall message, without a text."""
    s.call("pg_advisory_lock(bigint)", s.first)
    s.run("select 1", "select 2")
    locked(s, s.first)
    unlocks(s, "pg_advisory_unlock", s.first)


@kind()
def advisory_lock_bound(s):
    """An advisory lock whose key is bound, in a named statement."""
    s.prepare("claim", "select pg_advisory_lock($1)")
    s.execute("claim", s.first)
    s.run("select 1", "select 2")
    locked(s, s.first)
    unlocks(s, "pg_advisory_unlock", s.first)


@kind()
def advisory_lock_by_execute(s):
    """An advisory lock in a statement prepared with Parse, taken by SQL's EXECUTE."""
    s.prepare("claim", "select pg_advisory_lock($1)")
    s.run("execute claim(%s)" % s.first, "select 1", "select 2")
    locked(s, s.first)
    unlocks(s, "pg_advisory_unlock", s.first)


@kind()
def advisory_lock_given_up_in_function(s):
    """Taken by the client itself, given up in a function."""
    s.run("select pg_advisory_lock(%s)" % s.first, "select 1")
    s.shows("t", "select hidden.yield(%s)" % s.first, 1)
    locked(s, s.first, by_us=False)


@kind()
def advisory_lock_in_function_excludes(s):
    """No two clients have the same lock, taken in a function where the text does not show it."""
    key = s.marks.numbers[0]
    s.run("select hidden.claim(%d)" % key, "select 1", "select 2")
    seen = s.observer.value("select count(*) from pg_locks where locktype = 'advisory' and objid = %s", key)
    s.is_shown(1, "locks of that key", seen)
    s.shows("t", "select hidden.yield(%d)" % key, 1)


@kind()
def all_advisory_locks_given_up(s):
    """pg_advisory_unlock_all."""
    for key in (s.first, s.second):
        s.run("select pg_advisory_lock(%s)" % key)
    s.run("select pg_advisory_unlock_all()")
    for key in (s.first, s.second):
        locked(s, key, by_us=False)


@kind()
def advisory_lock_of_transaction(s):
    """pg_advisory_xact_lock ends with its transaction."""
    s.run("begin", "select pg_advisory_xact_lock(%s)" % s.first)
    locked(s, s.first)
    s.run("commit")
    locked(s, s.first, by_us=False)


def is_freed_by_leaving(s, key):
    s.close()
    seen = s.observer.eventually("select pg_try_advisory_lock(%s)", key)
    if seen:
        s.observer.value("select pg_advisory_unlock(%s)", key)
    s.is_shown(True, "the lock is free when its session has left", seen)


@kind()
def advisory_lock_left(s):
    """A session's locks are gone with it."""
    s.run("select pg_advisory_lock(%s)" % s.first)
    is_freed_by_leaving(s, s.first)


@kind()
def advisory_lock_in_function_left(s):
    """... also those taken in a function."""
    s.run("select hidden.claim(%s)" % s.first)
    is_freed_by_leaving(s, s.first)


# LISTEN ---------------------------------------------------------------------------------------------

CHANNELS = "select coalesce(string_agg(c, ','), 'none') from pg_listening_channels() c"


def hears(s, channel, payload):
    s.observer.value("select pg_notify(%s, %s)", channel, payload)
    s.hears(channel, payload)


@kind()
def listen(s):
    """LISTEN, a notification to the idle session, another, UNLISTEN."""
    s.shows("none", CHANNELS)
    s.run("listen " + s.first_name)
    s.shows(s.first_name, CHANNELS)
    hears(s, s.first_name, "one")
    s.run("select 1")
    hears(s, s.first_name, "two")
    s.run("unlisten " + s.first_name)
    s.shows("none", CHANNELS)
    s.observer.value("select pg_notify(%s, 'three')", s.first_name)
    s.run("select 1", "select 2")
    s.is_shown(2, "notifications heard", len(s.notifications))


@kind()
def listen_rolled_back(s):
    """LISTEN and UNLISTEN are undone by ROLLBACK."""
    s.run("begin", "listen " + s.first_name, "rollback")
    s.shows("none", CHANNELS)
    s.run("listen " + s.first_name, "begin", "unlisten *", "rollback")
    s.shows(s.first_name, CHANNELS)
    hears(s, s.first_name, "one")


@kind()
def listen_in_pipeline(s):
    """LISTEN in one write with other batches, one of which fails."""
    with s.refusal("22012", "a pipeline that fails"):
        s.converse(*s.batch("listen " + s.first_name), wire.SYNC,
                   *s.batch("listen " + s.second_name), *s.batch("select 1/0"), wire.SYNC, syncs=2)
    s.shows(s.first_name, CHANNELS)
    hears(s, s.first_name, "one")


@kind()
def listen_in_do(s):
    """LISTEN in a DO block."""
    s.run("do $$ begin execute 'listen %s'; end $$" % s.first_name)
    s.shows(s.first_name, CHANNELS)
    hears(s, s.first_name, "one")


@kind()
def listen_in_function(s):
    """LISTEN in a function."""
    s.run("select hidden.subscribe('%s')" % s.first_name)
    s.shows(s.first_name, CHANNELS)
    hears(s, s.first_name, "one")


@kind()
def listen_discarded(s):
    """UNLISTEN * and DISCARD ALL."""
    for end in ("unlisten *", "discard all"):
        s.run("listen " + s.first_name, end)
        s.shows("none", CHANNELS)


@kind()
def notify_oneself(s):
    """NOTIFY to a channel that one listens to oneself."""
    s.run("listen " + s.first_name, "notify %s, 'one'" % s.first_name)
    s.hears(s.first_name, "one")


# The process id -------------------------------------------------------------------------------------

@kind(about_process_id=True)
def process_id(s):
    """pg_backend_pid() is always the same."""
    s.shows(s.value("select pg_backend_pid()"), "select pg_backend_pid()", looks=6)


@kind(about_process_id=True)
def process_id_of_notification(s):
    """The process id in a notification from oneself is pg_backend_pid()."""
    s.run("listen " + s.first_name, "notify %s, 'one'" % s.first_name)
    s.hears(s.first_name, "one")
    s.is_shown(s.value("select pg_backend_pid()"), "process id", str(s.notifications[-1][2]))
