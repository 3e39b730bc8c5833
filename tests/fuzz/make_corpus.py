"""Writes corpus/: for each fuzz target a few whole conversations, as inputs of that target.

They are what a fuzzer could not guess (lengths, SCRAM proofs); it makes the rest of them. Inputs
that have found something are added by hand under a name that says what, and this script leaves them
alone. Run it after an input format has changed: `/usr/bin/python3 tests/fuzz/make_corpus.py`.
"""

import base64
import hashlib
import hmac
import os
import struct

CORPUS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "corpus")
TRUST, PASSWORD, MD5, SCRAM = range(4)  # startup.cpp, as the next
TLS_OFFERED, TLS_REQUIRED, NO_HASH, OTHER_ALPN, CLIENTCERT = 4, 8, 16, 32, 64
TLS, STRICT, KEYS = 32, 64, 128  # server_login.cpp
SSL_REQUEST, GSSENC_REQUEST = 80877103, 80877104
BOUND = b"p=tls-server-end-point,,"
END_POINT_HASH = b"h" * 32


def z(text):
    return text.encode() + b"\0"


def message(kind, body=b""):
    return kind.encode() + struct.pack(">I", len(body) + 4) + body


def untyped(code, body=b""):
    return struct.pack(">II", len(body) + 8, code) + body


def startup(minor=0, **parameters):
    body = b"".join(z(name) + z(value) for name, value in parameters.items())
    return untyped(0x30000 + minor, body + b"\0")


def parse(name, sql):
    return message("P", z(name) + z(sql) + b"\0\0")


def bind(name, portal="", padding=0):
    value = struct.pack(">HHI", 0, 1, padding) + b"x" * padding if padding else b"\0\0\0\0"
    return message("B", z(portal) + z(name) + value + b"\0\0")


def describe(kind, name):
    return message("D", kind.encode() + z(name))


def close(kind, name):
    return message("C", kind.encode() + z(name))


def execute(portal="", rows=0):
    return message("E", z(portal) + struct.pack(">I", rows))


def query(sql):
    return message("Q", z(sql))


SYNC, FLUSH, TERMINATE = message("S"), message("H"), message("X")


def authentication(kind, rest=b""):
    return message("R", struct.pack(">I", kind) + rest)


def error(severity, sqlstate, text):
    return message("E", b"".join(key + z(value) for key, value in (
        (b"S", severity), (b"V", severity), (b"C", sqlstate), (b"M", text))) + b"\0")


def scram_proof(password, salt, iterations, first_bare, server_first, final_without_proof):
    """The client's proof and the server's signature (RFC 5802)."""
    salted = hashlib.pbkdf2_hmac("sha256", password, salt, iterations)
    auth = b",".join((first_bare, server_first, final_without_proof))
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    signature = hmac.digest(hashlib.sha256(client_key).digest(), auth, "sha256")
    proof = bytes(a ^ b for a, b in zip(client_key, signature))
    server_signature = hmac.digest(hmac.digest(salted, b"Server Key", "sha256"), auth, "sha256")
    return base64.b64encode(proof), base64.b64encode(server_signature)


CLIENT_CONVERSATIONS = {
    "simple": query("SELECT 1") + query("BEGIN") + query("COMMIT") + TERMINATE,
    "extended": parse("", "SELECT $1") + bind("") + describe("P", "") + execute() + SYNC,
    "named": parse("s", "SELECT 1") + describe("S", "s") + SYNC + bind("s") + execute(rows=1)
             + FLUSH + execute() + close("S", "s") + SYNC,
    "same_text": parse("s", "SELECT 1") + SYNC + parse("t", "SELECT 1") + bind("t") + bind("s") + SYNC,
    "name_taken": parse("s", "SELECT 1") + SYNC + parse("s", "SELECT 2") + SYNC + bind("s") + SYNC,
    "by_sql": parse("s", "SELECT 1") + SYNC + query("EXECUTE s") + query("DEALLOCATE s") + SYNC
              + query("PREPARE p AS SELECT 1") + query("DEALLOCATE ALL"),
    "copy": query("COPY t FROM STDIN") + message("d", b"1\n") + message("d", b"2\n") + message("c")
            + query("COPY t FROM STDIN") + message("d", b"1\n") + message("f", z("no")),
    "function": message("F", struct.pack(">IHHH", 2078, 0, 0, 0)) + SYNC,
    "no_server": SYNC + FLUSH + message("c") + message("d", b"left") + SYNC + query("SELECT 1"),
    "long_bind": parse("s", "SELECT $1") + bind("s", padding=9000) + execute() + SYNC,
    "long_name": parse("n" * 70, "SELECT 1") + bind("n" * 63) + describe("S", "pgw_x") + SYNC,
    "violation": SYNC + message("p", z("password")),
}

