"""Test cases whose clients speak the wire protocol themselves, as a user that needs no password."""

from integration.support.case import PoolerCase
from integration.support.peers import RAW_USER, allow_raw_users, raw_client
from integration.support.pgweir import ADMIN, users
from integration.support.postgres import OWNER


class RawCase(PoolerCase):
    settings = {"auth": {"method": "trust"}, "users": users(OWNER, RAW_USER, ADMIN),
                "log": {"level": "warning"}, "workers": 2,
                "pool": {"minconn": 1, "maxconn": 3, "wait_timeout": "30s"}}

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        allow_raw_users(cls.postgres)

    def raw(self, where=None, **options):
        raw = raw_client(where or self.pooler, **options)
        self.addCleanup(raw.socket.close)
        return raw
