"""An HTTP/2 server on this machine that answers as Apple's push service does, and what it has seen."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, RequestReceived, StreamEnded


@dataclass
class Push:
    """One request: lower-case headers, pseudo-headers included, and its JSON."""

    headers: dict[str, str]
    body: Any = None


Reply = tuple[int, dict[str, str], bytes] | None
"""Status, headers, body; None: no answer ever."""
Answer = Callable[[Push], Reply]


def reason(status: int, word: str, **headers: str) -> Answer:
    """An error as Apple writes them."""
    return lambda _push: (status, headers, json.dumps({"reason": word}).encode())


@dataclass
class Apple:
    """The server. `answer` may be changed between calls; `cut` resets the connection instead of answering."""

    port: int = 0
    answer: Answer = lambda _push: (200, {}, b"")
    cut: bool = False
    pushes: list[Push] = field(default_factory=list)
    connections: int = 0


@asynccontextmanager
async def apple(tls: ssl.SSLContext, answer: Answer | None = None) -> AsyncIterator[Apple]:
    """Listens on 127.0.0.1 with HTTP/2 over TLS."""
    tls.set_alpn_protocols(["h2"])
    server_state = Apple()
    if answer is not None:
        server_state.answer = answer

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server_state.connections += 1
        connection = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
        connection.initiate_connection()
        writer.write(connection.data_to_send())
        open_streams: dict[int, tuple[Push, bytearray]] = {}
        with suppress(ConnectionError, ssl.SSLError):
            while data := await reader.read(65_536):
                for event in connection.receive_data(data):
                    if isinstance(event, RequestReceived):
                        open_streams[event.stream_id] = (Push(dict(event.headers)), bytearray())  # type: ignore[arg-type]
                    elif isinstance(event, DataReceived):
                        open_streams[event.stream_id][1].extend(event.data)
                        connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                    elif isinstance(event, StreamEnded):
                        push, body = open_streams.pop(event.stream_id)
                        push.body = json.loads(bytes(body))
                        server_state.pushes.append(push)
                        if server_state.cut:
                            writer.transport.abort()
                            return
                        _reply(connection, event.stream_id, server_state.answer(push))
                writer.write(connection.data_to_send())
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=tls)
    server_state.port = server.sockets[0].getsockname()[1]
    try:
        yield server_state
    finally:
        server.close()


def _reply(connection: H2Connection, stream: int, reply: Reply) -> None:
    if reply is None:
        return
    status, headers, body = reply
    sent = [(":status", str(status)), *((name.lower(), value) for name, value in headers.items())]
    connection.send_headers(stream, sent, end_stream=not body)
    if body:
        connection.send_data(stream, body, end_stream=True)
