"""The guard: a small process that owns the local servers on behalf of everybody who uses them.

It starts them, holds the data folder's lock, serves its clients over a loopback connection, and stops the servers
when the last client has gone, however that client went: the kernel closes a dead process's connection. Should the
guard itself be killed, the kernel ends the servers.
"""

import asyncio
import fcntl
import hmac
import json
import os
import secrets
import signal
import sys
import traceback
from pathlib import Path
from typing import IO, Any

from orchestrator.embedded.errors import EmbeddedError
from orchestrator.embedded.kafka import Jvm, KafkaSpec
from orchestrator.embedded.kafka_security import SCRAM_USER, KafkaSecurity, SecurityFiles
from orchestrator.embedded.layout import Layout, Memory, open_layout, read_memory, write_memory, write_private
from orchestrator.embedded.orphans import stop_orphans
from orchestrator.embedded.ports import HOST
from orchestrator.embedded.postgres import PostgresSpec
from orchestrator.embedded.server import Server

EXIT_BUSY = 75
FIRST_CLIENT_WITHIN_S = 20.0


class Guard:
    """The servers of one data folder and the clients that use them."""

    def __init__(self, layout: Layout, memory: Memory, jvm: Jvm, security: KafkaSecurity | None) -> None:
        self._layout = layout
        self._memory = memory
        self._files = _make_files(layout, security) if security is not None else None
        self._kafka = KafkaSpec(layout, memory, jvm, self._files)
        self._postgres = PostgresSpec(layout, memory)
        self.servers = {spec.name: Server(spec, memory, self._save) for spec in (self._kafka, self._postgres)}
        self.token = secrets.token_urlsafe(24)
        self.clients = Clients()
        self.over = asyncio.Event()
        self.booted: asyncio.Task[bool] | None = None
        self._unclean = layout.guard_file.exists()  # an orderly end removes it

    async def run(self) -> None:
        """Serve until the last client leaves, a signal comes, or the servers can't be started."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.add_signal_handler(number, self.over.set)
        listener = await asyncio.start_server(self._serve, HOST, 0)
        port = listener.sockets[0].getsockname()[1]
        write_private(
            self._layout.guard_file, json.dumps({"pid": os.getpid(), "port": port, "token": self.token})
        )
        loop.call_later(FIRST_CLIENT_WITHIN_S, self._leave_if_alone)
        self.booted = asyncio.create_task(self._boot())
        await self.over.wait()
        listener.close()
        self.booted.cancel()
        await asyncio.wait([self.booted])
        await asyncio.gather(*(server.stop() for server in self.servers.values()))
        self._layout.guard_file.unlink(missing_ok=True)
        self.clients.close()

    def state(self) -> dict[str, Any]:
        """What a client needs to know of the servers."""
        return {
            "bootstrap": self._kafka.bootstrap,
            "dsn": self._postgres.dsn,
            "pids": {name: server.pid for name, server in self.servers.items()},
            "guard": os.getpid(),
            "secure": _secure_state(self._files, self._memory) if self._files else None,
        }

    async def _boot(self) -> bool:
        """Start every server; False, and everybody told why, if one can't be started."""
        await self.clients.first.wait()  # else a quick failure would be told to nobody
        try:
            if self._unclean:
                for title in stop_orphans((self._kafka, self._postgres)):
                    self.clients.tell(f"stopped {title}, left by an earlier run")
            async with asyncio.TaskGroup() as group:  # one failure ends the other start too
                for server in self.servers.values():
                    group.create_task(self._boot_one(server))
        except (ExceptionGroup, EmbeddedError) as error:
            first = error.exceptions[0] if isinstance(error, ExceptionGroup) else error
            if not isinstance(first, EmbeddedError):
                traceback.print_exc()
                first = EmbeddedError(f"the guard failed: {first!r} (log: {self._layout.logs / 'guard.log'})")
            self.clients.send({"event": "failed", "error": str(first)})
            self.over.set()
            return False
        return True

    async def _boot_one(self, server: Server) -> None:
        self.clients.tell(f"starting {server.spec.title}")
        took_s = await server.boot()
        self.clients.tell(f"{server.spec.title} is ready after {took_s:.1f} s")

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One client's connection: a greeting, then requests until it leaves."""
        try:
            hello = await asyncio.wait_for(_read(reader), FIRST_CLIENT_WITHIN_S)
            if (
                hello is None
                or not hmac.compare_digest(str(hello.get("token")), self.token)
                or self.over.is_set()
            ):
                return
            if refusal := self.clients.join(writer, pid=int(hello["pid"]), alone=bool(hello["exclusive"])):
                _write(writer, {"event": "refused", "error": refusal})
                return
            welcome = asyncio.create_task(self._welcome(writer))
            try:
                while (request := await _read(reader)) is not None:
                    await self._answer(writer, request)
                    if request["op"] == "leave":
                        return
            finally:
                welcome.cancel()
                self.clients.leave(writer)
                self._leave_if_alone()
        except (OSError, ValueError, KeyError, TimeoutError):
            traceback.print_exc()  # a broken client is its own problem; the log shows why it was dropped
        finally:
            if not self.over.is_set():  # else the end of the connection says that the servers are gone
                writer.close()

    async def _welcome(self, writer: asyncio.StreamWriter) -> None:
        assert self.booted is not None
        await asyncio.wait([self.booted])
        if self.booted.cancelled() or not self.booted.result():
            return
        try:
            for server in self.servers.values():
                if server.wanted and server.pid is None:
                    await self._boot_one(server)  # it crashed since; whoever comes now expects it to run
        except EmbeddedError as error:
            _write(writer, {"event": "failed", "error": str(error)})
        else:
            _write(writer, {"event": "ready", "state": self.state()})

    async def _answer(self, writer: asyncio.StreamWriter, request: dict[str, Any]) -> None:
        assert self.booted is not None
        try:
            if request["op"] != "leave":
                await asyncio.wait([self.booted])
            await self._carry_out(request["op"], request.get("server", ""))
        except EmbeddedError as error:
            _write(writer, {"error": str(error)})
        else:
            if request["op"] == "leave":
                _write(writer, {"last": self.clients.count == 1})
            else:
                _write(writer, {"state": self.state()})

    async def _carry_out(self, operation: str, name: str) -> None:
        match operation:
            case "state" | "leave":
                return
            case "start":
                await self.servers[name].start()
            case "stop":
                await self.servers[name].stop()
            case "kill":
                await self.servers[name].kill()
            case _:
                raise EmbeddedError(f"the guard knows no operation {operation!r}: it is of another version")

    def _leave_if_alone(self) -> None:
        if self.clients.count == 0:
            self.over.set()

    def _save(self) -> None:
        write_memory(self._layout, self._memory)


