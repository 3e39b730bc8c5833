"""Workers that take jobs by FOR UPDATE SKIP LOCKED, each in a transaction; some fail and are tried again."""

import threading

import psycopg2

from integration.applications.sessions.printing import tell

JOBS = 150
TAKE = """
update shop.jobs set done_by = %s where id = (
  select id from shop.jobs where done_by is null order by id for update skip locked limit 1)
returning id, payload
"""


def work(name, taken, failures):
    try:
        connection = psycopg2.connect("", application_name=name)
        with connection, connection.cursor() as cursor:
            cursor.execute("set search_path = shop")
            cursor.execute("set lock_timeout = '9s'")
            cursor.execute("select set_config('app.tenant', %s, false)", (name,))
        tries = 0
        while True:
            with connection.cursor() as cursor:
                cursor.execute(TAKE, (name,))
                job = cursor.fetchone()
                if job is None:
                    connection.rollback()
                    break
                tries += 1
                cursor.execute("select current_setting('app.tenant'), current_schema(), current_setting('lock_timeout')")
                assert cursor.fetchone() == (name, "shop", "9s"), "another's settings"
                if tries % 7 == 0:  # it fails after having done something
                    cursor.execute("insert into orders (tenant, product, amount) values ('never', 1, 1)")
                    connection.rollback()
                    continue
                cursor.execute("insert into orders (tenant, product, amount) values ('job', 1, %s)", (job[0],))
                connection.commit()
                taken.append(job)
        connection.close()
    except Exception as failure:
        failures.append("%s: %r" % (name, failure))


def main():
    connection = psycopg2.connect("")
    with connection, connection.cursor() as cursor:
        cursor.execute("insert into shop.jobs (payload) select 'job ' || n from generate_series(1, %s) n", (JOBS,))
    taken, failures = [], []
    workers = [threading.Thread(target=work, args=("worker %d" % n, taken, failures)) for n in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    tell("failures", failures)
    tell("taken", (len(taken), len(set(taken)), sorted(taken)[:3]))
    with connection, connection.cursor() as cursor:
        cursor.execute("select count(*), count(distinct amount), sum(amount) from shop.orders where tenant = 'job'")
        tell("orders", cursor.fetchone())
        cursor.execute("select count(*) from shop.orders where tenant = 'never'")
        tell("never", cursor.fetchone())
        cursor.execute("select count(*) from shop.jobs where done_by is null")
        tell("left", cursor.fetchone())
    connection.close()


if __name__ == "__main__":
    main()
