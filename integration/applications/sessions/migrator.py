"""Three instances of a service start at once and migrate: a session advisory lock (Rails tries, golang-migrate
waits), each migration a transaction with its row in a table of versions, one of them outside any."""

import threading

import psycopg2

from integration.applications.sessions.printing import tell

KEY = 4711
MIGRATIONS = (
    (1, "create schema service; create table service.members (id serial primary key, name text)"),
    (2, "alter table service.members add column joined date; insert into service.members (name) select 'm' || n"
        " from generate_series(1, 50) n"),
    (3, "set local lock_timeout = '5s'; update service.members set joined = '2026-01-01' where id % 2 = 0"),
    (4, "create index members_joined on service.members (joined); vacuum analyze service.members"),
    (5, "create function service.size() returns bigint language sql as 'select count(*) from service.members'"),
)


def migrate(connection, done):
    with connection.cursor() as cursor:
        cursor.execute("create table if not exists public.schema_versions (version int primary key)")
        cursor.execute("select version from public.schema_versions")
        known = {version for version, in cursor.fetchall()}
        for version, sql in MIGRATIONS:
            if version in known:
                continue
            in_transaction = "vacuum" not in sql
            if in_transaction:
                cursor.execute("begin")
            for statement in sql.split("; "):
                cursor.execute(statement)
            cursor.execute("insert into public.schema_versions values (%s)", (version,))
            if in_transaction:
                cursor.execute("commit")
            done.append(version)


def instance(waits, done, held):
    connection = psycopg2.connect("", application_name="migrator")
    connection.autocommit = True
    with connection.cursor() as cursor:
        while True:
            cursor.execute("select pg_advisory_lock(%s)" if waits else "select pg_try_advisory_lock(%s)", (KEY,))
            if cursor.fetchone()[0] is not False:
                break
        held.append(1)
        assert len(held) == 1, "two hold the lock"
        migrate(connection, done)
        cursor.execute("select count(*) from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()")
        assert cursor.fetchone() == (1,), "the lock is not this session's"
        held.pop()
        cursor.execute("select pg_advisory_unlock(%s)", (KEY,))
        assert cursor.fetchone() == (True,), "the lock was not held"
        cursor.execute("select service.size()")
        assert cursor.fetchone() == (50,)
    connection.close()


def main():
    done, held, failures = [], [], []

    def guarded(waits):
        try:
            instance(waits, done, held)
        except Exception as failure:
            failures.append(repr(failure))

    for waits in (True, False):
        threads = [threading.Thread(target=guarded, args=(waits,)) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        tell("migrated", (done, failures))
    connection = psycopg2.connect("")
    with connection.cursor() as cursor:
        cursor.execute("select joined, count(*) from service.members group by 1 order by 1")
        tell("members", cursor.fetchall())
        cursor.execute("select indexname from pg_indexes where schemaname = 'service' order by 1")
        tell("indexes", cursor.fetchall())
    connection.close()


if __name__ == "__main__":
    main()