ROW = message("D", b"\0\1\0\0\0\1x")
DESCRIPTION = message("T", b"\0\1" + z("a") + b"\0" * 18)
READY = {status: message("Z", status.encode()) for status in "ITE"}
DONE = message("C", z("SELECT 1"))
# What is owed first (one byte each, reader_server.cpp), and the answers.
Q, S, P, B, D, E, C, COPY_DONE, COPY_FAIL, COPY_DATA, F = range(11)
OURS, STATEMENT, THEIR_ERROR, NOTED = 16, 32, 64, 128
SERVER_CONVERSATIONS = {
    "query": ([Q, Q], DESCRIPTION + ROW * 3 + DONE + READY["I"] + message("I") + READY["T"]),
    "extended": ([P, B, D, E, S], message("1") + message("2") + DESCRIPTION + ROW + message("s")
                 + READY["T"]),
    "statement": ([P | NOTED, D | STATEMENT, C, S], message("1") + message("t", b"\0\0")
                  + message("n") + message("3") + READY["I"]),
    "ours": ([Q | OURS, C | OURS, P | OURS | THEIR_ERROR, B, S], DONE + READY["I"] + message("3")
             + error("ERROR", "42601", "no") + READY["I"]),
    "skipped": ([P, B, E, S, Q], error("ERROR", "42601", "no") + READY["I"] + DONE + READY["I"]),
    "copy_in": ([Q, COPY_DATA, COPY_DONE, S], message("G", b"\0\0\0") + message("C", z("COPY 1"))
                + READY["I"] + READY["I"]),
    "copy_fails": ([E, S, COPY_FAIL, S], message("G", b"\0\0\0") + error("ERROR", "57014", "no")
                   + READY["E"]),
    "copy_out": ([Q], message("H", b"\0\0\0") + message("d", b"1\n") * 3 + message("c")
                 + message("C", z("COPY 3")) + READY["I"]),
    "copy_both": ([Q], message("W", b"\0\0\0") + message("d", b"w" * 30) * 2 + message("c") + DONE
                  + READY["I"]),
    "function": ([F], message("V", b"\xff\xff\xff\xff") + READY["I"]),
    "asynchronous": ([Q], message("N", b"SNOTICE\0\0") + message("A", b"\0\0\0\1c\0p\0")
                     + message("S", z("TimeZone") + z("UTC")) + DONE + READY["I"]),
    "fatal": ([], error("FATAL", "57P01", "terminating connection")),
    "long_error": ([Q], error("ERROR", "42601", "x" * 5000) + READY["I"]),
    "desync": ([], READY["I"]),
}


def reader_client():
    for name, wire in CLIENT_CONVERSATIONS.items():
        yield name + "_direct", bytes([0, 3]) + wire
        yield name + "_shared", bytes([1 + 2 + 4 + 8, 5]) + wire


def reader_server():
    for name, (owed, wire) in SERVER_CONVERSATIONS.items():
        yield name, bytes([3, len(owed)] + owed) + wire


