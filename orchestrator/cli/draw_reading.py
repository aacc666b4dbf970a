"""Draws and shuffles as the log tells them, page by page."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from orchestrator.core.addresses import Stream
    from orchestrator.core.events import Event
    from orchestrator.distributions.draw.state import DrawState
    from orchestrator.distributions.fairness.shuffle import ShuffleProof

_PAGE = 5_000


def is_queue(name: str) -> bool:
    """Whether an address is a queue's. Raises Malformed for what is none, or another's than a draw's."""
    from orchestrator.core.addresses import parse_stream
    from orchestrator.core.errors import Malformed
    from orchestrator.distributions.draw import DRAW
    from orchestrator.distributions.queue import QUEUE

    kind = parse_stream(name).kind
    if kind not in {DRAW.name, QUEUE.name}:
        raise Malformed(
            f"{name} is no draw: its address reads organization/r/experience.id/draw:experience:id"
        )
    return kind == QUEUE.name


async def state_of(settings: Any, databases: Any, name: str) -> "DrawState":
    """The draw at this address. Raises Malformed for another address, NotFound where nothing has happened."""
    from orchestrator.cli.queries import NotFound
    from orchestrator.core.addresses import parse_stream
    from orchestrator.core.errors import Malformed
    from orchestrator.distributions.draw import DRAW

    if is_queue(name):
        raise Malformed(f"{name} is a queue, no draw")
    state = None
    async for page in _events(settings, databases, parse_stream(name), DRAW.events):
        for event in page:
            state = DRAW.evolve(state, event)
    if state is None:
        raise NotFound(f"no draw {name}: nothing has happened there")
    found: DrawState = state
    return found


async def shuffle_of(settings: Any, databases: Any, name: str) -> "ShuffleProof":
    """The shuffle of a queue at this address. Raises NotFound where there was none yet."""
    from orchestrator.cli.queries import NotFound
    from orchestrator.core.addresses import parse_stream
    from orchestrator.distributions.fairness.shuffle import ShuffleProof, ordered
    from orchestrator.distributions.queue import QUEUE
    from orchestrator.distributions.queue import events as queues

    waiting: dict[str, int] = {}
    commitment = ""
    async for page in _events(settings, databases, parse_stream(name), QUEUE.events):
        for event in page:
            match event:
                case queues.QueuePrepared() | queues.QueueConfigured():
                    commitment = event.config.commitment
                case queues.QueueEntered():
                    waiting[event.participant] = event.ticket
                case queues.QueueLeft():
                    waiting.pop(event.participant, None)
                case queues.QueuePlacesFreed() | queues.QueueDismissed():
                    for participant in event.participants:
                        waiting.pop(participant, None)
                case queues.QueueOpened(secret=secret) if secret:
                    order = ordered(secret, waiting.values())
                    return ShuffleProof(queue=name, commitment=commitment, secret=secret, order=order)
    raise NotFound(f"{name} has shuffled nobody: it has no pre-queue, or did not open yet")


async def _events(
    settings: Any, databases: Any, stream: "Stream", types: "Sequence[type[Event]]"
) -> "AsyncIterator[list[Event]]":
    """A stream's events, in order; what is private in them stays sealed."""
    from orchestrator.cli.queries import Installation
    from orchestrator.engine.codec import Codec

    installation = Installation(settings, databases)
    store, codec, version = installation.store(installation.lane_of(stream)), Codec(types), 0
    while page := await asyncio.to_thread(store.stream_page, stream.id, version, _PAGE):
        version = page[-1][0]
        yield [codec.decode(name, stored, _no_key).data for _, name, stored in page]


def _no_key(subject: str) -> bytes:
    raise KeyError(subject)
