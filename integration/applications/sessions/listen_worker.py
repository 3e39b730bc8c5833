"""A worker that LISTENs and waits in select(), as psycopg2's documentation shows it, while others write."""

import select

import psycopg2
from psycopg2.extensions import ISOLATION_LEVEL_AUTOCOMMIT

from integration.applications.sessions.printing import tell

SECONDS = 20


def wait_for(connection, count):
    """That many notifications, or fewer when no more come."""
    while len(connection.notifies) < count and select.select([connection], [], [], SECONDS)[0]:
        connection.poll()
    heard = list(connection.notifies)
    connection.notifies.clear()
    return heard


def main():
    listener = psycopg2.connect("", application_name="listener")
    listener.set_isolation_level(ISOLATION_LEVEL_AUTOCOMMIT)
    commands = listener.cursor()
    commands.execute("set search_path = shop")
    commands.execute("create trigger telling after insert on orders for each row execute function shop.tell()")
    commands.execute("listen orders")
    commands.execute('listen "Other Channel"')

    writer = psycopg2.connect("")
    with writer.cursor() as cursor:
        for number in range(1, 6):
            cursor.execute("insert into shop.orders (tenant, product, amount) values ('told', 1, %s)", (number,))
            cursor.execute("select pg_backend_pid()")
            process_id, = cursor.fetchone()
            if number == 4:
                writer.rollback()
                continue
            writer.commit()
            heard = wait_for(listener, 1)
            tell("heard", [(one.channel, one.payload, one.pid == process_id) for one in heard])
            commands.execute("select amount, current_schema() from orders where tenant = 'told' order by id desc limit 1")
            tell("looked up", commands.fetchone())
        cursor.execute("notify \"Other Channel\", 'two'; notify orders; notify unheard, 'x'; notify orders")
        writer.commit()
    tell("heard", sorted((one.channel, one.payload) for one in wait_for(listener, 2)))
    commands.execute("notify orders, 'to myself'")
    tell("of myself", [(one.channel, one.payload) for one in wait_for(listener, 1)])
    commands.execute("unlisten orders")
    with writer, writer.cursor() as cursor:
        cursor.execute("notify orders, 'nobody listens'; notify \"Other Channel\", 'last'")
    tell("after UNLISTEN", [(one.channel, one.payload) for one in wait_for(listener, 1)])
    commands.execute("select pg_listening_channels()")
    tell("channels", commands.fetchall())
    listener.close()
    writer.close()


if __name__ == "__main__":
    main()
