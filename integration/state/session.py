"""One client session that asserts what a session of its own would show.

It speaks the protocol itself, so that the same step can go as a simple Query or as Parse, Bind,
Execute, and nothing (a BEGIN, a DISCARD, a retry) is sent that the kind did not ask for. Everything is
read as text; NULL is None. Used by one thread.
"""

import contextlib
import select
import struct
import time

from integration.support import wire
from integration.support.peers import raw_client
from integration.support.surroundings import PATIENCE

LOOKS = 3  # how often a step looks at the same thing: another server may answer each time
NOTIFICATION_SECONDS = 10
PROTOCOLS = ("simple", "extended")


class Wrong(Exception):
    """The session was shown something else than a session of its own would show, and no error."""

    def __init__(self, what, expected, seen):
        super().__init__("%s: expected %r, seen %r" % (what, expected, seen))


class Refused(Exception):
    """The session was told an error, or closed."""

    def __init__(self, sqlstate, text):
        super().__init__("%s %s" % (sqlstate, text))
        self.sqlstate = sqlstate


class Marks:
    """Two sets of values that nobody else uses, so that another client's are recognised as such."""

    MOST_VISITS = 1000000 // 4

    def __init__(self, client, visit):
        self.client = client
        base = 1000 + 2 * (client * self.MOST_VISITS + visit % self.MOST_VISITS)
        self.numbers = (base, base + 1)
        self.names = tuple("client%d_visit%d_%s" % (client, visit, which) for which in "ab")


class Observer:
    """A superuser's connection past the pooler: another session, and the truth about locks."""

    def __init__(self, postgres):
        self.connection = postgres.connect()

    def value(self, sql, *parameters):
        with self.connection.cursor() as cursor:
            cursor.execute(sql, parameters or None)
            return cursor.fetchone()[0] if cursor.description else None

    def eventually(self, sql, *parameters, seconds=5):
        """True as soon as the statement says so; False when it does not in time."""
        deadline = time.monotonic() + seconds * PATIENCE
        while not self.value(sql, *parameters):
            if time.monotonic() > deadline:
                return False
            time.sleep(0.01)
        return True

    def close(self):
        self.connection.close()


def columns(body):
    """The columns of a DataRow."""
    count, at, values = struct.unpack("!h", body[:2])[0], 2, []
    for _ in range(count):
        length = struct.unpack("!i", body[at:at + 4])[0]
        at += 4
        if length < 0:
            values.append(None)
        else:
            values.append(body[at:at + length].decode("utf-8", "surrogateescape"))
            at += length
    return tuple(values)


