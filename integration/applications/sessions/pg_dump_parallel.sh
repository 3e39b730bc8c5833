#!/bin/bash
# pg_dump with two jobs: one session exports its snapshot, the others take it, all in their transactions.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

pg_dump --format=directory --jobs=2 --file="$work/dump"
pg_restore --file=- "$work/dump"
