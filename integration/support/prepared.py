"""What the tests of prepared statements share."""

from integration.support import wire
from integration.support.peers import kinds, rows_of
from integration.support.raw_case import RawCase


def close(kind, name):
    return wire.message("C", kind.encode() + name.encode() + b"\0")


def run(name, *values, portal="", rows=0):
    return wire.bind(portal, name, values) + wire.execute(portal, rows)


def sqlstates(messages):
    return [wire.error_fields(body)["C"] for kind, body in messages if kind == "E"]


class PreparedCase(RawCase):
    def prepare(self, raw, text, name, types=()):
        raw.send(wire.parse(text, name, types), wire.SYNC)
        self.assertEqual("1Z", kinds(raw.read_until("Z")))

    def fetch(self, raw, name, *values):
        raw.send(run(name, *values), wire.SYNC)
        messages = raw.read_until("Z")
        self.assertEqual([], sqlstates(messages), (name, values))
        return rows_of(messages)

    def fails(self, raw, sqlstate, *packets):
        raw.send(*packets)
        self.assertEqual([sqlstate], sqlstates(raw.read_until("Z")))

    def occupy(self, count):
        """Clients in transactions, so that the next one gets another server; call them to let go."""
        holders = [self.raw() for _ in range(count)]
        for holder in holders:
            holder.ask("begin; select 1")

        def let_go():
            for holder in holders:
                holder.ask("commit")
                holder.socket.close()
        return let_go