class Session:
    """A client's connection. `marks` are its values, `dice` decides what may be one way or another,
    `shared` is a place that all clients of a run have in common."""

    def __init__(self, where, user, marks, dice, observer, shared, protocol, parameters):
        self.where, self.user = where, user
        self.marks, self.dice, self.observer, self.shared = marks, dice, observer, shared
        self.first, self.second = (str(number) for number in marks.numbers)
        self.first_name, self.second_name = marks.names
        self.protocol = protocol
        self.parameters = parameters
        self.notifications, self.notices, self.reported = [], [], {}
        self.steps = []  # what it has sent, to reproduce what went wrong
        self.process_id = None
        self.wire = None

    # Life ----------------------------------------------------------------------------------------

    def open(self):
        try:
            self.wire = raw_client(self.where, user=self.user, timeout=60, **self.parameters)
        except (AssertionError, wire.Closed, OSError) as error:
            raise Refused("login", str(error)) from error
        return self

    def close(self):
        """Gone, in one way or another, with whatever state it is in."""
        if self.wire is None:
            return
        with contextlib.suppress(OSError):
            if self.dice.random() < 0.7:
                self.wire.send(wire.TERMINATE)
            self.wire.socket.close()
        self.wire = None

    # The wire ------------------------------------------------------------------------------------

    def _take(self):
        kind, body = self.wire.read_message()
        if kind == "A":
            channel, payload = body[4:].split(b"\0")[:2]
            self.notifications.append((channel.decode(), payload.decode(),
                                       struct.unpack("!i", body[:4])[0]))
        elif kind == "N":
            self.notices.append(wire.error_fields(body).get("M"))
        elif kind == "S":
            name, value = body.split(b"\0")[:2]
            self.reported[name.decode()] = value.decode("utf-8", "surrogateescape")
        return kind, body

    def converse(self, *packets, syncs=1):
        """Sends and reads as many ReadyForQuery; all rows. An error is raised when that has come."""
        rows, error = [], None
        try:
            self.wire.send(*packets)
            while syncs:
                kind, body = self._take()
                if kind == "D":
                    rows.append(columns(body))
                elif kind == "d":
                    rows.append((body.decode().rstrip("\n"),))
                elif kind == "V":
                    rows.append(columns(b"\0\1" + body))
                elif kind == "E" and error is None:
                    fields = wire.error_fields(body)
                    error = Refused(fields.get("C"), ", ".join(fields[key] for key in "MD" if key in fields))
                elif kind == "Z":
                    syncs -= 1
        except (wire.Closed, OSError) as closed:
            raise error or Refused("closed", repr(closed)) from closed
        if error is not None:
            raise error
        return rows

    def batch(self, sql, *values, name="", portal=""):
        """The packets that carry a statement out in the extended protocol, without a Sync."""
        texts = [None if value is None else str(value).encode() for value in values]
        return [wire.parse(sql, name), wire.bind(portal, name, texts), wire.describe("P", portal),
                wire.execute(portal)]

    def simple(self, sql):
        self.steps.append(sql)
        return self.converse(wire.query(sql))

    def bound(self, sql, *values):
        """With parameters, as a driver's unnamed statement."""
        self.steps.append(sql + (" <- " + ", ".join(values) if values else ""))
        return self.converse(*self.batch(sql, *values), wire.SYNC)

    def prepare(self, name, sql):
        self.steps.append("Parse %s: %s" % (name, sql))
        return self.converse(wire.parse(sql, name), wire.SYNC)

    def execute(self, name, *values):
        self.steps.append("Bind %s, Execute" % name)
        return self.converse(wire.bind("", name, [str(value).encode() for value in values]),
                             wire.execute(), wire.SYNC)

    def call(self, function, *values):
        """A FunctionCall message; `function` as PostgreSQL's regprocedure has it."""
        oid = self.value("select '%s'::regprocedure::oid" % function)
        self.steps.append("FunctionCall %s <- %s" % (function, ", ".join(values)))
        body = struct.pack("!ihh", int(oid), 0, len(values))
        for value in values:
            body += struct.pack("!i", len(value)) + value.encode()
        return self.converse(wire.message("F", body + struct.pack("!h", 0)))

    # What the kinds say --------------------------------------------------------------------------

    def run(self, *statements):
        """Each a step of its own; rows of the last. What is not several statements goes in this
        session's protocol."""
        rows = []
        for sql in statements:
            one = ";" not in sql or "$$" in sql
            rows = self.bound(sql) if one and self.protocol == "extended" else self.simple(sql)
        return rows

    def value(self, sql):
        rows = self.run(sql)
        return rows[0][0] if rows else "no row"

    def is_shown(self, expected, what, seen):
        if seen != expected:
            raise Wrong(what, expected, seen)

    def shows(self, expected, sql, looks=LOOKS):
        """At every look, whatever has happened to the servers in between."""
        for _ in range(looks):
            self.is_shown(expected, sql, self.value(sql))

    def setting(self, name, expected, looks=LOOKS):
        self.shows(expected, "select current_setting('%s', true)" % name, looks)

    @contextlib.contextmanager
    def refusal(self, sqlstate, what):
        """The block is refused with that SQLSTATE; another error counts as an error."""
        try:
            yield
        except Refused as refused:
            if refused.sqlstate != sqlstate:
                raise
            return
        raise Wrong(what, "ERROR " + sqlstate, "no error")

    def fails(self, sqlstate, sql):
        with self.refusal(sqlstate, sql):
            self.run(sql)

    def hears(self, channel, payload):
        """A notification comes to the idle session."""
        deadline = time.monotonic() + NOTIFICATION_SECONDS * PATIENCE
        while (channel, payload) not in [heard[:2] for heard in self.notifications]:
            if not self.wire.buffer:
                left = deadline - time.monotonic()
                if left < 0 or not select.select([self.wire.socket], [], [], left)[0]:
                    raise Wrong("notification on " + channel, payload, self.notifications)
            try:
                kind, body = self._take()
            except (wire.Closed, OSError) as closed:
                raise Refused("closed", repr(closed)) from closed
            if kind == "E":
                raise Refused(wire.error_fields(body).get("C"), wire.error_fields(body).get("M"))
