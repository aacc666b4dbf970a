"""Produces records and waits for their acknowledgement; a producer that fails is replaced, not trusted."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, KafkaTimeoutError, MessageSizeTooLargeError

from consumers.actions.base import Headers
from consumers.effects.closing import closed_within
from consumers.effects.metrics import EffectMetrics
from consumers.effects.records import Out

MAX_REQUEST_BYTES = 4 * 1024 * 1024
CLOSE_TIMEOUT_S = 5.0
DROPPED = "__connect.errors.value.dropped.bytes"
_log = structlog.get_logger("effects")


class Sender:
    """Idempotent producer with acks=all, Kafka's default partitioner, and a bound on every wait.

    aiokafka's idempotent producer never gives a batch up: without a broker `send` and `stop` wait for ever.
    After a failed try a new producer takes over, so a late duplicate is possible; its readers drop it by id.
    """

    def __init__(
        self, kafka: Mapping[str, Any], *, timeout_s: float, backoff_s: float, metrics: EffectMetrics
    ) -> None:
        self._kafka = kafka
        self._timeout_s = timeout_s
        self._backoff_s = backoff_s
        self._metrics = metrics
        self._producer: AIOKafkaProducer | None = None
        self._lock = asyncio.Lock()

    async def start(self) -> None:
        """Connects; raises KafkaError, OSError or TimeoutError."""
        await asyncio.wait_for(self._current(), self._timeout_s)

    async def close(self) -> None:
        """Bounded; records without an acknowledgement may or may not be written."""
        async with self._lock:
            producer, self._producer = self._producer, None
        await _close(producer)

    async def send_once(
        self, topic: str, *, key: bytes | None, value: bytes | None, headers: Headers
    ) -> None:
        """One try. Raises KafkaError, OSError or TimeoutError; the record may be written all the same."""
        producer: AIOKafkaProducer | None = None
        try:
            async with asyncio.timeout(self._timeout_s):
                producer = await self._current()
                await producer.send_and_wait(topic, value=value, key=key, headers=list(headers))
        except MessageSizeTooLargeError:
            raise  # the producer is well
        except (KafkaError, OSError, TimeoutError):
            self._metrics.produce_errors.inc()
            await self._discard(producer)
            raise

    async def send(self, out: Out, gone: Callable[[], bool]) -> bool:
        """Tries until acknowledged; once `gone()` the try under way is the last. True if acknowledged.

        What a topic is too small for goes without its value, which a header says.
        """
        while True:
            try:
                await self.send_once(out.topic, key=out.key, value=out.value, headers=out.headers)
            except MessageSizeTooLargeError:
                if out.value is None:
                    raise
                out = Out(out.topic, out.key or b"", None, (*out.headers, (DROPPED, b"%d" % len(out.value))))
                continue
            except (KafkaError, OSError, TimeoutError) as error:
                _log.warning("effects.produce_failed", topic=out.topic, error=type(error).__name__)
            else:
                return True
            if gone():
                return False
            await asyncio.sleep(self._backoff_s)

    async def _current(self) -> AIOKafkaProducer:
        async with self._lock:
            if self._producer is None:
                producer = AIOKafkaProducer(
                    **self._kafka, acks="all", enable_idempotence=True, max_request_size=MAX_REQUEST_BYTES
                )
                try:
                    await producer.start()
                except BaseException:
                    await _close(producer)
                    raise
                self._producer = producer
            return self._producer

    async def _discard(self, producer: AIOKafkaProducer | None) -> None:
        # Only the first of many failing callers replaces it.
        if producer is not None and producer is self._producer:
            self._producer = None
            await _close(producer)


async def _close(producer: AIOKafkaProducer | None) -> None:
    if producer is None:
        return
    if not await closed_within(producer.stop(), CLOSE_TIMEOUT_S):
        # `stop` waits for batches that an idempotent producer never gives up: fail them, then end its task.
        producer._message_accumulator.fail_all(KafkaTimeoutError())  # noqa: SLF001
        if (task := producer._sender.sender_task) is not None:  # noqa: SLF001
            task.cancel()
        await closed_within(producer.client.close(), CLOSE_TIMEOUT_S)
