"""What the database has before the first client comes: roles, and objects that hide what they do to the
session behind names that say nothing about it. Made past the pooler."""

from integration.support.postgres import DATABASE

USER = "state_user"              # who the clients are, unless a kind says otherwise
SUPERUSER = "state_superuser"
CONFIGURED = "state_configured"  # has settings of its own, by ALTER ROLE
CONFINED = "state_confined"      # has a role to begin with, by ALTER ROLE
LOGINS = (USER, SUPERUSER, CONFIGURED, CONFINED)
HBA = "local all all trust\nhost all all 127.0.0.1/32 trust\n"

PLACES = 12  # roles and schemas to choose from: one for each of a dozen clients, and everybody's next


def role_of(number):
    return "state_role_%d" % (number % PLACES)


def schema_of(number):
    return "state_schema_%d" % (number % PLACES)


HIDDEN = """
create schema hidden;
create function hidden.tune(text, text) returns void language plpgsql as
  $$ begin perform set_config($1, $2, false); end $$;
create function hidden.tune_sql(text, text) returns text language sql as
  $$ select set_config($1, $2, false) $$;
create function hidden.tune_dynamically(text, text) returns void language plpgsql as
  $$ begin execute format('s' || 'et %s = %L', $1, $2); end $$;
create function hidden.tune_for_itself() returns text language sql
  set join_collapse_limit = 3 as $$ select current_setting('join_collapse_limit') $$;
create function hidden.tune_all_the_same(text) returns text language plpgsql
  set join_collapse_limit = 3 as
  $$ begin perform set_config('from_collapse_limit', $1, false);
     return current_setting('join_collapse_limit'); end $$;
create procedure hidden.tune_and_commit(text, text) language plpgsql as
  $$ begin perform set_config('join_collapse_limit', $1, false); commit;
     perform set_config('join_collapse_limit', $2, false); rollback;
     end $$;
create function hidden.undo() returns void language plpgsql as
  $$ begin execute 're' || 'set all'; end $$;
create view hidden.tuned as
  select set_config('from_collapse_limit', (1 + random() * 1e9)::int::text, false) as value;
create function hidden.become(text) returns void language plpgsql as
  $$ begin execute format('set role %I', $1); end $$;
create function hidden.become_wholly(text) returns void language plpgsql as
  $$ begin execute format('set session authorization %I', $1); end $$;
create function hidden.become_by_joining(text) returns void language plpgsql as
  $$ begin execute 'set role ' || quote_ident($1); end $$;
create function hidden.stash(text) returns void language plpgsql as
  $$ begin create temp table mine (value text); insert into mine values ($1); end $$;
create function hidden.open(text) returns void language plpgsql as
  $$ begin execute format('declare mine cursor with hold for select %L from generate_series(1, 9)', $1);
  end $$;
create function hidden.remember(text) returns void language plpgsql as
  $$ begin execute format('prepare mine as select %L', $1); end $$;
create function hidden.claim(bigint) returns void language plpgsql as
  $$ begin perform pg_advisory_lock($1); end $$;
create function hidden.claim_together(bigint) returns void language sql as
  $$ select pg_advisory_lock_shared($1) $$;
create function hidden.yield(bigint) returns boolean language plpgsql as
  $$ begin return pg_advisory_unlock($1); end $$;
create function hidden.subscribe(text) returns void language plpgsql as
  $$ begin execute format('listen %I', $1); end $$;
create function hidden.say(text) returns void language plpgsql as
  $$ begin raise notice '%', $1; end $$;
create function hidden.shuffle(float8) returns void language plpgsql as
  $$ begin perform setseed($1); end $$;
create function hidden.back_up(text) returns void language plpgsql as
  $$ begin perform pg_backup_start($1, true); end $$;
create function hidden.follow(text) returns name language sql begin atomic
  select slot_name from pg_create_physical_replication_slot($1, true, true); end;

create sequence hidden.counter;
create sequence hidden.other_counter;
create sequence hidden.cached_counter cache 50;
create function hidden.number() returns bigint language plpgsql as
  $$ begin return nextval('hidden.counter'); end $$;
create table hidden.numbered (id bigserial, value text);

create function hidden.on_row() returns trigger language plpgsql as
  $$ begin perform set_config('join_collapse_limit', new.value, false); return null; end $$;
create table hidden.triggering (value text);
create trigger at_once after insert on hidden.triggering for each row execute function hidden.on_row();
create table hidden.triggering_late (value text);
create constraint trigger late after insert on hidden.triggering_late initially deferred
  for each row execute function hidden.on_row();
create table hidden.written (value text);

create table hidden.tenants (tenant text, place text);
insert into hidden.tenants select 'tenant' || n, 'state_role_' || n % 12 from generate_series(0, 999) n;
create table hidden.roles as select * from hidden.tenants;
alter table hidden.tenants enable row level security;
create policy by_setting on hidden.tenants using (tenant = current_setting('state.tenant', true));
alter table hidden.roles enable row level security;
create policy by_role on hidden.roles using (place = current_user);
create table public.shadowed as select 'permanent'::text as value;
grant usage on schema hidden to public;
grant all on all tables in schema hidden, public to public;
grant all on all sequences in schema hidden to public;
create extension pg_trgm;
create extension dblink;
create extension isn;
"""


def language_statements(postgres):
    """plperl, where Debian's package of it is installed."""
    if not postgres.query("select 1 from pg_available_extensions where name = 'plperl'"):
        return []
    return ["create extension plperl",
            "create function hidden.keep(text) returns void language plperl as"
            " $$ $_SHARED{mine} = $_[0]; return $$",
            "create function hidden.kept() returns text language plperl as $$ $_SHARED{mine} $$"]


def prepare(postgres):
    statements = ["create role %s login%s" % (role, " superuser" if role == SUPERUSER else "")
                  for role in LOGINS]
    statements += ["alter role %s set from_collapse_limit = 5" % CONFIGURED,
                   "alter role %s in database %s set join_collapse_limit = 6" % (CONFIGURED, DATABASE),
                   "alter role %s set state.tenant = 'configured'" % CONFIGURED, HIDDEN]
    for number in range(PLACES):
        role, schema = role_of(number), schema_of(number)
        statements += [
            "create role " + role, "grant %s to %s, %s" % (role, USER, CONFINED), "create schema " + schema,
            "grant usage on schema %s to public" % schema,
            "create table %s.whoami as select '%s'::text as value" % (schema, schema),
            "grant select on %s.whoami to public" % schema,
            "create function %s.who() returns text language sql as $$ select '%s'::text $$"
            % (schema, schema)]
    statements.append("alter role %s set role = '%s'" % (CONFINED, role_of(0)))
    for statement in statements + language_statements(postgres):
        postgres.query(statement, database=DATABASE)
