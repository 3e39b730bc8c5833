"""A fitness club's Telegram bot, as small as it can be: the handlers are those of any bot of its kind,
the database layer is what is left of one that had a connection pool of its own.

Before, get_db_cursor() borrowed a connection from psycopg2's ThreadedConnectionPool(5, 50). Now every
user's conversation has a plain psycopg2.connect() of its own, and the pool is somebody else's business.
"""

import contextlib

import psycopg2

SCHEMA = """
create table if not exists members (
    id int primary key, name text not null, credits int not null default 0);
create table if not exists bookings (
    id bigserial primary key, member int not null references members, class text not null,
    nonce text not null);
create index if not exists bookings_member on bookings (member);
"""


class NoCreditsLeft(Exception):
    """What a handler raises when the member may not book."""


class Database:
    """One user's connection, opened when first needed, and again after it was lost."""

    def __init__(self, dsn):
        self.dsn = dsn
        self.connection = None

    @contextlib.contextmanager
    def get_db_cursor(self):
        """A cursor in a transaction: committed when the block ends, rolled back when it raises."""
        if self.connection is None or self.connection.closed:
            self.connection = psycopg2.connect(**self.dsn)
        try:
            with self.connection.cursor() as cursor:
                yield cursor
            self.connection.commit()
        except Exception:
            if not self.connection.closed:
                with contextlib.suppress(psycopg2.Error):
                    self.connection.rollback()
            raise

    def close(self):
        if self.connection is not None:
            self.connection.close()


class Bot:
    """The handlers. Each message of a user carries a nonce, and its answer must too."""

    def __init__(self, dsn, member):
        self.database = Database(dsn)
        self.member = member

    def start(self, name):
        """/start: a member introduces herself."""
        with self.database.get_db_cursor() as cursor:
            cursor.execute("insert into members (id, name, credits) values (%s, %s, 1000000)"
                           " on conflict (id) do update set name = excluded.name returning id, name",
                           (self.member, name))
            return cursor.fetchone()

    def profile(self, nonce):
        """/profile: two reads in one transaction, as the bot's real handler has them."""
        with self.database.get_db_cursor() as cursor:
            cursor.execute("select id, name, %s from members where id = %s", (nonce, self.member))
            who = cursor.fetchone()
            cursor.execute("select count(*), %s from bookings where member = %s",
                           (nonce, self.member))
            return who + cursor.fetchone()

    def book(self, title, nonce):
        """/book: takes a credit and writes the booking; both or neither."""
        with self.database.get_db_cursor() as cursor:
            cursor.execute("update members set credits = credits - 1 where id = %s"
                           " returning id, credits", (self.member,))
            who, credits_left = cursor.fetchone()
            if credits_left < 0:
                raise NoCreditsLeft
            cursor.execute("insert into bookings (member, class, nonce) values (%s, %s, %s)"
                           " returning member, nonce", (self.member, title, nonce))
            return (who,) + cursor.fetchone()

    def book_and_change_mind(self, nonce):
        """A booking whose handler fails half-way: nothing of it may stay."""
        with contextlib.suppress(NoCreditsLeft), self.database.get_db_cursor() as cursor:
            cursor.execute("insert into bookings (member, class, nonce) values (%s, 'never', %s)",
                           (self.member, nonce))
            raise NoCreditsLeft

    def mistyped(self):
        """A handler with a bug: the error is PostgreSQL's, and the next message is answered."""
        with contextlib.suppress(psycopg2.errors.UndefinedColumn):
            with self.database.get_db_cursor() as cursor:
                cursor.execute("select no_such_column from members where id = %s", (self.member,))
