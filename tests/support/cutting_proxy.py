"""A TCP proxy in front of PostgreSQL that loses the acknowledgement of commits: the answer is dropped, the line cut."""

import contextlib
import socket
import threading
from typing import Any, Self
from urllib.parse import urlsplit, urlunsplit

_APPEND = b"stored_events"
_COMMIT = b"COMMIT"
_CHUNK = 65_536
_ACCEPT_S = 0.1
_ANSWER_S = 5.0


class CuttingProxy:
    """Forwards everything; each `every`-th commit of a transaction that appended events is answered with silence."""

    def __init__(self, dsn: str, *, every: int) -> None:
        parts = urlsplit(dsn)
        assert parts.hostname is not None
        assert parts.port is not None
        self._target = (parts.hostname, parts.port)
        self._every = every
        self._lock = threading.Lock()
        self._commits = 0
        self.cuts = 0
        """Commits that PostgreSQL carried out and its client never heard of."""
        self.armed = False
        self._stopped = threading.Event()
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(_ACCEPT_S)
        port = self._listener.getsockname()[1]
        user, _, _ = parts.netloc.rpartition("@")
        self.dsn = urlunsplit(
            parts._replace(netloc=f"{user}@127.0.0.1:{port}", query="sslmode=disable&gssencmode=disable")
        )

    def __enter__(self) -> Self:
        self._begin(self._accept)
        return self

    def __exit__(self, *_error: object) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join()
        self._listener.close()

    def _begin(self, target: Any, *arguments: Any) -> None:
        thread = threading.Thread(target=target, args=arguments, name="cutting proxy")
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._stopped.is_set():
            with contextlib.suppress(TimeoutError):
                client, _ = self._listener.accept()
                self._begin(self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError), client, socket.create_connection(self._target) as server:
            client.settimeout(_ACCEPT_S)
            server.settimeout(_ACCEPT_S)
            appended = False
            while not self._stopped.is_set():
                asked = _received(client)
                if asked == b"":
                    return
                if asked:
                    server.sendall(asked)
                    appended = appended or _APPEND in asked
                    if _COMMIT in asked:
                        if appended and self._due():
                            self._lose_answer(server)
                            return
                        appended = False
                answered = _received(server, 0.0 if asked else _ACCEPT_S / 20)
                if answered == b"":
                    return
                if answered:
                    client.sendall(answered)

    def _due(self) -> bool:
        with self._lock:
            self._commits += 1
            return self.armed and self._commits % self._every == 0

    def _lose_answer(self, server: socket.socket) -> None:
        """Wait for PostgreSQL to say that it committed, and keep it to ourselves."""
        server.settimeout(_ANSWER_S)
        answer = b""
        while b"COMMIT\x00" not in answer:
            answer += server.recv(_CHUNK)
        with self._lock:
            self.cuts += 1


def _received(source: socket.socket, timeout_s: float = 0.002) -> bytes | None:
    """What came; None when nothing did, empty when the other side closed."""
    source.settimeout(max(timeout_s, 0.0005))
    try:
        return source.recv(_CHUNK)
    except TimeoutError:
        return None
