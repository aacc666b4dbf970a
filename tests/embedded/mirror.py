"""A local Maven mirror, filled from the jars at hand, that can be told to misbehave."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from orchestrator.embedded.pin import PinnedJar


class Mirror:
    """Serves jars at Maven's paths; `altered` files come with wrong bytes, `cut` ones end early, `absent` ones are 404."""

    def __init__(self, jars: dict[str, Path]) -> None:
        self.jars = jars
        self.altered: set[str] = set()
        self.cut: set[str] = set()
        self.absent: set[str] = set()
        self.asked: list[str] = []
        self.url = ""

    def body(self, path: str) -> bytes | None:
        """What is served at a path; None if nothing."""
        file = self.jars.get(path)
        if file is None or file.name in self.absent:
            return None
        content = file.read_bytes()
        return bytes(len(content)) if file.name in self.altered else content


def maven_path(jar: PinnedJar) -> str:
    """Where Maven's layout keeps a jar."""
    return f"/maven2/{jar.group.replace('.', '/')}/{jar.artifact}/{jar.version}/{jar.file_name}"


def quiet(_handler: BaseHTTPRequestHandler, format: str, *_args: object) -> None:
    """Keep the test's output clean."""


@contextmanager
def serve(mirror: Mirror) -> Iterator[Mirror]:
    """Run the mirror on a free port of the loopback address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            mirror.asked.append(self.path)
            body = mirror.body(self.path)
            if body is None:
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[: len(body) // 2] if Path(self.path).name in mirror.cut else body)

        log_message = quiet

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    mirror.url = f"http://127.0.0.1:{server.server_port}/maven2"
    try:
        yield mirror
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
