"""Active runs of flows as the lanes' rows have them, page by page: for operations on many, for previews and lists."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Executor
from typing import NamedTuple
from uuid import UUID

import msgspec

from orchestrator.core.addresses import CUSTOMER, Owner, Stream, customer, lane_of
from orchestrator.core.errors import OrchestratorError
from orchestrator.engine.database import PersistenceError
from orchestrator.engine.positions import LOG, OUT
from orchestrator.engine.store import LaneStore
from orchestrator.installation import Databases, lanes_of
from orchestrator.journeys.bulk.query import ActiveRun, Cursor, Page, Query, fits

KIND = "flow"
_ROWS_AT_ONCE = 500
_PAGE_BYTES_MAX = 96 * 1024  # of an effect's result, which is cut off at 128 KiB
_LOOK_FOR_S = 15.0  # after which a page is answered with what there is
_POLL_S = 0.2
_FIRST = UUID(int=0)
_START = Cursor()
_ROWS = (
    "SELECT stream_id, CASE WHEN fits THEN stream END AS stream, CASE WHEN fits THEN label END AS label,"
    " CASE WHEN fits THEN snapshot END AS snapshot FROM (SELECT stream_id, stream, label, snapshot,"
    " kind = %(kind)s AND definition = %(definition)s AND starts_with(stream, %(owner)s) AS fits FROM {lane}.journeys"
    " WHERE stream_id > %(after)s AND (%(only)s::uuid IS NULL OR stream_id = %(only)s)"
    " ORDER BY stream_id LIMIT %(limit)s) AS looked_at ORDER BY stream_id"
)


class RowsBehind(OrchestratorError):
    """A lane's rows don't yet say what its log says: its worker is busy, or none runs."""


class RowUnreadable(OrchestratorError):
    """A row was written by a release that keeps runs otherwise."""


class Row(NamedTuple):
    """A customer's journey through the flow, as last saved."""

    lane: int
    id: UUID
    stream: str
    label: str
    runs: tuple[ActiveRun, ...]


class _State(msgspec.Struct):
    runs: tuple[ActiveRun, ...] = ()


class _Snapshot(msgspec.Struct):
    state: _State | None


_decode = msgspec.json.Decoder(_Snapshot).decode


class Running:
    """Runs of one installation. Synchronous; call it in a thread. Raises the library's PersistenceError."""

    def __init__(self, databases: Databases) -> None:
        self._databases = databases
        self._lanes = 0

    @property
    def lanes(self) -> int:
        """How many lanes there are."""
        self._lanes = self._lanes or lanes_of(self._databases.main)
        return self._lanes

    def rows(
        self,
        organization: str,
        definition: str,
        customer_id: str = "",
        cursor: Cursor = _START,
        *,
        exact_s: float = 0,
    ) -> Iterator[Row | Cursor]:
        """Every row of a flow after `cursor`, in an order that nothing changes, and how far it has come.

        With `exact_s`, begins a lane only when its rows have caught up with its log; raises RowsBehind when they
        haven't within so many seconds. Raises RowUnreadable.
        """
        only, lanes = None, range(cursor.lane, self.lanes)
        prefix = f"{Owner(organization, CUSTOMER, '').text}"
        if customer_id:
            owner = customer(organization, customer_id)
            prefix, only = f"{owner.text}/", Stream(owner, KIND, definition).id
            lane = lane_of(owner.text, self.lanes)
            lanes = range(max(lane, cursor.lane), lane + 1)
        for lane in lanes:
            store = LaneStore(self._databases.of_lane(lane), lane)
            after = UUID(cursor.after) if cursor.after and lane == cursor.lane else _FIRST
            if exact_s and after == _FIRST:
                _await_rows(store, exact_s)
            while True:
                wanted = {
                    "kind": KIND, "definition": definition, "owner": prefix, "only": only, "after": after,
                    "limit": _ROWS_AT_ONCE,
                }  # fmt: skip
                with store.database.transaction() as cursor_:
                    found = cursor_.execute(store.statement(_ROWS), wanted).fetchall()
                for row in found:
                    if row["stream"] is not None:
                        yield Row(lane, row["stream_id"], row["stream"], row["label"], _runs(row["snapshot"]))
                if len(found) < _ROWS_AT_ONCE:
                    break
                after = found[-1]["stream_id"]
                yield Cursor(lane, str(after))
            yield Cursor(lane + 1)

    def page(self, organization: str, command: str, query: Query, cursor: Cursor, limit: int) -> Page:
        """The next runs an operation is for: up to `limit`, and the rest of the last customer's. Raises as `rows`."""
        runs: list[tuple[str, str]] = []
        size = 0
        deadline_s = time.monotonic() + _LOOK_FOR_S
        for row in self.rows(organization, query.definition, query.customer, cursor, exact_s=_LOOK_FOR_S):
            if isinstance(row, Cursor):
                cursor = row
            else:
                cursor = Cursor(row.lane, str(row.id))
                hits = [(row.stream, run.id) for run in row.runs if fits(query, command, run)]
                runs += hits
                size += sum(len(stream) + len(run) + 8 for stream, run in hits)
            if len(runs) >= limit or size > _PAGE_BYTES_MAX or time.monotonic() > deadline_s:
                return Page(tuple(runs), cursor, last=cursor.lane >= self.lanes)
        return Page(tuple(runs), cursor, last=True)


def finder(
    databases: Databases, executor: Executor
) -> Callable[[str, str, Query, Cursor, int], Awaitable[Page]]:
    """`Running.page` for the effect `find_runs`: OSError while nobody can say, ValueError for unreadable rows."""
    running = Running(databases)

    async def find(organization: str, command: str, query: Query, cursor: Cursor, limit: int) -> Page:
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(
                executor, running.page, organization, command, query, cursor, limit
            )
        except RowsBehind as behind:
            raise OSError(str(behind)) from behind
        except PersistenceError as error:
            raise OSError("the database of journeys does not answer") from error
        except RowUnreadable as unreadable:
            raise ValueError(str(unreadable)) from unreadable

    return find


def _runs(snapshot: bytes) -> tuple[ActiveRun, ...]:
    try:
        state = _decode(snapshot).state
    except msgspec.MsgspecError as error:
        raise RowUnreadable(
            f"a journey's row is of another release ({error}): `orchestrator replay --rebuild` writes the rows anew"
        ) from error
    return () if state is None else state.runs


def _await_rows(store: LaneStore, within_s: float) -> None:
    """Rows are written a moment after their events: wait until they say what the log says now."""
    deadline_s = time.monotonic() + within_s
    mark = store.positions()[LOG].at
    while (at := store.positions()[f"{OUT}journeys"].at) < mark:
        if time.monotonic() > deadline_s:
            raise RowsBehind(
                f"the rows of lane {store.lane} are {mark - at} events behind its log: is its worker running?"
            )
        time.sleep(_POLL_S)
