"""Clients with settings of their own: each has another search_path, role, TimeZone and
statement_timeout. {} stands for the client's number."""

import os
import threading

from integration.state.session import columns
from integration.support import surroundings
from integration.support.peers import raw_client
from integration.support.postgres import DATABASE, OWNER

OWN_SETTINGS = ("set search_path = tuned_{}, public; set role tuned_{}; set timezone = 'XYZ{}';"
                " set statement_timeout = 1000{}")
LOOK = ("select current_schema(), current_user, current_setting('timezone'),"
        " setting || unit from pg_settings where name = 'statement_timeout'")
LOOKS = 10  # of each client
LOOKERS = 10

SELECT = "select abalance from pgbench_accounts where aid = :aid;"
# What pgbench's own transaction of five statements does, at its scale of 10.
TRANSFER = """\
begin;
update pgbench_accounts set abalance = abalance + :delta where aid = :aid;
""" + SELECT + """
update pgbench_tellers set tbalance = tbalance + :delta where tid = :tid;
update pgbench_branches set bbalance = bbalance + :delta where bid = :bid;
insert into pgbench_history (tid, bid, aid, delta, mtime) values (:tid, :bid, :aid, :delta, current_timestamp);
commit;"""


def prepare(postgres, clients):
    """Roles and schemas, and the right of all of them to pgbench's tables."""
    for number in range(clients):
        postgres.query("create role tuned_{0}; grant tuned_{0} to {1}; create schema tuned_{0};"
                       " grant usage on schema tuned_{0} to tuned_{0}".format(number, OWNER),
                       database=DATABASE)
    postgres.query("grant all on all tables in schema public to public", database=DATABASE)


def script(transaction, tuned=True):
    """Arguments for pgbench: its clients say before their first transaction what they want."""
    path = os.path.join(surroundings.temporary_directory("pgbench"), "script.sql")
    with open(path, "w", encoding="ascii") as file:
        file.write("\\if :asked = 0\n%s;\n\\set asked 1\n\\endif\n" % OWN_SETTINGS.replace("{}", ":client_id"))
        file.write("\\set aid random(1, 1000000)\n\\set tid random(1, 100)\n\\set bid random(1, 10)\n"
                   "\\set delta random(-5000, 5000)\n%s\n" % transaction)
    return ("-f", path, "-D", "asked=%d" % (0 if tuned else 1))


def look(pooler, clients):
    """Every client sees its own settings at every statement, while others are served; not timed."""
    def look_in_turn(numbers, failures):
        sessions = [(number, raw_client(pooler, user=OWNER)) for number in numbers]
        for number, session in sessions:
            session.ask(OWN_SETTINGS.replace("{}", str(number)))
        for _ in range(LOOKS):
            for number, session in sessions:
                kind, body = next(message for message in session.ask(LOOK) if message[0] in "DE")
                own = tuple(text % number for text in ("tuned_%d", "tuned_%d", "XYZ%d", "1000%dms"))
                if kind != "D" or columns(body) != own:
                    failures.append((own, kind, body))
        for _, session in sessions:
            session.socket.close()

    failures = []
    threads = [threading.Thread(target=look_in_turn, args=(range(first, clients, LOOKERS), failures))
               for first in range(LOOKERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise RuntimeError("%d looks at others' settings, such as %r" % (len(failures), failures[0]))
