"""A TLS end before PostgreSQL, as poolers and clouds have one: the embedded server itself is built without TLS."""

import asyncio
import contextlib
import ssl
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit

from tests.effects.receiver import certificate

_TLS_ASKED, _KERBEROS_ASKED = 80877103, 80877104
_REFUSAL = b"SFATAL\0VFATAL\0C28000\0Mno pg_hba.conf entry for this host, no encryption\0\0"
_CHUNK_BYTES = 65_536


class TlsFront:
    """Passes encrypted connections on to PostgreSQL and refuses others; `entered` counts those let in."""

    def __init__(self, dsn: str, context: ssl.SSLContext, authority: Path) -> None:
        self.authority = authority
        self.entered = 0
        self.port = 0
        self._dsn = urlsplit(dsn)
        self._context = context
        self._loop: asyncio.AbstractEventLoop | None = None

    def dsn(self, host: str = "localhost", **parameters: str) -> str:
        """The database's address through this end, with libpq's parameters."""
        place = f"{self._dsn.username}:{self._dsn.password}@{host}:{self.port}"
        query = urlencode(dict(parse_qsl(self._dsn.query)) | parameters)
        return self._dsn._replace(netloc=place, query=query).geturl()

    async def serve(self, started: threading.Event) -> None:
        """Until `stop`; `asyncio.run` then cancels the connections that are left."""
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(self._handle, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        started.set()
        await self._stopping.wait()
        server.close()

    def stop(self) -> None:
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._stopping.set)

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(OSError, EOFError, asyncio.CancelledError):
                await self._negotiate(reader, writer)
        finally:
            writer.close()

    async def _negotiate(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while (asked := struct.unpack("!II", await reader.readexactly(8))[1]) == _KERBEROS_ASKED:
            writer.write(b"N")
        if asked != _TLS_ASKED:
            writer.write(b"E" + struct.pack("!I", len(_REFUSAL) + 4) + _REFUSAL)
            await writer.drain()
            return
        writer.write(b"S")
        await writer.start_tls(self._context)
        self.entered += 1
        inside, outside = await asyncio.open_connection(self._dsn.hostname, self._dsn.port)
        try:
            await asyncio.gather(_pump(reader, outside), _pump(inside, writer))
        finally:
            outside.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(_CHUNK_BYTES):
            writer.write(data)
            await writer.drain()
    writer.close()


@contextmanager
def tls_front(dsn: str, folder: Path, name: str = "localhost") -> Iterator[TlsFront]:
    """Serves from a thread, with a certificate of its own for `name`."""
    authority, context = certificate(folder, name)
    front = TlsFront(dsn, context, authority)
    started = threading.Event()
    thread = threading.Thread(target=lambda: asyncio.run(front.serve(started)), daemon=True)
    thread.start()
    assert started.wait(10)
    try:
        yield front
    finally:
        front.stop()
        thread.join(10)
