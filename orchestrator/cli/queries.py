"""What operators read of an installation: rows of all its lanes, and single journeys through the engine's own code."""

import asyncio
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import orjson

from orchestrator.core.addresses import Stream, customer, lane_of, parse_stream
from orchestrator.core.decider import Definition
from orchestrator.core.errors import OrchestratorError
from orchestrator.engine.catalogue import Catalogue
from orchestrator.engine.codec import Codec
from orchestrator.engine.envelope import Recorded
from orchestrator.engine.lane import Lane
from orchestrator.engine.store import LaneStore
from orchestrator.installation import Databases, lanes_of
from orchestrator.journeys import KINDS
from orchestrator.settings import Settings

_KINDS = {kind.name: kind for kind in KINDS}


class NotFound(OrchestratorError):
    """What was asked for does not exist; the message says where to look."""


class Installation:
    """Lanes of one installation, for reading. Nothing here writes but `ask`."""

    def __init__(self, settings: Settings, databases: Databases) -> None:
        self.settings = settings
        self.databases = databases
        self.lanes = lanes_of(databases.main)
        self.catalogue = Catalogue(databases.main, definition_of)
        self._codec = Codec(event for kind in KINDS for event in kind.events)
        self._executor = ThreadPoolExecutor(max_workers=4)

    def stores(self) -> list[LaneStore]:
        return [self.store(lane) for lane in range(self.lanes)]

    def store(self, lane: int) -> LaneStore:
        return LaneStore(self.databases.of_lane(lane), lane)

    def rows(
        self,
        query: str,
        parameters: Sequence[Any] | Mapping[str, Any] = (),
        *,
        lanes: Sequence[int] | None = None,
    ) -> list[dict[str, Any]]:
        """A query with `{lane}` asked of each lane in turn; every row tells its lane."""
        found = []
        for lane in range(self.lanes) if lanes is None else lanes:
            store = self.store(lane)
            with store.database.transaction() as cursor:
                rows = cursor.execute(store.statement(query), parameters).fetchall()
            found += [{"lane": lane, **row} for row in rows]
        return found

    def lane_of(self, stream: Stream) -> int:
        return lane_of(stream.owner.text, self.lanes)

    async def open(self, number: int) -> Lane:
        """A lane's owner's side, used for reading alone."""
        lane = Lane(
            self.store(number),
            lanes=self.lanes,
            kinds=_KINDS,
            catalogue=self.catalogue,
            codec=self._codec,
            executor=self._executor,
            default_organization=self.settings.default_organization,
            cache_streams=lambda: 1_000,
        )
        await lane.open()
        return lane

    async def events(self, stream: Stream) -> list[Recorded]:
        """Every event of a stream, in order, personal data left sealed. Raises NotFound for a stream without any."""
        stored = await asyncio.to_thread(self.store(self.lane_of(stream)).stream_events, stream.id)
        if not stored:
            raise NotFound(
                f"no journey {stream.text}: `orchestrator journeys list --customer {stream.owner.id}` lists what is there"
            )
        return [
            Recorded(
                0, stream.id, event.originator_version, event.topic,
                self._codec.decode(event.topic, event.state, _no_key), event.state,
            )
            for event in stored
        ]  # fmt: skip


def definition_of(kind: str, definition_id: str, version: int, document: str) -> Definition:
    """A definition for reading; of a kind that this release lacks, uncompiled."""
    parsed, found = orjson.loads(document), _KINDS.get(kind)
    if found is None:
        return Definition(kind, definition_id, version, parsed, None, frozenset())
    return Definition(kind, definition_id, version, parsed, found.compile(parsed), found.listens(parsed))


def journey_stream(
    settings: Settings, installation: Installation, name: str, definition: str, organization: str
) -> Stream:
    """The stream a person means: its full address, or a customer's id with a definition (or the only one published)."""
    if name.count("/") == 3:
        return parse_stream(name)
    if not definition:
        addresses = [f"{row['kind']}:{row['id']}" for row in published(installation.databases)]
        if len(addresses) != 1:
            raise NotFound(
                f"{name} may have several journeys: name one with --definition"
                f" ({', '.join(addresses) or 'none is published'}), or give its address organization/c/customer/kind:definition"
            )
        definition = addresses[0]
    owner = customer(organization or settings.default_organization, name)
    return parse_stream(f"{owner.text}/{full_address(definition)}")


def full_address(definition: str) -> str:
    """`shop` is short for `lifecycle:shop`."""
    return definition if ":" in definition else f"{KINDS[0].name}:{definition}"


def published(databases: Databases) -> list[dict[str, Any]]:
    """The newest version of each definition."""
    return list(
        databases.main.rows(
            "SELECT DISTINCT ON (kind, id) kind, id, version, digest, document,"
            " (extract(epoch FROM published) * 1000)::bigint AS published_ms"
            " FROM orchestrator.definitions ORDER BY kind, id, version DESC"
        )
    )


def documents(databases: Databases, kind: str, definition_id: str) -> dict[int, dict[str, Any]]:
    """Every published version of a definition."""
    rows = databases.main.rows(
        "SELECT version, document FROM orchestrator.definitions WHERE kind = %s AND id = %s",
        (kind, definition_id),
    )
    return {row["version"]: orjson.loads(row["document"]) for row in rows}


def _no_key(subject: str) -> bytes:
    raise KeyError(subject)
