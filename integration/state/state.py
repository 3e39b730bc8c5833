#!/usr/bin/python3
"""`./dev state`: does every client see what a session of its own would show?

A dozen clients on four servers walk through every kind of session state. Prints a table of kinds and
outcomes, an example of everything that was not right, and one line with the sums. Ends with 1 when
anything was silently wrong; an error is not silent, and the process id is counted apart.
"""

import argparse
import contextlib
import os
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
# pylint: disable=wrong-import-position
from integration.state import model  # noqa: E402
from integration.state.checker import (  # noqa: E402
    WRONG, Run, Tally, available_kinds, check, start_pgbouncer, start_pgweir, start_postgres)
from integration.state.known import KNOWN_WRONG  # noqa: E402
from integration.state.registry import KINDS  # noqa: E402
from integration.state.session import PROTOCOLS  # noqa: E402
from integration.support import surroundings  # noqa: E402


def arguments_of(argv):
    parser = argparse.ArgumentParser(prog="./dev state", description=__doc__.split("\n\n", 1)[0])
    parser.add_argument("--clients", type=int, default=12, metavar="N")
    parser.add_argument("--servers", type=int, default=4, metavar="N",
                        help="for each user who logs in (4)")
    parser.add_argument("--rounds", type=int, default=1, metavar="N",
                        help="how often each client goes through every kind (1)")
    parser.add_argument("--seconds", type=float, default=None, metavar="S",
                        help="begin nothing after this time")
    parser.add_argument("--kinds", default="", metavar="A,B", help="only these")
    parser.add_argument("--without", default="", metavar="A,B", help="all but these")
    parser.add_argument("--not-known", action="store_true",
                        help="all but those that are known to be wrong (known.py)")
    parser.add_argument("--list", action="store_true", help="list the kinds and what they are about")
    parser.add_argument("--direct", action="store_true", help="without a pooler: all must be right")
    parser.add_argument("--pgbouncer", action="store_true", help="Debian's pgbouncer instead")
    parser.add_argument("--apart", action="store_true",
                        help="every kind by itself with a pooler of its own: whose fault is it?")
    parser.add_argument("--switch", action="store_true",
                        help="another server at every permitted boundary")
    parser.add_argument("--protocol", choices=PROTOCOLS, default=None,
                        help="how statements are sent (by dice, session by session)")
    parser.add_argument("--model", action="store_true",
                        help="random clients instead, compared with direct ones (--model --help)")
    parser.add_argument("--seed", default="1", help="of the clients' dice (1)")
    given = parser.parse_args(argv)
    if given.direct and given.pgbouncer:
        parser.error("--direct and --pgbouncer exclude each other")
    return given


def names_in(text):
    return [name for name in text.split(",") if name]


def pooler_of(given, postgres):
    """What the clients connect to."""
    if given.direct:
        return postgres
    if given.pgbouncer:
        return start_pgbouncer(postgres, given.servers)
    return start_pgweir(postgres, given.servers, given.switch)


def main(argv):
    if "--model" in argv:
        return model.main([argument for argument in argv if argument != "--model"])
    given = arguments_of(argv)
    if given.list:
        for kind in KINDS.values():
            print("%-40s %s" % (kind.name, kind.about))
            if kind.name in KNOWN_WRONG:
                print("%-40s known to be wrong: %s" % ("", KNOWN_WRONG[kind.name]))
        return 0
    try:
        without = names_in(given.without) + (list(KNOWN_WRONG) if given.not_known else [])
        kinds = [kind for kind in available_kinds(names_in(given.kinds)) if kind.name not in without]
    except LookupError as error:
        print("state: %s" % error, file=sys.stderr)
        return 2
    if not (given.direct or given.pgbouncer) and not os.access(surroundings.BINARY, os.X_OK):
        print("state: there is no daemon at %s: build it, or set PGWEIR_BINARY" % surroundings.BINARY,
              file=sys.stderr)
        return 2
    began, tally = time.monotonic(), Tally(kinds)
    with contextlib.closing(start_postgres()) as postgres:
        for together in [[kind] for kind in kinds] if given.apart else [kinds]:
            run = Run(given.clients, given.rounds, given.seconds, together, given.protocol, given.seed)
            where = pooler_of(given, postgres)
            try:
                check(run, where, postgres, tally)
            finally:
                if where is not postgres:
                    where.close()
    print(tally.table())
    print(tally.explanations())
    print("%.1f s" % (time.monotonic() - began))
    print(tally.line())
    return 1 if tally.total(WRONG) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
