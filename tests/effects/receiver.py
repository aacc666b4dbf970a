"""A real HTTP(S) receiver on 127.0.0.1 with the manners tests need, and what it has seen."""

import asyncio
import datetime as dt
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class Call:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    server_name: str | None = None


@dataclass
class Receiver:
    port: int
    scheme: str
    calls: list[Call] = field(default_factory=list)

    def url(self, path: str = "/", host: str = "127.0.0.1") -> str:
        return f"{self.scheme}://{host}:{self.port}{path}"


@asynccontextmanager
async def receiver(answer: Answer, tls: ssl.SSLContext | None = None) -> AsyncIterator[Receiver]:
    """Answers every path with `answer`; calls are noted before."""
    names: list[str | None] = []
    if tls is not None:
        tls.sni_callback = lambda _socket, name, _context: names.append(name)

    async def handle(request: web.Request) -> web.StreamResponse:
        body = await request.read()
        found.calls.append(
            Call(request.method, request.raw_path, dict(request.headers), body, names[-1] if names else None)
        )
        return await answer(request)

    application = web.Application(client_max_size=2**24)
    application.router.add_route("*", "/{tail:.*}", handle)
    runner = web.AppRunner(application, shutdown_timeout=0.1, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await site.start()
    port = runner.addresses[0][1]
    found = Receiver(port, "https" if tls else "http")
    try:
        yield found
    finally:
        await runner.cleanup()


@asynccontextmanager
async def raw_receiver(answer: bytes | None) -> AsyncIterator[int]:
    """A TCP port that reads a request, writes `answer` and closes; None resets the connection. Yields the port."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        if answer is None:
            writer.transport.abort()
            return
        writer.write(answer)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


def status(code: int, body: bytes = b"", headers: dict[str, str] | None = None) -> Answer:
    """Always the same answer."""

    async def answer(_request: web.Request) -> web.Response:
        return web.Response(status=code, body=body, headers=headers)

    return answer


def certificate(folder: Path, name: str) -> tuple[Path, ssl.SSLContext]:
    """A fresh self-signed certificate for `name`: its file for clients, a context for the server."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(minutes=5))
        .not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    cert_file, key_file = folder / "cert.pem", folder / "key.pem"
    cert_file.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert_file, key_file)
    return cert_file, context
