"""Published definitions: PostgreSQL holds them, each process keeps what it has used compiled."""

from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Any

from orchestrator.core.decider import Definition
from orchestrator.engine.database import Database

Build = Callable[[str, str, int, str], Definition]
"""kind, id, version and the document's JSON text to a compiled definition."""


def publish(database: Database, kind: str, definition_id: str, document: str) -> tuple[int, bool]:
    """Store a checked document (canonical JSON) as the next version; answers after the commit.

    Returns the version and whether it is new: the newest version published again stays as it is.
    """
    digest = sha256(document.encode()).hexdigest()
    with database.transaction() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(7423002)")  # versions and revisions rise in commit order
        row = cursor.execute(
            "SELECT version, digest FROM orchestrator.definitions WHERE kind = %s AND id = %s ORDER BY version DESC LIMIT 1",
            (kind, definition_id),
        ).fetchone()
        if row is not None and row["digest"] == digest:
            return int(row["version"]), False
        version = int(row["version"]) + 1 if row is not None else 1
        cursor.execute(
            "INSERT INTO orchestrator.definitions (kind, id, version, document, digest) VALUES (%s, %s, %s, %s, %s)",
            (kind, definition_id, version, document, digest),
        )
    return version, True


def document(
    database: Database, kind: str, definition_id: str, version: int | None = None
) -> tuple[int, str] | None:
    """Version and JSON text of a published document; the newest unless a version is given. None when there is none."""
    rows = database.rows(
        "SELECT version, document FROM orchestrator.definitions WHERE kind = %s AND id = %s"
        " AND (%s::bigint IS NULL OR version = %s) ORDER BY version DESC LIMIT 1",
        (kind, definition_id, version, version),
    )
    return (int(rows[0]["version"]), str(rows[0]["document"])) if rows else None


class Catalogue:
    """Every version of every definition by address, the newest by id, and who listens to a raw event type.

    `refresh` reads what was published since; versions are immutable, so nothing cached is ever stale.
    """

    def __init__(self, database: Database, build: Build) -> None:
        self._database = database
        self._build = build
        self._revision = 0
        self._versions: dict[tuple[str, str, int], Definition] = {}
        self._newest: dict[tuple[str, str], Definition] = {}
        self._listeners: dict[str, dict[tuple[str, str], None]] = {}

    def refresh(self) -> bool:
        """Read definitions published since the last call; True when there were any. Synchronous."""
        rows = self._database.rows(
            "SELECT kind, id, version, document, revision FROM orchestrator.definitions"
            " WHERE revision > %s ORDER BY revision",
            (self._revision,),
        )
        for row in rows:
            self._add(self._build(row["kind"], row["id"], row["version"], row["document"]))
            self._revision = row["revision"]
        return bool(rows)

    def _add(self, definition: Definition) -> None:
        address = (definition.kind, definition.id)
        self._versions[(*address, definition.version)] = definition
        newest = self._newest.get(address)
        if newest is None or newest.version < definition.version:
            self._newest[address] = definition
        for event_type in definition.listens:
            # Replaced, not changed: a lane may be going through it in another thread.
            self._listeners[event_type] = {**self._listeners.get(event_type, {}), address: None}

    def version(self, kind: str, definition_id: str, version: int) -> Definition | None:
        return self._versions.get((kind, definition_id, version))

    def newest(self, kind: str, definition_id: str) -> Definition | None:
        return self._newest.get((kind, definition_id))

    def listeners(self, event_type: str) -> Mapping[tuple[str, str], Any]:
        """(kind, id) of each definition of which some version lists the raw event type."""
        return self._listeners.get(event_type, {})
