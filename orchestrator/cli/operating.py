"""What operating on many runs needs: the count before, the command that begins it, and how far it is."""

import asyncio
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from orchestrator.cli import output as out
from orchestrator.cli.envelopes import one
from orchestrator.cli.queries import Installation, NotFound
from orchestrator.core.errors import OrchestratorError
from orchestrator.core.messages import Outcome
from orchestrator.feeding import Feeder, Message
from orchestrator.journeys.bulk.model import BUILT_IN, DEFINITION, stream_of
from orchestrator.journeys.bulk.query import Cursor, Query, fits
from orchestrator.journeys.bulk.state import BulkState
from orchestrator.running import Row, RowsBehind, Running
from orchestrator.settings import Settings

SOURCE: Final = "orchestrator-cli"
_EXACT_S = 5.0
_POLL_S = 0.3
_STALLED_S = 180.0  # without any event of the operation
_ANSWER_S = 30.0


class Refused(OrchestratorError):
    """The operation's command was not applied; the message has the reason."""


class Stalled(OrchestratorError):
    """An operation that stands still; the message says what to look at."""


def preview(
    installation: Installation, organization: str, command: str, query: Query
) -> Counter[tuple[str, str]]:
    """How many runs the operation is for, by state and node. Rows are waited for; said when they lag."""
    running = Running(installation.databases)
    try:
        return _count(running, organization, command, query, _EXACT_S)
    except RowsBehind as behind:
        out.say(f"{behind} This counts what was saved so far.")
        return _count(running, organization, command, query, 0)


def _count(
    running: Running, organization: str, command: str, query: Query, exact_s: float
) -> Counter[tuple[str, str]]:
    found: Counter[tuple[str, str]] = Counter()
    with out.progress("counting", running.lanes) as advance:
        for row in running.rows(organization, query.definition, query.customer, exact_s=exact_s):
            if isinstance(row, Cursor):
                advance(min(row.lane, running.lanes), f"{found.total():,} runs")
            else:
                found.update((run.state, run.node) for run in row.runs if fits(query, command, run))
    return found


def rows(installation: Installation, organization: str, definition: str, customer: str = "") -> Iterator[Row]:
    """The saved journeys of customers through a flow, or of one."""
    own = organization or installation.settings.default_organization
    running = Running(installation.databases)
    with out.progress("reading", running.lanes) as advance:
        for row in running.rows(own, definition, customer):
            if isinstance(row, Cursor):
                advance(min(row.lane, running.lanes))
            else:
                yield row


def asked(command: str, query: Query, reason: str, expected: int) -> dict[str, Any]:
    """The data of a `begin` command."""
    return {
        "command": command,
        "query": msgspec.to_builtins(query),
        "reason": reason,
        "expected": expected,
    }


def new_id() -> str:
    """A name for an operation: the day and some chance."""
    import secrets

    return f"{datetime.now(UTC):%Y%m%d}-{secrets.token_hex(4)}"


async def begin(
    settings: Settings, installation: Installation, organization: str, operation: str, data: dict[str, Any]
) -> None:
    """Publish the `begin` command, after the document of operations where none is there yet. Raises Refused."""
    import orjson

    from orchestrator.engine import catalogue

    main = installation.databases.main
    if await asyncio.to_thread(catalogue.document, main, "bulk", DEFINITION) is None:
        text = orjson.dumps(dict(BUILT_IN), option=orjson.OPT_SORT_KEYS).decode()
        await asyncio.to_thread(catalogue.publish, main, "bulk", DEFINITION, text)
    await tell(settings, organization, operation, "begin", data)


async def tell(
    settings: Settings, organization: str, operation: str, command: str, data: dict[str, Any]
) -> None:
    """Send a command to an operation and wait until it is applied. Raises Refused, NoOutcome."""
    outcomes: list[Outcome] = []
    async with Feeder(settings, stall_s=_ANSWER_S) as feeder:
        feeder.on_outcome = outcomes.append
        await feeder.send(_message(organization, operation, command, data))
        await feeder.drain()
    (outcome,) = outcomes
    if outcome.outcome != "applied":
        raise Refused(f"{command} of operation {operation}: {outcome.reason}")


def _message(organization: str, operation: str, command: str, data: dict[str, Any]) -> Message:
    given = {
        "subject": stream_of(organization, operation).text,
        "type": command,
        "data": msgspec.json.encode(data).decode(),
        "id": "",
        "source": SOURCE,
        "time": "",
    }
    return one(given, backfill=False)


async def look(installation: Installation, organization: str, operation: str) -> tuple[int, BulkState]:
    """An operation as the log has it now, with its version. Raises NotFound."""
    stream = stream_of(organization, operation)
    lane = await installation.open(installation.lane_of(stream))
    (capture,) = await lane.committed_captures([stream])
    if not isinstance(capture.state, BulkState):
        raise NotFound(
            f"no operation {operation[:64]!r} in organization {organization}: `orchestrator bulk list` shows them"
        )
    return capture.version, capture.state


async def follow(installation: Installation, organization: str, operation: str) -> BulkState:
    """Show progress until it is over, paused or failed. Raises Stalled when nothing happens for long."""
    moved_s, seen = time.monotonic(), -1
    total = (await look(installation, organization, operation))[1].expected
    with out.progress(operation, total or None) as advance:
        while True:
            version, state = await look(installation, organization, operation)
            advance(state.told, state.status.lower(), total=max(total, state.told))
            if state.status != "RUNNING":
                return state
            if version != seen:
                moved_s, seen = time.monotonic(), version
            if time.monotonic() - moved_s > _STALLED_S:
                raise Stalled(
                    f"operation {operation} has told {state.told:,} runs and stands still: is a worker running that"
                    " performs effects? It goes on by itself; `orchestrator bulk show` tells how far it is"
                )
            await asyncio.sleep(_POLL_S)


def shown(organization: str, operation: str, state: BulkState) -> dict[str, Any]:
    """An operation as commands answer with it."""
    return {
        "operation": operation,
        "organization": organization,
        "state": state.status,
        "command": state.command,
        "query": msgspec.to_builtins(state.query),
        "told": state.told,
        "expected": state.expected,
        "reason": state.reason,
        "error": state.error,
        "begun_ms": state.begun_ms,
        "ended_ms": state.ended_ms or None,
    }
