-- Lets pgweir look users up without superuser rights. Run it as a superuser, in the database that
-- auth.query_database names (or in each database, where it names none):
--
--     psql -d fitness_club -v query_user=pgweir -f auth_query.sql
--
-- The role has to be there:  create role pgweir login password '…';
-- One row for a role that may log in, none for others: its name, what PostgreSQL keeps of its
-- password, until when that counts, and the roles it is a member of. Superusers and replication
-- roles are left out: whoever steals pgweir's password does not get theirs.

begin;

create schema if not exists pgweir;
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

revoke all on function pgweir.user_lookup(text) from public;
grant usage on schema pgweir to :"query_user";
grant execute on function pgweir.user_lookup(text) to :"query_user";

commit;
