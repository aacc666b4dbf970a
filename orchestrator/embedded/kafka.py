"""The local Kafka: one node, broker and controller in one process (KRaft), on the loopback address."""

import asyncio
import os
import shutil
import signal
import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path

from orchestrator.embedded import kafka_config
from orchestrator.embedded.errors import EmbeddedError, from_os_error
from orchestrator.embedded.kafka_security import SCRAM_USER, SecurityFiles
from orchestrator.embedded.layout import Layout, Memory, write_private
from orchestrator.embedded.logs import LogMark, open_log
from orchestrator.embedded.ports import HOST
from orchestrator.embedded.process import run_tool, spawn

FORMAT_TIMEOUT_S = 120.0
PROBE_TIMEOUT_S = 2.0


@dataclass(frozen=True, slots=True)
class Jvm:
    """What runs the broker: the Java launcher, the class path in order, the heap's limit in MiB."""

    launcher: Path
    class_path: tuple[Path, ...]
    heap_mb: int


class KafkaSpec:
    """How to set up, start, probe and stop the Kafka of one data folder."""

    name = "kafka"
    death_signal: signal.Signals = (
        signal.SIGKILL
    )  # a JVM may hang in its shutdown hooks; the log survives a killed process
    stop_signals: tuple[tuple[signal.Signals, float], ...] = ((signal.SIGTERM, 30.0),)
    ready_within_s = 180.0

    def __init__(self, layout: Layout, memory: Memory, jvm: Jvm, security: SecurityFiles | None) -> None:
        self.title = f"Kafka {memory.kafka_version}"
        self.log_file = layout.logs / "kafka.log"
        self._output_file = layout.logs / "kafka.out"
        self._folder = layout.kafka
        self._data = layout.kafka / "data"
        self._config_file = layout.kafka / "server.properties"
        self._jvm_file = layout.kafka / "jvm.args"
        self._memory = memory
        self._jvm = jvm
        self._security = security
        self._marks = (LogMark(self.log_file), LogMark(self._output_file))

    @property
    def port_names(self) -> tuple[str, ...]:
        secure = ("kafka_ssl", "kafka_sasl") if self._security else ()
        return ("kafka", "kafka_controller", *secure)

    @property
    def bootstrap(self) -> str:
        return f"{HOST}:{self._memory.ports['kafka']}"

    async def prepare(self) -> None:
        """Write the configuration (it follows the release, the ports and the options); format the log once."""
        log_config = self._folder / "log4j2.properties"
        security = self._security
        properties = kafka_config.server_properties(self._data, self._memory.ports, security)
        write_private(log_config, kafka_config.log_properties(self.log_file))
        write_private(self._config_file, properties)
        write_private(
            self._jvm_file,
            kafka_config.jvm_args(self._jvm.class_path, self._jvm.heap_mb, log_config, security),
        )
        if not self._memory.kafka_formatted:
            await self._format()

    def spawn(self) -> subprocess.Popen[bytes]:
        argv: list[str | Path] = [self._jvm.launcher, f"@{self._jvm_file}", "kafka.Kafka", self._config_file]
        self._marks = (LogMark(self.log_file), LogMark(self._output_file))
        with open_log(self._output_file) as output:
            return spawn(argv, output=output.fileno(), env=_env(), death_signal=self.death_signal)

    async def is_ready(self) -> bool:
        """Whether the broker answers a metadata request and counts itself in (a starting one doesn't yet)."""
        try:
            async with asyncio.timeout(PROBE_TIMEOUT_S):
                return await _count_brokers(self._memory.ports["kafka"]) > 0
        except (OSError, TimeoutError, asyncio.IncompleteReadError, struct.error):
            return False

    async def finish(self) -> None:
        """Nothing is left to do after a start."""

    def is_ours(self, argv: list[str]) -> bool:
        """Whether a process with this command line is a broker of this data folder."""
        return argv[1:] == [f"@{self._jvm_file}", "kafka.Kafka", str(self._config_file)]

    def what_it_said(self) -> str:
        return "; ".join(mark.last_words() for mark in self._marks)

    async def _format(self) -> None:
        arguments = self._folder / "format.args"
        scram = f"SCRAM-SHA-512=[name={SCRAM_USER},password={self._memory.scram_password}]"
        options = (
            "format",
            "--cluster-id",
            self._memory.cluster_id,
            "--config",
            str(self._config_file),
            "--add-scram",
            scram,
        )
        try:
            shutil.rmtree(self._data, ignore_errors=True)  # what an interrupted format left
            write_private(
                arguments, "\n".join(options)
            )  # a file, since a command line shows its password to everybody
            argv: list[str | Path] = [
                self._jvm.launcher,
                f"@{self._jvm_file}",
                "kafka.tools.StorageTool",
                f"@{arguments}",
            ]
            await run_tool(
                argv,
                doing=f"formatting {self._data}",
                place=self._folder,
                timeout_s=FORMAT_TIMEOUT_S,
                env=_env(),
            )
            arguments.unlink()
        except OSError as error:
            raise from_os_error(error, "formatting Kafka's log", self._folder) from error
        if not (self._data / "meta.properties").exists():
            raise EmbeddedError(f"formatting left no meta.properties in {self._data}: see {self.log_file}")
        self._memory.kafka_formatted = True


async def _count_brokers(port: int) -> int:
    """Ask for metadata of no topic (version 1) and read the number of brokers in the answer."""
    reader, writer = await asyncio.open_connection(HOST, port)
    try:
        request = struct.pack(">hhih5si", 3, 1, 0, 5, b"probe", 0)
        writer.write(struct.pack(">i", len(request)) + request)
        _length, _correlation, brokers = struct.unpack(">iii", await reader.readexactly(12))
        return int(brokers)
    finally:
        writer.close()


def _env() -> dict[str, str]:
    # A C locale would keep Java 17 from opening a data folder whose path isn't ASCII.
    return {**os.environ, "LC_ALL": "C.UTF-8", "TZ": "UTC"}
