-- psql: what its users type. Everything is echoed; settings stay from statement to statement.
\set VERBOSITY sqlstate
\pset pager off
set search_path = shop;
set datestyle = 'SQL, DMY';
select current_user, current_schema(), current_setting('datestyle');
\dn
\dt
\dt+ noise_0.*
\d products
\d+ orders
\d expensive
\df+ total
\du
\dp visible
\di
\ds
\l fitness_club
\dT
\dconfig search_path
\sf total
\sv expensive
select id, name, price, changed from products where id < 4 \gdesc
select id, name, price, changed from products where id < 4 order by id \gx
select count(*) as n, max(price) as price from products \gset
\echo :n :price
select format('select %s as made', n) from generate_series(1, 3) n \gexec
select tenant, product % 2 as odd, sum(amount) from orders group by 1, 2 \crosstabview
create temp table incoming (id int, name text);
\copy incoming from program 'seq 1 5 | sed "s/$/\tcopied/"'
\copy (select * from incoming where id > 3 order by id) to stdout
copy incoming from stdin;
6	six
7	seven
\.
select count(*), max(name) from incoming;
discard temp;
\set FETCH_COUNT 4
select id, tenant from orders order by id;
\set FETCH_COUNT 0
\set ON_ERROR_ROLLBACK on
begin;
insert into orders (tenant, product, amount) values ('psql', 1, 1);
insert into orders (tenant, product, amount) values ('psql', 1, -1);
select count(*) from orders where tenant = 'psql';
set local datestyle = 'German';
select changed from products where id = 1;
rollback;
select changed from products where id = 1;
\set AUTOCOMMIT off
set role shop_reader;
select current_user;
select count(*) from visible;
commit;
select current_user, current_setting('datestyle');
insert into orders (tenant, product, amount) values ('psql', 1, 1);
\errverbose
rollback;
\set AUTOCOMMIT on
reset role;
select current_user \; select current_schema() \; set datestyle = 'ISO' \; show datestyle;
show datestyle;
prepare mine(int) as select name from products where id = $1;
execute mine(3);
execute mine(4);
deallocate mine;
declare c scroll cursor with hold for select id from products order by id;
fetch 3 from c;
move 5 in c;
fetch backward 2 from c;
close c;
select 1 as one, 'it''s' as two \g (format=unaligned)
\encoding LATIN1
select length('é'), current_setting('client_encoding');
\encoding UTF8
\setenv ANSWER 42
explain (costs off) select * from products where id = 3;
\lo_list
\c - - - -
select current_schema(), current_setting('datestyle');
