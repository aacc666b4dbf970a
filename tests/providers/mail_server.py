"""A real SMTP server on this machine, with the manners tests need, and what it has received."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import default
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword

User = tuple[str, str]


@dataclass
class Mailbox:
    """The server's memory. `refuse` maps a step (MAIL, RCPT, DATA) to the reply given instead of taking it."""

    port: int = 0
    refuse: dict[str, str] = field(default_factory=dict)
    mails: list[EmailMessage] = field(default_factory=list)
    raw: list[bytes] = field(default_factory=list)
    envelopes: list[tuple[str, list[str]]] = field(default_factory=list)
    secured: list[bool] = field(default_factory=list)
    logins: list[str] = field(default_factory=list)

    async def handle_MAIL(  # noqa: N802  aiosmtpd calls it so
        self, _server: Any, _session: Any, envelope: Any, address: str, _options: Any
    ) -> str:
        if "MAIL" in self.refuse:
            return self.refuse["MAIL"]
        envelope.mail_from = address
        return "250 OK"

    async def handle_RCPT(  # noqa: N802  aiosmtpd calls it so
        self, _server: Any, _session: Any, envelope: Any, address: str, _options: Any
    ) -> str:
        if "RCPT" in self.refuse:
            return self.refuse["RCPT"]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(  # noqa: N802  aiosmtpd calls it so
        self, _server: Any, session: Any, envelope: Any
    ) -> str:
        if "DATA" in self.refuse:
            return self.refuse["DATA"]
        found = BytesParser(policy=default).parsebytes(envelope.content)
        assert isinstance(found, EmailMessage)
        self.mails.append(found)
        self.raw.append(envelope.content)
        self.envelopes.append((envelope.mail_from, envelope.rcpt_tos))
        self.secured.append(session.ssl is not None)
        return "250 2.0.0 Queued"


@asynccontextmanager
async def mail_server(
    *, starttls: ssl.SSLContext | None = None, tls: ssl.SSLContext | None = None, user: User | None = None
) -> AsyncIterator[Mailbox]:
    """Listens on 127.0.0.1. With `user` nobody sends without logging in."""
    box = Mailbox()

    def authenticate(_server: Any, _session: Any, _envelope: Any, _mechanism: str, data: Any) -> AuthResult:
        assert isinstance(data, LoginPassword)
        box.logins.append(data.login.decode())
        good = user is not None and (data.login.decode(), data.password.decode()) == user
        return AuthResult(success=good, handled=False, message=None if good else "535 5.7.8 No")

    def protocol() -> SMTP:
        return SMTP(
            box,
            hostname="mail.example.com",
            tls_context=starttls,
            require_starttls=starttls is not None,
            auth_required=user is not None,
            auth_require_tls=tls is None and starttls is not None,
            authenticator=authenticate if user is not None else None,
            loop=asyncio.get_running_loop(),
        )

    server = await asyncio.get_running_loop().create_server(protocol, "127.0.0.1", 0, ssl=tls)
    box.port = server.sockets[0].getsockname()[1]
    try:
        yield box
    finally:
        server.close()


Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def scripted_server(
    replies: dict[str, bytes | None], after_data: bytes | None = b""
) -> AsyncIterator[int]:
    """A server of few words: `replies` by command ("" is the greeting); None resets the connection.

    `after_data`: its word for a whole mail; None resets, b"" hangs.
    """
    usual = {
        "": b"220 hi",
        "EHLO": b"250 hi",
        "MAIL": b"250 ok",
        "RCPT": b"250 ok",
        "DATA": b"354 go",
        "QUIT": b"221 bye",
    }
    words = {**usual, **replies}

    async def say(writer: asyncio.StreamWriter, word: bytes | None) -> bool:
        if word is None:
            writer.transport.abort()
            return False
        if word == b"":
            await asyncio.Event().wait()
        writer.write(word + b"\r\n")
        await writer.drain()
        return True

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            going = await say(writer, words[""])
            while going and (line := await reader.readline()):
                verb = line.split()[0].decode().upper()
                going = await say(writer, words.get(verb, b"502 no"))
                if verb == "DATA" and going and words["DATA"].startswith(b"354"):  # type: ignore[union-attr]
                    await reader.readuntil(b"\r\n.\r\n")
                    going = await say(writer, after_data)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
