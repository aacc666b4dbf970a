"""Choosing TCP ports on the loopback address that stay free between two starts."""

import random
import socket
from collections.abc import Iterable

from orchestrator.embedded.errors import EmbeddedError

HOST = "127.0.0.1"
# Below every system's range for outgoing connections: a client that keeps dialling a stopped server's port
# could otherwise be given that very port, connect to itself, and keep the server from coming back.
FIRST_PORT, LAST_PORT = 17_000, 29_999
TRIES = 200


def is_free(port: int) -> bool:
    """Whether a server could listen on `port` now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # Both servers set this too: connections in TIME_WAIT don't hinder them.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
            probe.listen(1)
        except OSError:
            return False
    return True


def choose_port(avoid: Iterable[int] = ()) -> int:
    """A free port outside `avoid`, drawn at random so that two starts at once rarely meet."""
    taken = set(avoid)
    for _ in range(TRIES):
        port = random.randint(FIRST_PORT, LAST_PORT)  # noqa: S311 - no secret depends on it
        if port not in taken and is_free(port):
            return port
    raise EmbeddedError(
        f"no free TCP port found on {HOST} between {FIRST_PORT} and {LAST_PORT}: stop what occupies them"
    )
