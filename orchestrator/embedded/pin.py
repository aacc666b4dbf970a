"""The pinned jars of the broker: reading the lock, and making it anew when the broker's version moves."""

import tomllib
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from orchestrator.embedded.errors import EmbeddedError

LOCK_FILE = Path(__file__).with_name("kafka.lock.toml")
KAFKA = ("org.apache.kafka", "kafka_2.13", "4.3.0")
# The broker logs through slf4j 1.7, and its own dependencies leave the bridge to log4j out.
LOG_BRIDGE = ("org.apache.logging.log4j", "log4j-slf4j-impl", "2.25.4")


@dataclass(frozen=True, slots=True)
class PinnedJar:
    """One jar of the lock; `sha256` is in hex."""

    group: str
    artifact: str
    version: str
    sha256: str

    @property
    def file_name(self) -> str:
        return f"{self.artifact}-{self.version}.jar"


def pinned_jars(lock_file: Path = LOCK_FILE) -> tuple[PinnedJar, ...]:
    """The jars of the lock, in its order, which is the class path's order."""
    try:
        rows = tomllib.loads(lock_file.read_text(encoding="utf-8"))["dependencies"]
        return tuple(
            PinnedJar(row["groupId"], row["artifactId"], row["version"], row["sha256"]) for row in rows
        )
    except (OSError, ValueError, KeyError) as error:
        raise EmbeddedError(
            f"the list of pinned jars {lock_file} can't be read ({error}): reinstall the package"
        ) from error


def kafka_version(jars: tuple[PinnedJar, ...]) -> str:
    """The broker's version, such as `4.3.0`."""
    return next(jar.version for jar in jars if jar.artifact.startswith("kafka_"))


def write_lock(lock_file: Path = LOCK_FILE) -> int:
    """Resolve the broker's dependencies, download them, write their checksums; returns the number of jars."""
    from jgo.env import LockFile  # noqa: PLC0415 - the resolver takes 0.2 s to import
    from jgo.maven import MavenContext  # noqa: PLC0415
    from jgo.parse import Coordinate  # noqa: PLC0415

    with TemporaryDirectory() as folder:
        context = MavenContext(repo_cache=Path(folder), timeout=60)
        # raw: else the bridge's parent's version table, made for log4j's own tests, would override the broker's.
        coordinates = (
            Coordinate(*KAFKA, scope="compile"),
            Coordinate(*LOG_BRIDGE, scope="compile", raw=True),
        )
        roots = [context.create_dependency(coordinate) for coordinate in coordinates]
        inputs, transitive = context.resolver.resolve(roots)
        used = [*inputs, *(jar for jar in transitive if jar.scope in {"compile", "runtime"})]
        LockFile.from_resolved_dependencies(used, environment_name="kafka").save(lock_file)
    return len(used)
