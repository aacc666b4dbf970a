"""Connections to the mail server: used again, bounded, replaced when they went stale, never after the mail."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from consumers.actions.base import Done, Failed
from consumers.actions.delivery_settings import SmtpSettings
from consumers.actions.smtp import Envelope
from consumers.actions.smtp_pool import MAILS_MAX, SmtpPool
from orchestrator.core.errors import ConfigurationError

MAIL = Envelope("news@example.com", "anna@example.com", b"Subject: x\r\n\r\ny\r\n")


@dataclass
class Server:
    """A small SMTP server that counts. `reply` replaces the answer to a word, by the connection's number and word."""

    port: int = 0
    connections: int = 0
    open: int = 0
    most: int = 0
    mails: int = 0
    said: list[str] = field(default_factory=list)
    reply: dict[tuple[int, str], bytes | None] = field(default_factory=dict)
    writers: list[asyncio.StreamWriter] = field(default_factory=list)
    hold: asyncio.Event = field(default_factory=asyncio.Event)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        number = self.connections
        self.open += 1
        self.most = max(self.most, self.open)
        self.writers.append(writer)
        try:
            writer.write(b"220 hi\r\n")
            while line := await reader.readline():
                word = line.split()[0].decode().upper()
                self.said.append(word)
                answer = self.reply.get(
                    (number, word), {"DATA": b"354 go", "QUIT": b"221 bye"}.get(word, b"250 ok")
                )
                if answer is None:
                    writer.transport.abort()
                    return
                writer.write(answer + b"\r\n")
                if word == "DATA" and answer.startswith(b"354"):
                    await reader.readuntil(b"\r\n.\r\n")
                    end = self.reply.get((number, "."), b"250 taken")
                    await self.hold.wait()
                    if end is None:
                        writer.transport.abort()
                        return
                    self.mails += 1
                    writer.write(end + b"\r\n")
                if word == "QUIT":
                    return
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self.open -= 1
            writer.close()


@asynccontextmanager
async def serving(**settings: object) -> AsyncIterator[tuple[Server, SmtpPool]]:
    """The server, and a pool for it."""
    found = Server()
    found.hold.set()
    server = await asyncio.start_server(found.serve, "127.0.0.1", 0)
    found.port = server.sockets[0].getsockname()[1]
    chosen = {"host": "127.0.0.1", "port": found.port, "security": "none", **settings}
    pool = SmtpPool(SmtpSettings(**chosen), ssl.create_default_context())  # type: ignore[arg-type]
    try:
        yield found, pool
    finally:
        await pool.close()
        found.hold.set()
        for writer in found.writers:
            writer.close()
        server.close()


async def until(condition: object) -> None:
    assert callable(condition)
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.005)


async def test_a_connection_is_used_again() -> None:
    """Mails that follow one another go over one connection, which is greeted once."""
    async with serving() as (server, pool):
        for _ in range(5):
            assert await pool.deliver(MAIL, 5) == Done()
        assert (server.connections, server.mails, pool.idle) == (1, 5, 1)
        assert server.said.count("EHLO") == 1
    assert server.said[-1] == "QUIT"


async def test_connections_are_bounded() -> None:
    """However many mails there are at once, the server sees no more connections than the settings say."""
    async with serving(connections=3) as (server, pool):
        server.hold.clear()
        mails = [asyncio.create_task(pool.deliver(MAIL, 20)) for _ in range(12)]
        await until(lambda: server.open == 3)
        server.hold.set()
        assert await asyncio.gather(*mails) == [Done()] * 12
        assert (server.most, server.mails) == (3, 12)
        assert pool.idle <= 3


async def test_waiting_for_a_connection_ends() -> None:
    """A mail that finds no free connection in its time fails as not sent, and may be tried again."""
    async with serving(connections=1) as (server, pool):
        server.hold.clear()
        first = asyncio.create_task(pool.deliver(MAIL, 20))
        await until(lambda: "DATA" in server.said)
        second = await pool.deliver(MAIL, 0.2)
        assert isinstance(second, Failed)
        assert (second.error, second.retryable, second.in_doubt) == ("timeout", True, False)
        server.hold.set()
        assert await first == Done()


