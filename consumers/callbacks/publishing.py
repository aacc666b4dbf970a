"""Publishes the commands of a callback: all of them, acknowledged, before anybody is thanked."""

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from typing import Final

from aiokafka.errors import KafkaError

from consumers.actions.base import Produce
from consumers.actions.outgoing import Outgoing
from consumers.callbacks.errors import Unavailable
from consumers.callbacks.metrics import CallbackMetrics

KEPT_MAX: Final = 20_000
Key = tuple[str, str]


class CommandPublisher:
    """Remembers a bounded number of keys it has published; the journeys themselves drop every other repeat."""

    def __init__(self, produce: Produce, topic: str, metrics: CallbackMetrics) -> None:
        self._produce = produce
        self._topic = topic
        self._metrics = metrics
        self._published: OrderedDict[Key, None] = OrderedDict()

    async def publish(self, commands: Sequence[Outgoing]) -> None:
        """Returns once all in-sync replicas have all of them. Raises Unavailable; some may be written all the same."""
        fresh: dict[Key, Outgoing] = {}
        for command in commands:
            key = (command.stream.text, command.id)
            if key in self._published or key in fresh:
                self._metrics.repeated.inc()
            else:
                fresh[key] = command
        results = await asyncio.gather(*map(self._send, fresh.values()), return_exceptions=True)
        failure: BaseException | None = None
        for key, result in zip(fresh, results, strict=True):
            if result is None:
                self._remember(key)
            else:
                failure = failure or result
        if isinstance(failure, KafkaError | OSError | TimeoutError):
            raise Unavailable from failure
        if failure is not None:
            raise failure

    async def _send(self, command: Outgoing) -> None:
        await self._produce(self._topic, key=command.key, value=command.value, headers=command.headers)

    def _remember(self, key: Key) -> None:
        self._published[key] = None
        if len(self._published) > KEPT_MAX:
            self._published.popitem(last=False)
