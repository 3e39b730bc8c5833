"""What the database has before an application comes: roles to become, tables that show by row security
who is asking, and one schema for each contender. Made past the pooler, anew for every run, because an
application leaves its tables behind."""

from integration.state.stage import HBA
from integration.support.postgres import DATABASE, OWNER, Postgres

CONTENDERS = 3

TABLES = """
create table shop.products (id serial primary key, name text not null unique, price numeric(10, 2),
                            tags text[], changed timestamptz);
insert into shop.products (name, price, tags, changed)
  select 'product ' || n, n * 1.25, array['tag' || n % 3], '2026-01-01 12:00:00+00'::timestamptz + n * '1 day'::interval
  from generate_series(1, 20) n;
create table shop.orders (id serial primary key, tenant text not null, product int references shop.products,
                          amount int check (amount > 0));
insert into shop.orders (tenant, product, amount) select 'tenant' || n % 4, n, n from generate_series(1, 20) n;
create index on shop.orders (tenant);
create view shop.expensive as select * from shop.products where price > 20;
create function shop.total(int) returns bigint language sql stable as
  $$ select sum(amount) from shop.orders where product <= $1 $$;
create function shop.tell() returns trigger language plpgsql as
  $$ begin perform pg_notify('orders', new.tenant || ' ' || new.amount); return new; end $$;
create table shop.jobs (id serial primary key, payload text, done_by text);
create table shop.visible (tenant text, value text);
insert into shop.visible select 'tenant' || n % 4, 'value ' || n from generate_series(1, 12) n;
alter table shop.visible enable row level security;
create policy own on shop.visible using (tenant = current_setting('app.tenant', true));
grant usage on schema shop to shop_reader, shop_writer, web_anon, web_user;
grant select on all tables in schema shop to shop_reader, web_anon, web_user;
grant insert on shop.orders to shop_writer, web_user;
grant usage on all sequences in schema shop to shop_writer, web_user;
"""


def start_postgres():
    return Postgres(hba=HBA, max_prepared_transactions=10).start()


def noise_of(number):
    """A contender's role, and schema."""
    return "noise_%d" % number


def prepare(postgres):
    """The database as it is at first, whatever the last application did to it."""
    postgres.query("drop database if exists %s with (force)" % DATABASE)
    postgres.query("create database %s owner %s" % (DATABASE, OWNER))
    names = [name for name, in postgres.query("select rolname from pg_roles")]
    if "shop_reader" not in names:
        for statement in ("create role shop_reader", "create role shop_writer", "create role web_anon",
                          "create role web_user",
                          "grant shop_reader, shop_writer, web_anon, web_user to " + OWNER):
            postgres.query(statement)
        for number in range(CONTENDERS):
            postgres.query("create role %s" % noise_of(number))
            postgres.query("grant %s to %s" % (noise_of(number), OWNER))
    statements = ["create schema shop authorization " + OWNER,
                  "set role %s; %s" % (OWNER, TABLES)]
    for number in range(CONTENDERS):
        noise = noise_of(number)
        statements.append(
            "create schema {0}; grant usage on schema {0} to public;"
            "create table {0}.products as select '{0}'::text as name; create table {0}.whoami as"
            " select '{0}'::text as value; grant select on all tables in schema {0} to public".format(noise))
    for statement in statements:
        postgres.query(statement, database=DATABASE)
