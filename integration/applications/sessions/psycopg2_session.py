"""psycopg2, much of what it can do."""

import io

import psycopg2
import psycopg2.extras

from integration.applications.sessions.printing import refused, tell

IDENTITY = ("select current_user, session_user, current_setting('search_path'), current_setting('timezone'),"
            " current_setting('statement_timeout'), nullif(current_setting('app.tenant', true), '')")


def transactions(connection):
    with connection, connection.cursor() as cursor:
        cursor.execute("set search_path = shop")
        cursor.execute("set time zone 'Europe/Berlin'")
        cursor.execute("select set_config('app.tenant', %s, false)", ("tenant2",))
    for _ in range(3):
        with connection, connection.cursor() as cursor:
            cursor.execute(IDENTITY)
            tell("identity", cursor.fetchone())
            cursor.execute("select count(*), min(changed) from products where id > %s", (7,))
            tell("products", cursor.fetchone())
            cursor.execute("select * from visible order by value")
            tell("visible to me as the owner", len(cursor.fetchall()))
    with connection, connection.cursor() as cursor:
        cursor.execute("set role shop_reader")
    for _ in range(3):
        with connection, connection.cursor() as cursor:
            cursor.execute(IDENTITY)
            tell("identity as reader", cursor.fetchone())
            cursor.execute("select * from visible order by value")
            tell("visible as reader", cursor.fetchall())
    refused("insert as reader", connection.cursor().execute,
            "insert into orders (tenant, product, amount) values ('x', 1, 1)")
    refused("after an error", connection.cursor().execute, "select 1")
    connection.rollback()
    with connection, connection.cursor() as cursor:
        cursor.execute("reset role")
    with connection, connection.cursor() as cursor:
        cursor.execute("set role shop_writer")
        cursor.execute(IDENTITY)
        tell("to be rolled back", cursor.fetchone())
        connection.rollback()
        cursor.execute(IDENTITY)
        tell("rolled back", cursor.fetchone())


def savepoints(connection):
    with connection, connection.cursor() as cursor:
        cursor.execute("savepoint one")
        cursor.execute("set app.tenant = 'within'")
        refused("division", cursor.execute, "select 1/0")
        cursor.execute("rollback to one")
        cursor.execute(IDENTITY)
        tell("after rollback to", cursor.fetchone())
        cursor.execute("release one")


def cursors(connection):
    with connection, connection.cursor("named", cursor_factory=psycopg2.extras.DictCursor) as cursor:
        cursor.itersize = 4
        cursor.execute("select id, name from products order by id")
        tell("named cursor", [row["name"] for row in cursor][:9])
    cursor = connection.cursor("held", withhold=True)
    cursor.execute("select id from products order by id")
    connection.commit()
    tell("held cursor", [cursor.fetchmany(6), cursor.fetchmany(3)])
    connection.commit()
    tell("held cursor", cursor.fetchall())
    cursor.close()
    connection.commit()


def bulk(connection):
    with connection, connection.cursor() as cursor:
        cursor.execute("create temp table incoming (id int, name text) on commit drop")
        cursor.copy_expert("copy incoming from stdin", io.StringIO("".join(
            "%d\tname %d\n" % (n, n) for n in range(2000))))
        cursor.execute("select count(*), max(name) from incoming")
        tell("copied", cursor.fetchone())
        out = io.StringIO()
        cursor.copy_expert("copy (select * from incoming where id < 3) to stdout", out)
        tell("copied out", repr(out.getvalue()))
        psycopg2.extras.execute_values(
            cursor, "insert into orders (tenant, product, amount) values %s returning tenant, amount",
            [("bulk", n, n) for n in range(1, 6)])
        tell("values", cursor.fetchall())
    with connection, connection.cursor() as cursor:
        cursor.execute("select to_regclass('incoming')")
        tell("temp table", cursor.fetchone())


def session_features(connection):
    connection.set_session(isolation_level="SERIALIZABLE", readonly=True)
    with connection, connection.cursor() as cursor:
        cursor.execute("select current_setting('transaction_isolation'), current_setting('transaction_read_only')")
        tell("characteristics", cursor.fetchone())
        refused("read only", cursor.execute, "insert into orders (tenant, product, amount) values ('x', 1, 1)")
        connection.rollback()
    connection.set_session(isolation_level="DEFAULT", readonly="DEFAULT")
    connection.set_client_encoding("LATIN1")
    for _ in range(2):
        with connection, connection.cursor() as cursor:
            cursor.execute("select 'é' || chr(233), current_setting('client_encoding')")
            tell(connection.encoding, cursor.fetchone())
    connection.set_client_encoding("UTF8")
    tell("reported", [connection.get_parameter_status(name) for name in
                      ("TimeZone", "client_encoding", "DateStyle", "application_name", "is_superuser")])
    connection.autocommit = True
    with connection.cursor() as cursor:
        for _ in range(3):
            cursor.execute(IDENTITY)
            tell("autocommit", cursor.fetchone())
            cursor.callproc("shop.total", (5,))
            tell("function", cursor.fetchone())
        cursor.execute("do $$ begin raise notice 'noticed by %', current_setting('app.tenant'); end $$")
    tell("notices", connection.notices[-1:])
    connection.autocommit = False


def large_objects_and_two_phase(connection):
    with connection:
        large = connection.lobject(0, "wb")
        large.write(b"x" * 100000)
        number = large.oid
        large.close()
    with connection:
        large = connection.lobject(number, "rb")
        tell("large object", (len(large.read()), large.tell()))
        large.unlink()
    connection.tpc_begin(connection.xid(1, "global", "branch"))
    with connection.cursor() as cursor:
        cursor.execute("insert into shop.orders (tenant, product, amount) values ('phase', 1, 1)")
    connection.tpc_prepare()
    connection.reset()
    tell("in doubt", [str(one) for one in connection.tpc_recover()])
    connection.tpc_commit(connection.xid(1, "global", "branch"))
    with connection, connection.cursor() as cursor:
        cursor.execute(IDENTITY)
        tell("after reset()", cursor.fetchone())
        cursor.execute("select count(*) from shop.orders where tenant = 'phase'")
        tell("committed", cursor.fetchone())


def main():
    connection = psycopg2.connect(
        "", application_name="the shop", options="-c statement_timeout=54321 -c search_path=shop,public")
    with connection, connection.cursor() as cursor:
        cursor.execute(IDENTITY)
        tell("at first", cursor.fetchone())
    transactions(connection)
    savepoints(connection)
    cursors(connection)
    bulk(connection)
    session_features(connection)
    large_objects_and_two_phase(connection)
    connection.close()


if __name__ == "__main__":
    main()
