"""The list of kinds. A kind is a function that takes a Session and asserts; its name is the kind's name,
its docstring says what it is about, and every statement it runs outside a transaction block is a
boundary at which the session may be given another server."""

import collections
import inspect

from integration.state.stage import USER

Kind = collections.namedtuple("Kind", "name about run user parameters about_process_id library")
KINDS = {}


def no_parameters(_marks):
    return {}


def kind(user=USER, parameters=no_parameters, about_process_id=False, library=None):
    """Registers a kind. `parameters(marks)` are those of its start-up packet. One that is about the
    process id is counted apart; one that needs a library of PostgreSQL's is left out without it."""
    def register(function):
        assert function.__name__ not in KINDS, function.__name__
        KINDS[function.__name__] = Kind(
            function.__name__, inspect.getdoc(function), function, user, parameters,
            about_process_id, library)
        return function
    return register
