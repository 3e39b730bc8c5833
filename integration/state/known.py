"""What transaction mode does not do right yet, kind by kind, each with its reason. integration/state_test.py
fails for a kind that is wrong and not in here, and for one that is in here and right throughout."""

LIVED = "a server has lived before"

KNOWN_WRONG = {
    # What a backend remembers.
    "sequence_cached": "each server has numbers of its own in its cache",
    "library_loaded_by_function": "no statement says which library a function in C loads",
    "temp_table_under_prepared": LIVED + ": a plan made when it has a temporary schema already stays",
    "temp_schema_is_none_at_first": LIVED + ": the schema is emptied, not dropped",
    "custom_setting_is_null_at_first": LIVED + ": PostgreSQL forgets no custom setting, it empties it",
}

# Right or an error, which is as much as is promised.
KNOWN_REFUSED = {
    "execute_of_what_is_not_found": "the Parse that gives it to the server fails, and EXECUTE says 26000 where"
                                    " PostgreSQL says 42P01",
    # These are right with as many servers as clients. Where there are fewer, others get a server as soon as it
    # is free, whoever might come back for it; and since no text tells whether an INSERT or a function of theirs
    # calls nextval(), it counts as if it did. To wait for that server would not bring the value back: it was
    # forgotten when the other client was given it.
    "currval": "55000 where another client has had the server since that has called nextval()",
    "lastval": "the same",
    "currval_of_function": "the same",
    "currval_of_insert": "the same",
}

# What is only wrong when something else has been on the server before.
AFTER = {
    "temp_table_under_prepared": "temp_table",
    "temp_schema_is_none_at_first": "temp_table",
    "custom_setting_is_null_at_first": "custom_setting",
}

# What the model test (model.py) does not do, because it is known to be wrong or is not promised. Whoever
# mends one sets it to None, and sees what the model test says.
NOT_IN_MODEL = {
    "EXECUTE of what the search_path no longer finds": "execute_of_what_is_not_found",
    "RESET in code in a transaction": "put back when that has ended",
    "ParameterStatus at once of RESET": "the server's value is reported, and the client's before its next answer",
    "PREPARE in a function": "of a name that the client has in the protocol as well, both exist",
    "currval() of another transaction": "KNOWN_REFUSED",
    "pg_listening_channels() in a transaction": "the server does not listen to what had moved before",
    "NULL of a custom setting": "custom_setting_is_null_at_first",
    "that there is no schema pg_temp": "temp_schema_is_none_at_first",
    "a temporary table that hides another": "temp_table_under_prepared",
}
