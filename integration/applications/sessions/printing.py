"""How the sessions in Python tell what they see: one line each, a label and a value."""


def tell(label, value):
    print("%s: %s" % (label, value), flush=True)


def refused(label, function, *arguments, error=Exception):
    """Calls the function, which is to be refused, and tells the SQLSTATE."""
    try:
        tell(label, "not refused: %r" % (function(*arguments),))
    except error as raised:
        state = getattr(raised, "sqlstate", None) or getattr(raised, "pgcode", None)
        tell(label, state or type(raised).__name__)