def startup_logins():
    ann = startup(user="ann", database="club", options="-c geqo=off --work_mem=1MB",
                  application_name="fuzz")
    yield "trust", bytes([TRUST, 1]) + ann
    yield "password", bytes([PASSWORD, 1]) + ann + message("p", z("pencil"))
    inner = hashlib.md5(b"pencilann").hexdigest()
    outer = hashlib.md5(inner.encode() + b"\7\7\7\7").hexdigest()
    yield "md5", bytes([MD5, 1]) + ann + message("p", z("md5" + outer))
    our_nonce, their_nonce = b"abcdefghijklmnopqrstuvwx", base64.b64encode(b"\7" * 18)
    salt = b"0123456789abcdef"
    server_first = b"r=%s,s=%s,i=4" % (our_nonce + their_nonce, base64.b64encode(salt))
    final = b"c=biws,r=" + our_nonce + their_nonce
    proof, _ = scram_proof(b"pencil", salt, 4, b"n=,r=" + our_nonce, server_first, final)
    first = b"n,,n=,r=" + our_nonce
    initial = message("p", z("SCRAM-SHA-256") + struct.pack(">I", len(first)) + first)
    scram = initial + message("p", final + b",p=" + proof)
    yield "scram", bytes([SCRAM, 1]) + ann + scram
    yield from startup_logins_through_tls(ann, initial + message("p", final + b",p=" + proof))
    for user in ("bob", "nobody"):
        yield "scram_" + user, bytes([SCRAM, 2]) + startup(user=user) + scram
    newer = startup(minor=2, user="ann", replication="database")
    yield "newer", bytes([TRUST, 2]) + newer
    newest = startup(minor=9, user="ann", database="club", **{"_pq_.x": "y", "_pq_.z": ""})
    yield "newest", bytes([SCRAM, 2]) + untyped(80877103) + newest + scram
    yield "gssenc", bytes([TRUST, 2]) + untyped(80877104) + untyped(80877103) + ann
    yield "cancel", bytes([TRUST, 1]) + untyped(80877102, b"\0\0\0\1key!")
    yield "cancel_long", bytes([TRUST, 1]) + untyped(80877102, b"\0\0\0\1" + b"k" * 32)
    yield "old", bytes([TRUST, 1]) + untyped(0x20000, b"x" * 288)
    yield "http", bytes([TRUST, 1]) + b"GET / HTTP/1.1\r\n\r\n"


def startup_logins_through_tls(ann, scram):
    ssl = untyped(SSL_REQUEST)
    yield "tls", bytes([TRUST | TLS_OFFERED | TLS_REQUIRED, 1]) + ssl + ann
    yield "tls_after_gssenc", bytes([TRUST | TLS_OFFERED, 1]) + untyped(GSSENC_REQUEST) + ssl + ann
    yield "tls_twice", bytes([TRUST | TLS_OFFERED, 1]) + ssl + ssl + ann
    yield "tls_gssenc_inside", bytes([TRUST | TLS_OFFERED, 1]) + b"\x16" + untyped(GSSENC_REQUEST)
    yield "tls_direct", bytes([TRUST | TLS_OFFERED, 1]) + b"\x16" + ann
    yield "tls_other_alpn", bytes([TRUST | TLS_OFFERED | OTHER_ALPN, 1]) + b"\x16" + ann
    yield "tls_required", bytes([TRUST | TLS_OFFERED | TLS_REQUIRED, 1]) + ann
    yield "tls_not_offered", bytes([TRUST, 1]) + b"\x16\3\1\0\1\0\1\0"
    yield "tls_no_certificate", bytes([TRUST | TLS_OFFERED | CLIENTCERT, 1]) + ssl + ann
    yield "tls_cancel", bytes([TRUST | TLS_OFFERED, 1]) + ssl + untyped(80877102, b"\0\0\0\1key!")
    yield "scram_tls", bytes([SCRAM | TLS_OFFERED, 1]) + ssl + ann + scram
    yield "scram_tls_no_hash", bytes([SCRAM | TLS_OFFERED | NO_HASH, 1]) + ssl + ann + scram
    our_nonce, their_nonce = b"abcdefghijklmnopqrstuvwx", base64.b64encode(b"\7" * 18)
    salt = b"0123456789abcdef"
    server_first = b"r=%s,s=%s,i=4" % (our_nonce + their_nonce, base64.b64encode(salt))
    first = BOUND + b"n=,r=" + our_nonce
    initial = message("p", z("SCRAM-SHA-256-PLUS") + struct.pack(">I", len(first)) + first)
    for name, bound_to in (("scram_plus", END_POINT_HASH), ("scram_plus_between", b"x" * 32)):
        final = b"c=%s,r=%s" % (base64.b64encode(BOUND + bound_to), our_nonce + their_nonce)
        proof, _ = scram_proof(b"pencil", salt, 4, b"n=,r=" + our_nonce, server_first, final)
        plus = initial + message("p", final + b",p=" + proof)
        yield name, bytes([SCRAM | TLS_OFFERED, 1]) + ssl + ann + plus
    yield "scram_downgraded", (bytes([SCRAM | TLS_OFFERED, 1]) + ssl + ann
                               + scram.replace(b"n,,n=", b"y,,n="))


