#!/bin/bash
# pg_dump in two formats, pg_restore over what is there, with two jobs and in one transaction; then what
# came of it.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export PGOPTIONS='-c statement_timeout=61234 -c search_path=shop'

pg_dump >"$work/plain.sql"
cat "$work/plain.sql"
pg_dump --format=custom --file="$work/custom"
pg_restore --list "$work/custom" | grep -v '^;' | sed 's/^[0-9]*; [0-9]* [0-9]* //'
psql -qX -c 'drop schema shop cascade'
pg_restore --no-owner --dbname="$PGDATABASE" --schema=shop "$work/custom" 2>&1 || true
psql -qX -c 'create schema if not exists shop'
pg_restore --single-transaction --dbname="$PGDATABASE" --schema=shop "$work/custom" 2>&1 || true
psql -X -c '\dt shop.*' -c 'select count(*) from shop.orders'
psql -qX -c 'drop schema shop cascade' -c 'create schema shop'
pg_restore --jobs=2 --dbname="$PGDATABASE" --schema=shop "$work/custom"
pg_dump --schema=shop --inserts >"$work/again.sql"
pg_dump --schema=shop --inserts | diff "$work/again.sql" - | grep -v restrict | grep '^[<>]' || true
cat "$work/again.sql"
psql -X -c '\dt shop.*' -c 'select count(*), sum(amount) from shop.orders' -c 'show statement_timeout'
