"""One client of the model test: a connection that carries out steps and writes down what it is shown.

A step is a tuple (how, …): `simple` sql; `bound` sql values…; `parse` name sql; `execute` name values…;
`close` name; `pipeline` (sql …), each before a Sync of its own; `batch` (sql …), all before one Sync;
`reconnect`. What is written down of each is what a driver would hand on: rows, tags, errors with their
words, notices, the transaction's status, and the settings that are reported. Used by one thread.
"""

import contextlib

from integration.state.session import columns
from integration.support import wire
from integration.support.surroundings import PATIENCE

TIMEOUT = 20  # seconds


def texts(values):
    return [None if value is None else str(value).encode() for value in values]


def statement(sql, values=(), name=""):
    return [wire.parse(sql, name), wire.bind("", name, texts(values)), wire.describe("P"), wire.execute()]


def packets(step):
    """What a step sends, and how many ReadyForQuery answer it."""
    how, rest = step[0], step[1:]
    if how == "simple":
        return [wire.query(rest[0])], 1
    if how == "bound":
        return statement(rest[0], rest[1:]) + [wire.SYNC], 1
    if how == "parse":
        return [wire.parse(rest[1], rest[0]), wire.SYNC], 1
    if how == "execute":
        return [wire.bind("", rest[0], texts(rest[1:])), wire.describe("P"), wire.execute(), wire.SYNC], 1
    if how == "close":
        return [wire.message("C", b"S" + rest[0].encode() + b"\0"), wire.SYNC], 1
    if how == "pipeline":
        return [packet for sql in rest for packet in statement(sql) + [wire.SYNC]], len(rest)
    assert how == "batch", step
    return [packet for sql in rest for packet in statement(sql)] + [wire.SYNC], 1


class Player:
    """`place` is where it connects to: an address, and the name of a database."""

    def __init__(self, place, user, parameters):
        self.place, self.user, self.parameters = place, user, parameters
        self.status, self.notifications, self.reported = "I", [], {}
        self.wire = None
        self.seen = [self.connect()]

    def connect(self):
        """What a login tells is seen as well."""
        self.status, self.reported, seen = "I", {}, []
        where, database = self.place
        try:
            self.wire = wire.Wire(where.host, where.port, TIMEOUT * PATIENCE)
            for kind, body in self.wire.log_in("", user=self.user, database=database, **self.parameters):
                self.note(kind, body, seen)
        except (AssertionError, wire.Closed, OSError) as error:
            return seen + [("login", str(error))]
        return seen + [("reported",) + tuple(sorted(self.reported.items()))]

    def carry_out(self, step):
        """Sends, reads to the end, and returns what was seen."""
        if step[0] == "reconnect":
            self.close()
            return self.connect()
        sent, syncs = packets(step)
        seen = []
        try:
            self.wire.send(*sent)
            while syncs:
                kind, body = self.wire.read_message()
                syncs -= kind == "Z"
                self.note(kind, body, seen)
        except (wire.Closed, OSError) as closed:
            return seen + [("closed", type(closed).__name__)]
        return seen + [("reported",) + tuple(sorted(self.reported.items()))]

    def note(self, kind, body, seen):
        if kind == "D":
            seen.append(("row",) + columns(body))
        elif kind == "C":
            seen.append(("tag", body[:-1].decode()))
        elif kind in "EN":
            fields = wire.error_fields(body)
            seen.append(({"E": "error", "N": "notice"}[kind], fields.get("C"), fields.get("M")))
        elif kind == "S":
            name, value = body.split(b"\0")[:2]
            self.reported[name.decode()] = value.decode("utf-8", "surrogateescape")
        elif kind == "A":
            channel, payload = body[4:].split(b"\0")[:2]
            self.notifications.append((channel.decode(), payload.decode()))
        elif kind == "Z":
            self.status = body.decode()
            seen.append(("ready", self.status))

    def play(self, step):
        self.seen.append(self.carry_out(step))

    def close(self):
        if self.wire is None:
            return
        with contextlib.suppress(OSError):
            self.wire.send(wire.TERMINATE)
            self.wire.socket.close()