@pytest.mark.parametrize("trouble", ["closed", "421", "reset", "reset at RCPT"])
async def test_a_stale_connection_is_replaced(trouble: str) -> None:
    """A kept connection that the server gave up meanwhile costs nothing: the mail goes over a new one, once."""
    async with serving() as (server, pool):
        assert await pool.deliver(MAIL, 5) == Done()
        if trouble == "closed":
            server.writers[0].close()
            await until(lambda: server.open == 0)
        elif trouble == "421":
            server.reply[1, "MAIL"] = b"421 4.4.2 idle too long"
        else:
            server.reply[1, "RCPT" if "RCPT" in trouble else "MAIL"] = None
        assert await pool.deliver(MAIL, 5) == Done()
        assert (server.connections, server.mails) == (2, 2)


async def test_it_is_replaced_once() -> None:
    """A server that gives up new connections too is the trouble itself: its mail fails, not sent."""
    async with serving() as (server, pool):
        assert await pool.deliver(MAIL, 5) == Done()
        server.reply |= {(1, "MAIL"): None, (2, "MAIL"): None}
        failed = await pool.deliver(MAIL, 5)
        assert isinstance(failed, Failed)
        assert (failed.error, failed.in_doubt) == ("connection_lost", False)
        assert server.connections == 2


@pytest.mark.parametrize("word", [".", "DATA"])
async def test_a_mail_handed_over_is_never_sent_again(word: str) -> None:
    """From DATA on the server may have the mail: a lost connection leaves it in doubt, and no other is opened."""
    async with serving() as (server, pool):
        assert await pool.deliver(MAIL, 5) == Done()
        server.reply[1, word] = None
        failed = await pool.deliver(MAIL, 5)
        assert isinstance(failed, Failed)
        assert (failed.error, failed.in_doubt) == ("connection_lost", True)
        assert server.connections == 1


async def test_a_refusal_is_no_stale_connection() -> None:
    """What a server says about a mail isn't asked a second time; the next mail begins with a clean connection."""
    async with serving() as (server, pool):
        assert await pool.deliver(MAIL, 5) == Done()
        server.reply[1, "RCPT"] = b"550 5.1.1 no such user"
        failed = await pool.deliver(MAIL, 5)
        assert isinstance(failed, Failed)
        assert failed.error == "hard_bounce"
        assert server.connections == 1
        assert await pool.deliver(MAIL, 5) == Done()
        assert (server.connections, server.mails) == (2, 2)


async def test_an_idle_connection_ends() -> None:
    """What nobody needs is said goodbye to after `idle_s`; with 0 after each mail."""
    async with serving(idle_s=0.05) as (server, pool):
        assert await pool.deliver(MAIL, 5) == Done()
        await until(lambda: server.open == 0)
        assert (server.said[-1], pool.idle) == ("QUIT", 0)
    async with serving(idle_s=0) as (server, pool):
        assert await pool.deliver(MAIL, 5) == Done()
        assert pool.idle == 0


async def test_a_connection_takes_a_bounded_number_of_mails() -> None:
    """After many mails a connection is replaced by itself."""
    async with serving() as (server, pool):
        for _ in range(MAILS_MAX + 1):
            assert await pool.deliver(MAIL, 5) == Done()
        assert server.connections == 2


@pytest.mark.parametrize("changes", [{"connections": 0}, {"connections": 1_000}, {"idle_s": -1}])
def test_wrong_bounds_are_named(changes: dict[str, float]) -> None:
    """A pool that can't work ends the start with the variable's name."""
    with pytest.raises(ConfigurationError, match="ORCHESTRATOR_SMTP_CONNECTIONS"):
        SmtpSettings(**changes)  # type: ignore[arg-type]