def server_logins():
    welcome = (authentication(0) + message("S", z("TimeZone") + z("UTC"))
               + message("S", z("server_version") + z("15.0"))
               + message("N", b"SNOTICE\0C00000\0Mhello\0\0") + message("K", b"\0\0\0\1key!")
               + READY["I"])
    probe = DESCRIPTION + ROW * 2 + DONE + READY["I"]
    yield "trust", bytes([0, 1]) + welcome
    yield "probe", bytes([4, 1]) + welcome + probe
    yield "replication", bytes([16, 1]) + welcome
    yield "password", bytes([12, 1]) + authentication(3) + welcome + probe
    yield "md5", bytes([2, 1]) + authentication(5, b"salt") + welcome
    nonce = base64.b64encode(bytes(18))
    server_nonce = nonce + b"xyz"
    server_first = b"r=%s,s=%s,i=4" % (server_nonce, base64.b64encode(b"salt"))
    final = b"c=biws,r=" + server_nonce
    _, signature = scram_proof(b"pencil", b"salt", 4, b"n=,r=" + nonce, server_first, final)
    offer = authentication(10, z("SCRAM-SHA-256") + b"\0")
    offer_plus = authentication(10, z("SCRAM-SHA-256-PLUS") + z("SCRAM-SHA-256") + b"\0")
    scram = offer + authentication(11, server_first)
    yield "scram", bytes([4, 1]) + scram + authentication(12, b"v=" + signature) + welcome + probe
    yield "scram_early", bytes([0, 1]) + scram + welcome
    yield "scram_verifier", bytes([3, 1]) + scram
    yield "scram_none", bytes([1, 1]) + scram
    yield "scram_dear", bytes([0, 1]) + offer + authentication(
        11, b"r=%s,s=c2FsdA==,i=1000000" % server_nonce)
    proven = authentication(12, b"v=" + signature) + welcome
    yield "scram_plus_in_the_clear", bytes([0, 1]) + offer_plus
    yield "scram_keys", bytes([1 | KEYS, 1]) + scram + proven
    yield "scram_other_keys", bytes([1 | KEYS, 1]) + scram.replace(b"i=4", b"i=5") + proven
    final = b"c=%s,r=%s" % (base64.b64encode(BOUND + END_POINT_HASH), server_nonce)
    _, signature = scram_proof(b"pencil", b"salt", 4, b"n=,r=" + nonce, server_first, final)
    bound = (b"S" + offer_plus + authentication(11, server_first)
             + authentication(12, b"v=" + signature) + welcome)
    yield "scram_plus", bytes([TLS, 1]) + bound
    yield "scram_plus_required", bytes([TLS | STRICT, 1]) + bound
    yield "scram_plus_keys", bytes([1 | TLS | STRICT | KEYS, 1]) + bound
    yield "scram_plus_struck_out", bytes([TLS, 1]) + b"S" + scram
    yield "scram_plus_left", bytes([TLS | STRICT, 1]) + b"S" + offer_plus + welcome
    yield "binding_required", bytes([TLS | STRICT, 1]) + b"S" + welcome
    yield "tls", bytes([TLS, 1]) + b"S" + welcome
    yield "tls_refused", bytes([TLS, 1]) + b"N" + welcome
    yield "tls_refused_strictly", bytes([TLS | STRICT, 1]) + b"N" + welcome
    yield "tls_error", bytes([TLS, 1]) + error("FATAL", "53300", "no")
    yield "older", bytes([8, 1]) + message("v", b"\0\0\0\0\0\0\0\0") + welcome
    long_key = message("K", b"\0\0\0\1" + b"k" * 32)
    yield "long_key", bytes([0, 1]) + authentication(0) + long_key + READY["I"]
    for name, sqlstate in (("full", "53300"), ("starting", "57P03"), ("no_database", "3D000")):
        yield name, bytes([0, 1]) + error("FATAL", sqlstate, "no")
    yield "too_old", bytes([0, 1]) + b"EFATAL: unsupported frontend protocol\n\0"


