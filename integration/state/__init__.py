"""The session-state checker, `./dev state`: many clients on few servers, each walking through every kind
of state that a PostgreSQL session has, and seeing only what a session of its own would show.

session.py is a client and what it asserts, *_kinds.py are the kinds, stage.py is what the database must
have for them, checker.py runs the clients and counts, state.py is the command.
"""
