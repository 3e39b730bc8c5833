"""Measurements against Debian's pgbouncer: `./dev bench`."""
