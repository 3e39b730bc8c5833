"""Applications as they come: a scripted session of each driver and tool, direct and through pgweir.

`applications.py` is the list, and runs them (`./dev apps`, CTest's `application.NAME`); `stage.py` is
what the database has before; `contenders.py` are the other clients of the same pool; `sessions/` has
the applications, which know nothing of all that: they are told by PGHOST and PGPORT where to go, and
print what they see. Nothing in them is written with a pooler in mind.
"""
