"""What the integration tests stand on: a throw-away PostgreSQL, the daemon, helpers to look at both.

Everything listens on loopback, lives in a temporary directory of its own, and ends with the process
that started it, so that any number of test files can run side by side.
"""
