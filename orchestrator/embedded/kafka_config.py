"""The text of Kafka's three configuration files."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from orchestrator.embedded.kafka_security import SecurityFiles
from orchestrator.embedded.ports import HOST

MIB = 1024 * 1024
MAX_MESSAGE_BYTES = 5 * MIB  # output topics carry up to 4 MiB, and a batch has a header
# Single node, quick start, small footprint; what it acknowledged survives the process, not a power loss.
SETTINGS: tuple[tuple[str, str | int], ...] = (
    ("process.roles", "broker,controller"),
    ("node.id", 1),
    ("controller.listener.names", "CONTROLLER"),
    ("inter.broker.listener.name", "PLAINTEXT"),
    ("auto.create.topics.enable", "false"),
    ("default.replication.factor", 1),
    ("min.insync.replicas", 1),
    ("offsets.topic.replication.factor", 1),
    ("offsets.topic.num.partitions", 5),
    ("transaction.state.log.replication.factor", 1),
    ("transaction.state.log.min.isr", 1),
    ("transaction.state.log.num.partitions", 5),
    ("share.coordinator.state.topic.replication.factor", 1),
    ("share.coordinator.state.topic.min.isr", 1),
    ("share.coordinator.state.topic.num.partitions", 5),
    # A killed broker comes back only when its old registration has expired.
    ("broker.session.timeout.ms", 3000),
    ("broker.heartbeat.interval.ms", 500),
    ("group.initial.rebalance.delay.ms", 0),
    ("group.min.session.timeout.ms", 1000),  # tests see a dead worker's lanes move within seconds
    ("group.consumer.min.session.timeout.ms", 1000),
    ("group.consumer.min.heartbeat.interval.ms", 300),
    ("message.max.bytes", MAX_MESSAGE_BYTES),
    ("replica.fetch.max.bytes", MAX_MESSAGE_BYTES),
    ("socket.request.max.bytes", 32 * MIB),
    ("log.segment.bytes", 256 * MIB),
    ("log.index.size.max.bytes", 2 * MIB),  # preallocated for every partition
    ("log.cleaner.dedupe.buffer.size", 16 * MIB),  # the default would take a third of the heap
    ("num.network.threads", 2),
    ("num.io.threads", 4),
    ("num.replica.fetchers", 1),
)
JVM_FLAGS = (
    "-XX:TieredStopAtLevel=1",
    "-XX:+UseSerialGC",
    "-XX:+ExitOnOutOfMemoryError",  # a dead broker is noticed; a broker without memory hangs
    "-Djava.awt.headless=true",
    "-Dlog4j2.disableJmx=true",
)
LOG_CONFIG = """\
status = error
appender.file.type = RollingFile
appender.file.name = file
appender.file.fileName = {path}
appender.file.filePattern = {path}.%i
appender.file.layout.type = PatternLayout
appender.file.layout.pattern = %d{{yyyy-MM-dd'T'HH:mm:ss.SSSX}}{{UTC}} %p %c{{1}}: %m%n
appender.file.policies.type = Policies
appender.file.policies.size.type = SizeBasedTriggeringPolicy
appender.file.policies.size.size = 10MB
appender.file.strategy.type = DefaultRolloverStrategy
appender.file.strategy.max = 2
rootLogger.level = warn
rootLogger.appenderRef.file.ref = file
logger.server.name = kafka.server.KafkaRaftServer
logger.server.level = info
logger.recovery.name = org.apache.kafka.storage.internals.log.LogLoader
logger.recovery.level = info
"""


def server_properties(data: Path, ports: Mapping[str, int], security: SecurityFiles | None) -> str:
    """`server.properties` for the ports remembered; with `security`, an SSL and a SASL_SSL listener more."""
    listeners = {"PLAINTEXT": ports["kafka"]}
    if security is not None:
        listeners |= {"SSL": ports["kafka_ssl"], "SASL_SSL": ports["kafka_sasl"]}
    advertised = ",".join(f"{name}://{HOST}:{port}" for name, port in listeners.items())
    controller = f"{HOST}:{ports['kafka_controller']}"
    protocols = ",".join(f"{name}:{name}" for name in ("PLAINTEXT", "SSL", "SASL_SSL"))
    rows: list[tuple[str, str | int]] = [
        *SETTINGS,
        ("log.dirs", _escaped(data)),
        ("listeners", f"{advertised},CONTROLLER://{controller}"),
        ("advertised.listeners", advertised),
        ("listener.security.protocol.map", f"{protocols},CONTROLLER:PLAINTEXT"),
        ("controller.quorum.voters", f"1@{controller}"),
    ]
    if security is not None:
        rows += [(name, _escaped(value)) for name, value in security.broker_settings()]
    return "".join(f"{name}={value}\n" for name, value in rows)


def log_properties(log_file: Path) -> str:
    """`log4j2.properties`: warnings and the broker's own start and stop, into one rolling file."""
    return LOG_CONFIG.format(path=_escaped(log_file))


def jvm_args(
    class_path: Iterable[Path], heap_mb: int, log_config: Path, security: SecurityFiles | None
) -> str:
    """Java's argument file: short command lines, and no limit on the class path's length."""
    options = [
        *JVM_FLAGS,
        f"-Xmx{heap_mb}m",
        f"-Dlog4j2.configurationFile={log_config.as_uri()}",
        *(security.jvm_options() if security is not None else ()),
        "-cp",
        ":".join(str(jar) for jar in class_path),
    ]
    return "".join(f'"{option.replace(chr(92), chr(92) * 2)}"\n' for option in options)


def _escaped(value: object) -> str:
    """A value as Java's properties format takes it: ASCII, with backslashes doubled."""
    return "".join(
        char if char.isascii() else "".join(f"\\u{unit:04x}" for unit in _utf16(char))
        for char in str(value).replace("\\", "\\\\")
    )


def _utf16(char: str) -> list[int]:
    encoded = char.encode("utf-16-be")
    return [int.from_bytes(encoded[i : i + 2], "big") for i in range(0, len(encoded), 2)]