def sql():
    texts = {
        "select": "SELECT $1::text, E'a\\'b', U&'\\0041', $tag$ x $tag$ -- c\nFROM \"T\" /* a /* b */ */;",
        "prepare": "PREPARE \"S\" (int) AS SELECT 1; EXECUTE s(1); DEALLOCATE PREPARE s; DEALLOCATE ALL",
        "unicode": "EXECUTE U&\"\\0041!0042\" UESCAPE '!'; EXECUTE U&\"d\\+000061t\"",
        "set": "SET LOCAL x = 1; SET SESSION y TO 'z'; RESET ALL; SELECT set_config('a', 'b', false)",
        "session": "LISTEN c; LOAD 'x'; CREATE TEMP TABLE t (a int); SELECT pg_advisory_lock(1)",
        "cursor": "DECLARE c CURSOR WITH HOLD FOR SELECT nextval('s'), currval('s'), lastval()",
        "into": "SELECT * INTO TEMPORARY t FROM u; DISCARD ALL; DISCARD TEMP",
        "secret": "ALTER ROLE r PASSWORD 'secret'; CREATE USER MAPPING OPTIONS (password 'x')",
        "strings": "SELECT 'a' \n 'b', N'c', B'01', X'ff', 'it''s', 1e5, 0x1F, a->>'b', \"q\"\"q\"",
        "cut": "SELECT 'never ends",
        "options": "-c a=b -cc=d --e=f --work-mem=1MB -d 5 \\ escaped\\ blank",
        "function": "CREATE FUNCTION f() RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT 1; END",
    }
    for name, text in texts.items():
        yield name, text.encode()
    yield "shift_jis", b"SELECT E'\x83\\', $\x83\\$ ' $\x83\\$, \xb1|\x83|; SET x = 1; EXECUTE \"\x83\\\""


