"""What lies where in a data folder, and what is remembered of it between two starts."""

import base64
import errno
import json
import os
import secrets
import uuid
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from orchestrator.embedded.errors import EmbeddedError, from_os_error
from orchestrator.embedded.ports import choose_port, is_free

LAYOUT_VERSION = 1
POSTGRES_MAJOR = 18


def _kafka_uuid() -> str:
    """A random UUID in the form Kafka writes: 22 characters of URL-safe base64, not starting with a dash."""
    while True:
        text = base64.urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=").decode()
        if not text.startswith("-"):  # else the format tool would take it for an option
            return text


@dataclass(frozen=True, slots=True)
class Layout:
    """The paths of one data folder; `root` is absolute and free of symbolic links."""

    root: Path

    @property
    def memory_file(self) -> Path:
        return self.root / "embedded.json"

    @property
    def lock_file(self) -> Path:
        """Locked by the guard for as long as it lives."""
        return self.root / "guard.lock"

    @property
    def guard_file(self) -> Path:
        """Where the running guard listens; only as true as the lock is held."""
        return self.root / "guard.json"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def kafka(self) -> Path:
        return self.root / "kafka"

    @property
    def postgres(self) -> Path:
        return self.root / "postgres"


@dataclass(slots=True)
class Memory:
    """What a data folder remembers: who wrote it, its ports and its generated secrets (file mode 0600)."""

    layout_version: int = LAYOUT_VERSION
    kafka_version: str = ""
    postgres_major: int = POSTGRES_MAJOR
    cluster_id: str = field(default_factory=_kafka_uuid)
    database_password: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    scram_password: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    ports: dict[str, int] = field(default_factory=dict)
    kafka_formatted: bool = False
    database_created: bool = False

    def port(self, name: str) -> int:
        """The remembered port of `name`, or a new one if it was never chosen or is taken now."""
        if name not in self.ports or not is_free(self.ports[name]):
            self.ports[name] = choose_port(avoid=self.ports.values())
        return self.ports[name]


def open_layout(data_dir: Path) -> Layout:
    """The layout of `data_dir`, its folders made.

    Raises:
        EmbeddedError: the folder can't be written, or its path can't be used by the servers.
    """
    root = data_dir.expanduser().resolve()
    if "," in str(root) or not str(root).isprintable():
        raise EmbeddedError(
            f"the data folder {root} has a comma or a control character in its path, which Kafka can't handle: choose another one"
        )
    layout = Layout(root)
    try:
        if not root.exists():
            root.mkdir(parents=True, exist_ok=True)
            root.chmod(0o711)  # started by root, the database runs as another user, who must pass here
        layout.logs.mkdir(mode=0o700, exist_ok=True)
        layout.kafka.mkdir(mode=0o700, exist_ok=True)
        layout.postgres.mkdir(mode=0o711, exist_ok=True)
        if not os.access(root, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(root))
    except OSError as error:
        raise from_os_error(error, "preparing the data folder", root) from error
    return layout


def read_memory(layout: Layout, kafka_version: str) -> Memory:
    """The data folder's memory, or a fresh one; refuses data written by versions that this one can't read.

    Raises:
        EmbeddedError: the folder comes from another version, or its memory is damaged.
    """
    path = layout.memory_file
    try:
        stored: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        memory = Memory(**stored)
    except FileNotFoundError:
        return Memory(kafka_version=kafka_version)
    except OSError as error:
        raise from_os_error(error, "reading what the data folder remembers", path) from error
    except (ValueError, TypeError) as error:
        raise EmbeddedError(
            f"{path} is damaged or from another version ({error}): move {layout.root} away, or choose another data folder"
        ) from error
    _refuse_other_versions(layout, memory, kafka_version)
    memory.kafka_version = kafka_version
    return memory


def write_memory(layout: Layout, memory: Memory) -> None:
    """Keep what the data folder remembers."""
    write_private(layout.memory_file, json.dumps(asdict(memory), indent=1))


def write_private(path: Path, text: str) -> None:
    """Replace a file in one step, readable by its owner alone."""
    draft = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        draft.unlink(missing_ok=True)
        with os.fdopen(
            os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8"
        ) as out:
            out.write(text)
        draft.replace(path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise from_os_error(error, "writing", path) from error


def _refuse_other_versions(layout: Layout, memory: Memory, kafka_version: str) -> None:
    if memory.layout_version != LAYOUT_VERSION:
        found, ours = f"layout {memory.layout_version}", f"layout {LAYOUT_VERSION}"
    elif memory.postgres_major != POSTGRES_MAJOR:
        found, ours = f"PostgreSQL {memory.postgres_major}", f"PostgreSQL {POSTGRES_MAJOR}"
    elif _numbers(memory.kafka_version) > _numbers(kafka_version):
        found, ours = f"Kafka {memory.kafka_version}", f"Kafka {kafka_version}, and Kafka can't go back"
    else:
        return
    raise EmbeddedError(
        f"the data folder {layout.root} was written with {found}; this release runs {ours}: "
        "use the release that wrote it, or choose another data folder"
    )


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())
