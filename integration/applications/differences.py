"""What may differ between two runs of an application, each with its reason. Everything else that an
application prints must be the same, byte for byte.

Known to differ, and therefore not in the sessions:
- what is about the process id: backend_pid of a connection, pg_stat_activity;
- a custom setting that another client has had shows as '' before it was set, where it would be NULL;
- lastval() and currval() outside the transaction that has called nextval(), where somebody else has had
  the server since; and the first time that anybody in a pool reads either: ERROR 55000, the transaction
  is lost (PDO::lastInsertId(), DBD::Pg's last_insert_id()).
"""

import re

ALLOWED = (
    # pg_dump, since its minor versions of August 2025: a random word against injected meta-commands.
    (r"^\\(un)?restrict \w+$", r"\\\1restrict WORD"),
)
_COMPILED = [(re.compile(pattern, re.MULTILINE), word) for pattern, word in ALLOWED]


def same_words(text):
    for pattern, word in _COMPILED:
        text = pattern.sub(word, text)
    return text
