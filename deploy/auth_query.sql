-- Lets pgweir look users up without superuser rights. Run it as a superuser, in the database that
-- auth.query_database names (or in each database, where it names none), as often as you like:
--
--     psql -d fitness_club -v query_user=pgweir -f auth_query.sql
--
-- The role has to be there:  create role pgweir login password '…';
-- One row for a role that may log in, none for others: its name, what PostgreSQL keeps of its
-- password, until when that counts, and the roles it is a member of. Superusers and replication
-- roles are left out: whoever steals pgweir's password does not get theirs.
--
-- Who owns the schema or the function can put another function there: where they belong to anybody
-- but the one who runs this, nothing is done, and psql ends with 3.

\set ON_ERROR_STOP on

begin;
set local search_path = pg_catalog, pg_temp;

create schema if not exists pgweir;

-- Nobody has anything there but what is granted below, whatever was granted before.
do $$
declare
    granted record;
begin
    for granted in
        select distinct a.grantee
          from pg_namespace n, aclexplode(n.nspacl) a
         where n.nspname = 'pgweir' and a.grantee not in (0, n.nspowner)
    loop
        execute format('revoke all on schema pgweir from %I cascade', pg_get_userbyid(granted.grantee));
    end loop;
    for granted in
        select distinct p.oid, a.grantee
          from pg_proc p
          join pg_namespace n on n.oid = p.pronamespace, aclexplode(p.proacl) a
         where n.nspname = 'pgweir' and p.proname = 'user_lookup' and a.grantee not in (0, p.proowner)
    loop
        execute format('revoke all on function %s from %I cascade', granted.oid::regprocedure,
                       pg_get_userbyid(granted.grantee));
    end loop;
end
$$;
revoke all on schema pgweir from public;

create or replace function pgweir.user_lookup(in wanted text, out name text, out verifier text,
                                              out valid_until double precision, out groups text[])
    returns setof record
    language sql
    stable
    strict
    security definer
    set search_path = pg_catalog, pg_temp
as $$
    with recursive member_of(role) as (
        select m.roleid
          from pg_catalog.pg_auth_members m
          join pg_catalog.pg_authid a on a.oid = m.member
         where a.rolname = wanted
        union
        select m.roleid
          from pg_catalog.pg_auth_members m
          join member_of on m.member = member_of.role
    )
    select rolname::text, rolpassword,
           extract(epoch from rolvaliduntil)::double precision,
           array(select g.rolname::text
                   from pg_catalog.pg_authid g
                  where g.oid in (select role from member_of)
                  order by 1)
      from pg_catalog.pg_authid
     where rolname = wanted
       and rolcanlogin
       and not rolsuper
       and not rolreplication
$$;

-- What was there before is still its owner's: the owner of the database, say, could replace the
-- function and so decide who logs in as whom. Then all of this is undone.
do $$
declare
    mine constant oid := (select oid from pg_roles where rolname = current_user);
    theirs text;
begin
    if not (select rolsuper from pg_roles where oid = mine) then
        raise insufficient_privilege using message = 'auth_query.sql has to be run by a superuser';
    end if;
    select string_agg(what, ', ') into theirs
      from (select 'schema pgweir of ' || pg_get_userbyid(nspowner)
              from pg_namespace
             where nspname = 'pgweir' and nspowner <> mine
            union all
            select 'function ' || p.oid::regprocedure || ' of ' || pg_get_userbyid(p.proowner)
              from pg_proc p
              join pg_namespace n on n.oid = p.pronamespace
             where n.nspname = 'pgweir' and p.proname = 'user_lookup' and p.proowner <> mine) as found(what);
    if theirs is not null then
        raise insufficient_privilege using
            message = 'not done: ' || theirs || ' is not that of ' || current_user,
            hint = 'Find out who has made it and why; then drop it, or run this as its owner, a superuser.';
    end if;
end
$$;

revoke all on function pgweir.user_lookup(text) from public;
grant usage on schema pgweir to :"query_user";
grant execute on function pgweir.user_lookup(text) to :"query_user";

commit;
