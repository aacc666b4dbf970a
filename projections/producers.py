"""The worker's shared idempotent producer, made anew after an error: some of its failures are final."""

import asyncio
from collections.abc import Mapping
from typing import Any

from aiokafka import AIOKafkaProducer

_START_TIMEOUT_S = 30.0
_STOP_TIMEOUT_S = 5.0


class SharedProducer:
    """Started on first use; `discard` ends one that failed, whoever notices first."""

    def __init__(self, kafka: Mapping[str, Any]) -> None:
        self._kafka = dict(kafka)
        self._producer: AIOKafkaProducer | None = None
        self._lock = asyncio.Lock()

    async def get(self) -> AIOKafkaProducer:
        """The producer. Raises KafkaError or TimeoutError when the broker can't be reached."""
        async with self._lock:
            if self._producer is None:
                producer = AIOKafkaProducer(
                    **self._kafka,
                    acks="all",
                    enable_idempotence=True,
                    max_batch_size=1 << 20,
                    max_request_size=8 << 20,
                )
                try:
                    async with asyncio.timeout(_START_TIMEOUT_S):
                        await producer.start()
                except BaseException:
                    await stop_bounded(producer)
                    raise
                self._producer = producer
            return self._producer

    async def discard(self, producer: AIOKafkaProducer) -> None:
        """Never hand this one out again."""
        if self._producer is producer:
            self._producer = None
            await stop_bounded(producer)

    async def close(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            await stop_bounded(producer)


async def stop_bounded(producer: AIOKafkaProducer) -> None:
    """With the broker gone, an idempotent producer's stop can hang for good."""
    try:
        async with asyncio.timeout(_STOP_TIMEOUT_S):
            await producer.stop()
    except Exception:  # noqa: BLE001  it is given up either way
        return
