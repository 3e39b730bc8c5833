"""A client that speaks the wire protocol byte by byte, for what no driver would send.

Source: "Frontend/Backend Protocol" in PostgreSQL's documentation, "Message Formats".
"""

import socket
import struct

PROTOCOL_3_0 = 196608
CANCEL_REQUEST = 80877102
SSL_REQUEST = 80877103
GSSENC_REQUEST = 80877104


def message(kind, body=b""):
    return kind.encode() + struct.pack("!i", len(body) + 4) + body


def untyped(code, body=b""):
    """A packet of the time before the session: startup, SSL, cancel."""
    return struct.pack("!ii", len(body) + 8, code) + body


def startup(version=PROTOCOL_3_0, **parameters):
    pairs = b"".join(name.encode() + b"\0" + value.encode() + b"\0"
                     for name, value in parameters.items())
    return untyped(version, pairs + b"\0")


def query(text):
    return message("Q", text.encode(errors="surrogateescape") + b"\0")


def parse(text, name="", types=()):
    return message("P", name.encode() + b"\0" + text.encode(errors="surrogateescape") + b"\0"
                   + struct.pack("!h", len(types)) + b"".join(struct.pack("!i", t) for t in types))


def bind(portal="", name="", values=()):
    body = portal.encode() + b"\0" + name.encode() + b"\0" + struct.pack("!hh", 0, len(values))
    for value in values:
        body += struct.pack("!i", -1) if value is None else \
            struct.pack("!i", len(value)) + value
    return message("B", body + struct.pack("!h", 0))


def describe(kind="P", name=""):
    return message("D", kind.encode() + name.encode() + b"\0")


def execute(portal="", rows=0):
    return message("E", portal.encode() + b"\0" + struct.pack("!i", rows))


SYNC = message("S")
FLUSH = message("H")
TERMINATE = message("X")


# What a server made up answers to a batch that has to do with `pgw_names`: nothing in its catalogues.
NOTHING_HIDDEN = (message("1") + message("2") + message("C", b"SELECT 0\0") + message("3")) * 2 + message("Z", b"I")


def error_fields(body):
    """The fields of an ErrorResponse or NoticeResponse, by their letters."""
    return {field[:1].decode(): field[1:].decode()
            for field in body.rstrip(b"\0").split(b"\0") if field}


class Closed(Exception):
    """The other side has closed the connection."""


class Wire:
    """One raw connection."""

    def __init__(self, host, port, timeout=20):
        self.socket = socket.create_connection((host, port), timeout=timeout)
        self.buffer = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, *packets):
        self.socket.sendall(b"".join(packets))

    def read_exactly(self, count):
        while len(self.buffer) < count:
            try:
                received = self.socket.recv(65536)
            except ConnectionResetError:
                received = b""
            if not received:
                raise Closed
            self.buffer += received
        taken, self.buffer = self.buffer[:count], self.buffer[count:]
        return taken

    def read_message(self):
        """(type, body) of the next message."""
        header = self.read_exactly(5)
        return header[:1].decode(), self.read_exactly(struct.unpack("!i", header[1:])[0] - 4)

    def read_until(self, kind):
        """All messages up to and including the first of that type."""
        messages = []
        while not messages or messages[-1][0] != kind:
            messages.append(self.read_message())
        return messages

    def read_to_end(self):
        """All messages until the other side closes."""
        messages = []
        try:
            while True:
                messages.append(self.read_message())
        except Closed:
            return messages
        except TimeoutError as late:
            raise AssertionError("it was not closed behind %r" % messages) from late

    def read_to_end_or(self, kind):
        """All messages up to the first of that type, or until the other side closes."""
        messages = []
        try:
            while not messages or messages[-1][0] != kind:
                messages.append(self.read_message())
        except Closed:
            pass
        return messages

    def log_in(self, password, **parameters):
        """Startup and a cleartext or absent password; the messages up to ReadyForQuery."""
        self.send(startup(**parameters))
        messages = []
        while True:
            kind, body = self.read_message()
            messages.append((kind, body))
            if kind == "R" and struct.unpack("!i", body[:4])[0] == 3:
                self.send(message("p", password.encode() + b"\0"))
            elif kind == "R" and struct.unpack("!i", body[:4])[0] != 0:
                raise AssertionError("only cleartext passwords here, not %r" % body)
            elif kind == "E":
                raise AssertionError("login refused: %r" % error_fields(body))
            elif kind == "Z":
                return messages

    def ask(self, text):
        """A simple query; the messages up to ReadyForQuery."""
        self.send(query(text))
        return self.read_until("Z")
