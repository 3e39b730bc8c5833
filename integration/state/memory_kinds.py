"""Kinds of state that live in a backend's memory and that no catalogue shows: sequences, random
numbers, loaded libraries, what languages and extensions remember."""

from integration.state.registry import kind
from integration.state.stage import SUPERUSER

NOT_YET = "55000"


# Sequences ------------------------------------------------------------------------------------------

@kind()
def currval(s):
    """currval() is of this session's last nextval()."""
    s.fails(NOT_YET, "select currval('hidden.counter')")
    for _ in range(2):
        s.shows(s.value("select nextval('hidden.counter')"), "select currval('hidden.counter')")


@kind()
def lastval(s):
    """lastval() is of this session's last nextval(), of whatever sequence."""
    s.fails(NOT_YET, "select lastval()")
    for sequence in ("hidden.counter", "hidden.other_counter"):
        s.shows(s.value("select nextval('%s')" % sequence), "select lastval()")


@kind()
def currval_of_function(s):
    """nextval() in a function, then currval()."""
    s.shows(s.value("select hidden.number()"), "select currval('hidden.counter')")


@kind()
def currval_of_insert(s):
    """A row inserted, then currval() and lastval() of its key."""
    key = s.value("insert into hidden.numbered (value) values ('%s') returning id" % s.first_name)
    s.shows(key, "select currval(pg_get_serial_sequence('hidden.numbered', 'id'))")
    s.shows(key, "select lastval()")


@kind()
def currval_at_first(s):
    """A new session has no last value."""
    for _ in range(3):
        s.fails(NOT_YET, "select currval('hidden.counter')")
        s.fails(NOT_YET, "select lastval()")


@kind()
def sequences_discarded(s):
    """DISCARD SEQUENCES forgets them."""
    s.run("select nextval('hidden.counter')", "discard sequences")
    for _ in range(3):
        s.fails(NOT_YET, "select currval('hidden.counter')")


@kind()
def sequence_cached(s):
    """A sequence with CACHE gives a session numbers in a row."""
    number = int(s.value("select nextval('hidden.cached_counter')"))
    for step in range(1, 6):
        s.shows(str(number + step), "select nextval('hidden.cached_counter')", 1)


# Random numbers -------------------------------------------------------------------------------------

def numbers_follow(s, seed):
    """random() as in a session that has only set this seed."""
    s.observer.value("select setseed(%s)", float(seed))
    for _ in range(4):
        expected = s.observer.value("select random()::text")
        s.shows(expected, "select random()::text", 1)
    s.shared.setdefault("numbers to come", set()).update(
        s.observer.value("select random()::text") for _ in range(20))


def seed_of(s):
    return "0.%06d" % (s.marks.numbers[0] % 1000000)


@kind()
def seed(s):
    """setseed(), then random()."""
    s.run("select setseed(%s)" % seed_of(s))
    numbers_follow(s, seed_of(s))


@kind()
def seed_as_setting(s):
    """SET seed, then random()."""
    s.run("set seed = %s" % seed_of(s))
    numbers_follow(s, seed_of(s))


@kind()
def seed_in_function(s):
    """setseed() in a function, then random()."""
    s.run("select hidden.shuffle(%s)" % seed_of(s))
    numbers_follow(s, seed_of(s))


@kind()
def random_at_first(s):
    """A new session's random numbers are not those of a seed that another client has set."""
    seen = {s.value("select random()::text") for _ in range(3)}
    s.is_shown(set(), "numbers that follow from another client's seed",
               seen & s.shared.get("numbers to come", set()))


# Libraries, languages, extensions -------------------------------------------------------------------

@kind(user=SUPERUSER)
def library_loaded(s):
    """LOAD, and the settings that the library brings."""
    s.setting("auto_explain.log_min_duration", None)
    s.run("load 'auto_explain'")
    s.setting("auto_explain.log_min_duration", "-1")


@kind()
def library_loaded_by_function(s):
    """A function in C loads its library, which brings settings."""
    s.run("select similarity('a', 'b')")
    s.setting("pg_trgm.word_similarity_threshold", "0.6")


@kind()
def library_not_loaded_at_first(s):
    """A new session has not loaded what others have."""
    s.setting("pg_trgm.word_similarity_threshold", None)


@kind(library="plperl.so")
def language_memory(s):
    """%_SHARED of PL/Perl."""
    s.shows(None, "select hidden.kept()")
    s.run("select hidden.keep('%s')" % s.first_name)
    s.shows(s.first_name, "select hidden.kept()")


@kind(user=SUPERUSER)
def extension_memory(s):
    """A named connection of dblink's, and what the session on its other end remembers."""
    s.shows("none", "select coalesce(array_to_string(dblink_get_connections(), ','), 'none')")
    s.run("select dblink_connect('mine', format('host=127.0.0.1 port=%s dbname=%s user=%s',"
          " current_setting('port'), current_database(), current_user))",
          "select dblink_exec('mine', 'set application_name = ''%s''')" % s.first_name)
    s.shows(s.first_name, "select * from dblink('mine', 'show application_name') as t (value text)")
    s.run("select dblink_disconnect('mine')")


@kind()
def weak_input(s):
    """A mode of isn's, kept in its own memory."""
    s.shows("f", "select isn_weak()")
    s.run("select isn_weak(true)")
    s.shows("t", "select isn_weak()")


# What ends with the process ------------------------------------------------------------------------

@kind(user=SUPERUSER)
def backup(s):
    """A backup is ended by the session that has started it."""
    s.run("select pg_backup_start('%s', true)" % s.first_name)
    s.shows("t", "select labelfile like '%%%s%%' from pg_backup_stop(false)" % s.first_name, 1)


@kind(user=SUPERUSER)
def backup_in_function(s):
    """A function starts a backup."""
    s.run("select hidden.back_up('%s')" % s.first_name)
    s.shows("t", "select labelfile like '%%%s%%' from pg_backup_stop(false)" % s.first_name, 1)


def slot_is_there(s):
    """Until the session has left: only that can drop it."""
    s.shows("t", "select active from pg_replication_slots where slot_name = '%s'" % s.first_name)
    if s.dice.random() < 0.5:
        s.run("select pg_drop_replication_slot('%s')" % s.first_name)
        s.shows("0", "select count(*) from pg_replication_slots where slot_name = '%s'" % s.first_name)
    else:
        s.close()
        there = "select not exists (select from pg_replication_slots where slot_name = %s)"
        s.is_shown(True, "the slot is gone", s.observer.eventually(there, s.first_name))


@kind(user=SUPERUSER)
def temporary_slot(s):
    """A temporary replication slot."""
    s.run("select pg_create_physical_replication_slot('%s', true, true)" % s.first_name)
    slot_is_there(s)


@kind(user=SUPERUSER)
def temporary_slot_by_name(s):
    """A temporary replication slot, in a function that PostgreSQL has parsed."""
    s.run("select hidden.follow('%s')" % s.first_name)
    slot_is_there(s)


@kind(user=SUPERUSER)
def replication_origin(s):
    """The origin that a session replays for, which no other can have meanwhile."""
    s.shows("f", "select pg_replication_origin_session_is_setup()")
    s.run("select pg_replication_origin_create('%s')" % s.first_name,
          "select pg_replication_origin_session_setup('%s')" % s.first_name)
    s.shows("t", "select pg_replication_origin_session_is_setup()")
    s.run("select pg_replication_origin_session_reset()")
    s.shows("f", "select pg_replication_origin_session_is_setup()")
    s.run("select pg_replication_origin_drop('%s')" % s.first_name)