def relay():
    """One byte says what is done, the next to what (relay.cpp)."""
    def step(what, client=0, name=0, text=0):
        return bytes([what, client | name << 1 | text << 4])
    (QUERY, PARSE, BIND, DESCRIBE, CLOSE, EXECUTE, SYNC_, FLUSH_, DATA, END_DATA, FUNCTION, RAW,
     ANSWER, ANSWER_RAW, SPECIAL, HOLD) = range(16)
    all_ = step(ANSWER_RAW, text=15)
    yield "shared", b"\3\1" + b"".join((
        step(PARSE, 0, 1, 1), step(BIND, 0, 1), step(EXECUTE), step(SYNC_), all_,
        step(PARSE, 1, 2, 1), step(BIND, 1, 2), step(EXECUTE, 1), step(SYNC_, 1), all_,
        step(BIND, 0, 1), step(DESCRIBE, 0, 1), step(EXECUTE), step(CLOSE, 0, 1), step(SYNC_), all_))
    yield "unnamed", b"\3\1" + b"".join((
        step(PARSE, 0, 0, 1), step(SYNC_), all_, step(PARSE, 1, 0, 2), step(SYNC_, 1), all_,
        step(BIND, 0, 0), step(EXECUTE), step(SYNC_), all_, step(QUERY, 0, 0, 1), all_,
        step(BIND, 1, 0), step(EXECUTE, 1), step(SYNC_, 1), all_))
    yield "evicted", b"\5\1" + b"".join(
        step(PARSE, client, name, text) + step(BIND, client, name) + step(EXECUTE, client)
        + step(SYNC_, client) + all_
        for client, name, text in ((0, 1, 0), (1, 1, 1), (0, 2, 2), (1, 2, 0), (0, 3, 11)))
    yield "failing", b"\3\1" + b"".join((
        step(PARSE, 0, 1, 6), step(BIND, 0, 1), step(SYNC_), step(BIND, 0, 1), step(SYNC_), all_,
        step(QUERY, 1, 0, 2), step(QUERY, 1, 0, 5), step(QUERY, 1, 0, 1), step(QUERY, 1, 0, 4), all_,
        step(PARSE, 0, 1, 1), step(PARSE, 0, 1, 0), step(SYNC_), all_, step(BIND, 0, 1), step(SYNC_)))
    yield "copy", b"\3\1" + b"".join((
        step(QUERY, 0, 0, 7), all_, step(DATA), step(DATA), step(END_DATA), all_,
        step(QUERY, 1, 0, 7), step(DATA, 1), step(END_DATA, 1, 1), step(SYNC_, 1), all_,
        step(PARSE, 0, 1, 13), step(BIND, 0, 1), step(EXECUTE), step(SYNC_), all_, step(DATA),
        step(DATA), step(END_DATA), step(SYNC_), all_))
    yield "by_sql", b"\3\1" + b"".join((
        step(PARSE, 0, 1, 1), step(SYNC_), all_, step(QUERY, 0, 0, 14), all_,
        step(PARSE, 1, 1, 14), step(BIND, 1, 1), step(EXECUTE, 1), step(SYNC_, 1), all_))
    yield "leaving", b"\3\1" + b"".join((
        step(PARSE, 0, 1, 1), step(SYNC_), step(SPECIAL, 0, 0), step(PARSE, 1, 1, 1),
        step(SYNC_, 1), all_, step(QUERY, 1, 0, 2), step(SPECIAL, 1, 0), step(QUERY, 0, 0, 1), all_))
    yield "pieces", b"\3\1" + b"".join((
        step(HOLD, 0, 3), step(PARSE, 0, 1, 15), step(ANSWER, text=3), step(HOLD, 0, 5),
        step(BIND, 0, 1, 15), step(EXECUTE), step(SYNC_), step(ANSWER, text=9), all_))
    yield "hostile", b"\2\1" + b"".join((
        step(PARSE, 0, 1, 1), step(BIND, 0, 1), step(EXECUTE), step(SYNC_),
        b"\x0c\x05\x0c\x00\x0c\x01\x0c\x02\x0c\x0b",
        step(RAW, 0, 0, 1) + CLIENT_CONVERSATIONS["extended"][:16]))


