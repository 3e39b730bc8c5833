"""What PostgREST sends for a request: one transaction that becomes somebody and says what is asked by
set_config(…, true), in prepared statements. Several connections of a pool, requests in turn."""

import json
import threading

import psycopg

from integration.applications.sessions.printing import tell

SET_UP = ("select set_config('search_path', %s, true), set_config('role', %s, true),"
          " set_config('request.jwt.claims', %s, true), set_config('request.method', %s, true),"
          " set_config('request.path', %s, true), set_config('app.tenant', %s, true),"
          " set_config('timezone', 'Europe/Lisbon', true)")
READ = ("with source as (select value from visible order by value) select coalesce(json_agg(source), '[]')::text,"
        " current_user, current_setting('request.jwt.claims')::json ->> 'sub', current_setting('request.path'),"
        " current_setting('timezone') from source")
OUTSIDE = ("select current_user, nullif(current_setting('request.jwt.claims', true), ''),"
           " current_setting('search_path'), current_setting('timezone')")


def request(connection, number):
    role = ("shop_reader", "web_user", "web_anon")[number % 3]
    tenant = "tenant%d" % (number % 4)
    connection.execute("begin isolation level read committed" + (" read only" if number % 2 else ""))
    try:
        connection.execute(SET_UP, ("shop", role, json.dumps({"sub": "user %d" % number}), "GET",
                                    "/visible/%d" % number, tenant), prepare=True)
        row = connection.execute(READ, prepare=True).fetchone()
        if number % 5 == 4:
            connection.execute("insert into orders (tenant, product, amount) values (%s, 1, 1)", (tenant,))
        connection.execute("commit")
        return row
    except psycopg.Error as error:
        connection.execute("rollback")
        return error.sqlstate


def worker(offset, answers):
    with psycopg.connect("", autocommit=True) as connection:
        for number in range(offset, 45, 3):
            answers[number] = (request(connection, number), connection.execute(OUTSIDE).fetchone())


def with_set_local():
    """The same by SET LOCAL in simple queries."""
    with psycopg.connect("", autocommit=True, cursor_factory=psycopg.ClientCursor) as connection:
        for number in range(6):
            connection.execute("begin; set local role web_user; set local search_path = shop;"
                               " set local app.tenant = 'tenant%d'" % (number % 4))
            seen = connection.execute("select current_user, min(tenant), max(tenant) from visible").fetchone()
            connection.execute("rollback" if number % 2 else "commit")
            tell("set local", (seen, connection.execute(OUTSIDE).fetchone()))


def main():
    answers = {}
    threads = [threading.Thread(target=worker, args=(offset, answers)) for offset in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number in sorted(answers):
        tell(number, answers[number])
    with_set_local()


if __name__ == "__main__":
    main()
