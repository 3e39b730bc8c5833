"""psycopg 3: statements it prepares by itself, pipelines, COPY, binary, asyncio."""

import asyncio

import psycopg
from psycopg.rows import dict_row

from integration.applications.sessions.printing import refused, tell

IDENTITY = ("select current_user, current_setting('search_path'), current_setting('timezone'),"
            " nullif(current_setting('app.tenant', true), '')")


def prepared(connection):
    """From the fifth time on a statement has a name; one that changes its types has another."""
    for n in range(12):
        with connection.transaction():
            row = connection.execute("select name, price from shop.products where id = %s", (n + 1,)).fetchone()
            tell("product", row)
    for n in range(8):
        tell("auto", connection.execute("select %s::int + 1", (n,), prepare=True).fetchone())
    connection.prepared_max = 3
    for n in range(6):
        tell("evicting", connection.execute("select %s::int, " + str(n), (n,), prepare=True).fetchone())
    connection.commit()


def transactions(connection):
    with connection.transaction():
        connection.execute("set search_path = shop")
        connection.execute("set time zone 'Asia/Kolkata'")
        connection.execute("select set_config('app.tenant', 'tenant3', false)")
    for _ in range(3):
        with connection.transaction():
            tell("identity", connection.execute(IDENTITY).fetchone())
    with connection.transaction():
        connection.execute("insert into orders (tenant, product, amount) values ('outer', 1, 1)")
        try:
            with connection.transaction():
                connection.execute("insert into orders (tenant, product, amount) values ('inner', 1, 1)")
                connection.execute("insert into orders (tenant, product, amount) values ('inner', 1, -1)")
        except psycopg.errors.CheckViolation as error:
            tell("check", error.diag.constraint_name)
        with connection.transaction(savepoint_name="named", force_rollback=True):
            connection.execute("set role shop_reader")
            tell("within", connection.execute(IDENTITY).fetchone())
    for _ in range(2):
        with connection.transaction():
            tell("identity", connection.execute(IDENTITY).fetchone())
            tell("orders", connection.execute(
                "select tenant, count(*) from orders where tenant in ('outer', 'inner') group by 1").fetchall())
    refused("undefined", connection.execute, "select * from nowhere")
    refused("failed", connection.execute, "select 1")
    connection.rollback()


def pipelines(connection):
    with connection.pipeline():
        with connection.transaction():
            first = connection.execute("select 1 as a")
            connection.execute("set local app.tenant = 'piped'")
            second = connection.execute(IDENTITY)
        third = connection.execute(IDENTITY)
        tell("pipelined", (first.fetchone(), second.fetchone(), third.fetchone()))
    connection.commit()
    with connection.pipeline() as pipeline:
        rows = [connection.execute("select %s::text", (str(n),), prepare=True) for n in range(10)]
        pipeline.sync()
        tell("ten", [row.fetchone()[0] for row in rows])
    connection.commit()
    with connection.cursor() as cursor:
        cursor.executemany("insert into orders (tenant, product, amount) values (%s, %s, %s) returning amount",
                           [("many", n, n) for n in range(1, 8)], returning=True)
        amounts = []
        while True:
            amounts += [row[0] for row in cursor.fetchall()]
            if not cursor.nextset():
                break
        tell("many", amounts)
    connection.commit()


def cursors_and_copy(connection):
    with connection.transaction(), connection.cursor("server", row_factory=dict_row) as cursor:
        cursor.execute("select id, name from products order by id")
        tell("server cursor", (cursor.fetchmany(2), cursor.fetchone()))
    with connection.transaction(), connection.cursor("scrolled", scrollable=True, withhold=True) as cursor:
        cursor.execute("select id from products order by id")
        cursor.scroll(5)
        tell("scrolled", cursor.fetchone())
    with connection.transaction(), connection.cursor() as cursor:
        with cursor.copy("copy products (name, price) from stdin") as copy:
            for n in range(100, 105):
                copy.write_row(("copied %d" % n, n))
        with cursor.copy("copy (select name from products where id > 19 order by id) to stdout") as copy:
            tell("rows", list(copy.rows()))
    with connection.transaction():
        tell("binary", connection.execute(
            "select 1.5::numeric, array[1, 2], '2026-03-04 05:06:07+00'::timestamptz", binary=True).fetchone())


async def concurrently():
    """Three connections at once on two servers, each with its own tenant."""
    async def one(tenant):
        async with await psycopg.AsyncConnection.connect("", autocommit=True) as connection:
            await connection.execute("select set_config('app.tenant', %s, false)", (tenant,))
            await connection.execute("set role shop_reader")
            seen = []
            for n in range(8):
                cursor = await connection.execute(
                    "select count(*), min(tenant), max(tenant) from shop.visible where value <> %s", ("%d" % n,))
                seen.append(await cursor.fetchone())
            return tenant, seen
    for tenant, seen in await asyncio.gather(*(one("tenant%d" % n) for n in range(3))):
        tell(tenant, seen)


def main():
    with psycopg.connect("", application_name="three", options="-c DateStyle=ISO,DMY") as connection:
        tell("date style", connection.info.parameter_status("DateStyle"))
        connection.rollback()
        prepared(connection)
        transactions(connection)
        pipelines(connection)
        cursors_and_copy(connection)
        connection.autocommit = True
        for _ in range(3):
            tell("autocommit", connection.execute(IDENTITY).fetchone())
        tell("reported", [connection.info.parameter_status(name) for name in ("TimeZone", "DateStyle")])
    asyncio.run(concurrently())


if __name__ == "__main__":
    main()
