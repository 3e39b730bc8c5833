"""What PostgreSQL 17 does and 15 does not: TLS from the first byte on (sslnegotiation=direct), with ALPN.
What comes inside is passed on to a PostgreSQL in plain."""

import contextlib
import socket
import ssl
import threading

HANDSHAKE = 22  # the type of a TLS record, and so the first byte of a ClientHello


class DirectTls:
    """Listens until the end of the block. `first_bytes` and `protocols` (of ALPN) have one entry for each
    connection; nobody gets through who begins with something else than TLS."""

    def __init__(self, postgres, certificate, key):
        self._postgres = postgres
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificate, key)
        self._context.set_alpn_protocols(["postgresql"])
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._threads = []
        self._sockets = []
        self.host, self.port = "localhost", self._listening.getsockname()[1]
        self.first_bytes, self.protocols = [], []

    def __enter__(self):
        self._begin(self._accept)
        return self

    def __exit__(self, *_):
        for each in [self._listening, *self._sockets]:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        for each in [self._listening, *self._sockets]:
            each.close()

    def _begin(self, what, *arguments):
        thread = threading.Thread(target=what, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                self._begin(self._serve, self._listening.accept()[0])

    def _serve(self, client):
        self._sockets.append(client)
        with contextlib.suppress(OSError), client:
            first = client.recv(1, socket.MSG_PEEK)
            self.first_bytes.append(first[0] if first else None)
            if self.first_bytes[-1] != HANDSHAKE:
                return
            with self._context.wrap_socket(client, server_side=True) as inside, \
                    socket.create_connection((self._postgres.host, self._postgres.port)) as server:
                self._sockets += [inside, server]
                self.protocols.append(inside.selected_alpn_protocol())
                back = threading.Thread(target=self._relay, args=(server, inside), daemon=True)
                back.start()
                self._relay(inside, server)
                back.join()

    @staticmethod
    def _relay(source, target):
        """Until either ends. A TLS socket is read by one thread and written to by another."""
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
        for each in (source, target):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