def hba():
    """A client, a flag byte, the file, and the files a, b, c (hba.cpp)."""
    def case(text, *files, who=("shop", "ann", "app.example.com"), flags=b"0"):
        return b"\0".join([part.encode() for part in who] + [flags + text.encode()]
                          + [each.encode() for each in files])
    methods = "\n".join("hostssl all all all %s" % method for method in (
        "trust", "reject", "password", "md5", "scram-sha-256", "cert map=m",
        "md5 clientcert=verify-ca,clientname=DN"))
    yield "methods", case(methods + "\nlocal all all peer map=m")
    yield "addresses", case("\n".join("host all bob %s md5" % address for address in (
        "10.0.0.0/8", "10.0.0.0 255.0.0.0", "::1/128", "fe80:: ffff::", "::ffff:1.2.3.4/96", "samehost",
        "samenet", "all", "localhost", ".example.com")))
    yield "names", case('host "all",all,sameuser,samerole,replication +staff,/^a.*$,"+x",ann all md5',
                        flags=b"8")
    yield "groups", case("host all +staff all reject\nhost samegroup all .example.com md5\n"
                         "host all all 10.0.0.0/8 trust")
    yield "files", case("local @a @b peer # ok\ninclude c\ninclude_if_exists d\n", "x,y\n@b", "z",
                        "host all all all \\\n md5", flags=b"3")
    yield "itself", case("@a\ninclude b", "@a", "include b\ninclude b")
    yield "quotes", case('local "a ""b"",c"d all peer map="x y" \\\n\n local all "# ')
    yield "patterns", case('host /^(a|b)[[:alpha:]]{1,5}$ "/^x,y\\.z$" all md5\n'
                           "host /(a*)*(b+)+$ /a{100} all md5")
    yield "maps", case("m ann ann\nm /^(.*)@example$ \\1\nm /(a)|b x\\1y\nm root all",
                       who=("ann@example", "ann", ""))


def userlist():
    yield "forms", (b'; comment\n"ann" "plain"\n"bob" "md5' + b"0123456789abcdef" * 2
                    + b'" rest\r\n# more\n"it""s" "se""cret"\n')
    yield "scram", (b'"ann" "SCRAM-SHA-256$4096:QyY1e078GKZyCFGMsLKvrw==$'
                    b"J8K5do4xna10BmH5uXAemH3xSz6dlwAhu8cTfh+oBEc=:"
                    b'q0/Hxw29dXoiaYxPQG64/lekmxgt1ojEMPjW6KUP7Mo="\n"bob" "SCRAM-SHA-256$x"')
    yield "wrong", b'ann "x"\n"bob\n"eve" \n"" "x"\n"a" "x"\n"a" "y"'


def proxy_headers():
    signature = b"\r\n\r\n\0\r\nQUIT\n"
    yield "version_1", b"PROXY TCP4 192.0.2.7 10.0.0.1 4711 6432\r\n" + startup(user="ann")
    yield "version_1_ipv6", b"PROXY TCP6 2001:db8::1 ::1 4711 6432\r\n"
    yield "unknown", b"PROXY UNKNOWN ffff:f...f:ffff 65535 65535\r\n"
    yield "version_2", (signature + b"\x21\x11" + struct.pack(">H", 12) + bytes([192, 0, 2, 7, 10, 0, 0, 1])
                        + struct.pack(">HH", 4711, 6432) + startup(user="ann"))
    yield "version_2_ipv6", (signature + b"\x21\x21" + struct.pack(">H", 39) + b"\x20" * 32
                             + struct.pack(">HH", 4711, 6432) + b"\4\0\0")
    yield "local", signature + b"\x20\x00\0\0"


def options():
    yield "switches", b"-c work_mem=1MB --statement-timeout=9s -c search_path=a,\\ b"
    yield "joined", b"-cgeqo=off  -c\tdatestyle=iso\\,\\ dmy"
    yield "no_name", b"-c= -c =x --=x -c"
    yield "refused", b"-c a=b -d 5"


TARGETS = {
    "reader_client": reader_client, "reader_server": reader_server, "startup": startup_logins,
    "server_login": server_logins, "sql": sql, "relay": relay,
    "hba": hba, "userlist": userlist, "options": options, "proxy_header": proxy_headers,
}


def main():
    for target, inputs in TARGETS.items():
        folder = os.path.join(CORPUS, target)
        os.makedirs(folder, exist_ok=True)
        for name, data in inputs():
            with open(os.path.join(folder, name), "wb") as file:
                file.write(data)


if __name__ == "__main__":
    main()