class Clients:
    """The connections in use; progress told before a client came is told to it too."""

    def __init__(self) -> None:
        self._pids: dict[asyncio.StreamWriter, int] = {}
        self._alone: asyncio.StreamWriter | None = None
        self._told: list[str] = []
        self.first = asyncio.Event()

    @property
    def count(self) -> int:
        return len(self._pids)

    def join(self, writer: asyncio.StreamWriter, *, pid: int, alone: bool) -> str | None:
        """Add a client; returns why not, if another one has the servers to itself or this one can't have them so."""
        if self._pids and (alone or self._alone is not None):
            others = ", ".join(str(other) for other in sorted(set(self._pids.values())))
            return f"the data folder is in use by process {others}: stop it, or choose another data folder"
        self._pids[writer] = pid
        self.first.set()
        self._alone = writer if alone else None
        for text in self._told:
            _write(writer, {"event": "progress", "text": text})
        return None

    def leave(self, writer: asyncio.StreamWriter) -> None:
        self._pids.pop(writer, None)

    def tell(self, text: str) -> None:
        self._told = [*self._told[-20:], text]
        self.send({"event": "progress", "text": text})

    def send(self, message: dict[str, Any]) -> None:
        for writer in self._pids:
            _write(writer, message)

    def close(self) -> None:
        for writer in list(self._pids):
            writer.close()


def _make_files(layout: Layout, security: KafkaSecurity) -> SecurityFiles:
    from orchestrator.embedded.certificates import make_security_files  # noqa: PLC0415 - 0.1 s to import

    return make_security_files(layout.kafka / "security", security)


def _secure_state(files: SecurityFiles, memory: Memory) -> dict[str, str]:
    return {
        "ssl_bootstrap": f"{HOST}:{memory.ports['kafka_ssl']}",
        "sasl_bootstrap": f"{HOST}:{memory.ports['kafka_sasl']}",
        "ca_file": str(files.ca),
        "client_certificate_file": str(files.client),
        "client_key_file": str(files.client_key),
        "scram_user": SCRAM_USER,
        "scram_password": memory.scram_password,
        "token_key_file": str(files.token_key),
    }


async def _read(reader: asyncio.StreamReader) -> dict[str, Any] | None:
    line = await reader.readline()
    return dict(json.loads(line)) if line else None


def _write(writer: asyncio.StreamWriter, message: dict[str, Any]) -> None:
    if not writer.is_closing():
        writer.write(json.dumps(message).encode() + b"\n")


def _lock(path: Path) -> IO[bytes] | None:
    """The data folder's lock, held until this process ends; None if another guard has it."""
    handle = path.open("ab")
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        handle.close()
        return None
    return handle


def main() -> int:
    """Run a guard with the options given as JSON on standard input; returns the exit code of one that can't."""
    try:
        return _run(json.load(sys.stdin))
    except EmbeddedError as error:
        print(f"ERROR {error}", file=sys.stderr)  # noqa: T201 - into the guard's log
        return 1


def _run(options: dict[str, Any]) -> int:
    layout = open_layout(Path(options["data_dir"]))
    lock = _lock(layout.lock_file)
    if lock is None:
        return EXIT_BUSY
    memory = read_memory(layout, options["kafka_version"])
    jvm = Jvm(Path(options["java"]), tuple(map(Path, options["jars"])), options["heap_mb"])
    security = KafkaSecurity(**options["security"]) if options["security"] else None

    async def serve() -> None:
        await Guard(layout, memory, jvm, security).run()

    asyncio.run(serve())
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # the lock goes with the process, never before it


if __name__ == "__main__":
    sys.exit(main())
