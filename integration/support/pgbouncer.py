"""Debian's pgbouncer, configured like the daemon: what the benchmarks compare with, and a stand-in
to try the tests themselves."""

import os
import signal

from integration.support import surroundings
from integration.support.pgweir import Pooler
from integration.support.postgres import DATABASE, OWNER, ROLES, password_of
from integration.support.waiting import wait_for


class Pgbouncer(Pooler):
    """One pgbouncer. `settings` go into the [pgbouncer] section."""

    def __init__(self, postgres, **settings):
        super().__init__(postgres)
        self.directory = surroundings.temporary_directory("pgbouncer")
        self.log_path = os.path.join(self.directory, "pgbouncer.log")
        values = {
            "listen_addr": self.host, "listen_port": self.port, "unix_socket_dir": "",
            "auth_type": "scram-sha-256", "pool_mode": "transaction",
            "auth_file": os.path.join(self.directory, "users.txt"),
            "default_pool_size": 10, "min_pool_size": 1, "max_client_conn": 20000,
            "admin_users": OWNER, "query_wait_timeout": 5, "ignore_startup_parameters": "options",
            "log_connections": 0, "log_disconnections": 0, "log_stats": 0,
            "server_tls_sslmode": "disable",
        }
        values.update(settings)
        with open(os.path.join(self.directory, "pgbouncer.ini"), "w", encoding="ascii") as file:
            file.write("[databases]\n%s = host=%s port=%d\n[pgbouncer]\n"
                       % (DATABASE, postgres.host, postgres.port))
            file.writelines("%s = %s\n" % item for item in values.items())
        with open(values["auth_file"], "w", encoding="ascii") as file:
            file.writelines('"%s" "%s"\n' % (role, password_of(role)) for role in ROLES)

    def start(self, **_):
        # pgbouncer refuses to run as root, like PostgreSQL.
        self.process = surroundings.start_process(
            ["/usr/sbin/pgbouncer", os.path.join(self.directory, "pgbouncer.ini")], self.log_path,
            user="postgres")
        wait_for(self.is_up, "pgbouncer is up", 30)
        return self

    def is_up(self):
        if self.process.poll() is not None:
            raise AssertionError("pgbouncer ended:\n" + self.log())
        return self.accepts()

    def stop(self, how=signal.SIGTERM):
        return surroundings.end_process(self.process, how)

    def close(self):
        self.close_connections()
        if self.process is not None:
            self.stop(signal.SIGKILL)

    def log(self):
        return surroundings.read_text(self.log_path)
