"""Records whose header names are no UTF-8: the client gives up on their whole batch; here they are read all the same.

Kafka carries any bytes as a header's name, and some producers send them. One such record would otherwise stand
before its lane for good.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.consumer.fetcher import READ_COMMITTED, PartitionRecords
from aiokafka.errors import KafkaError, for_code
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.record.default_records import _DefaultRecordBatchPy

_WAIT_MS = 500
_FETCH_MAX_BYTES = 2 << 20
_LENGTH_AT, _OVERHEAD = 8, 12


async def fetch(consumer: AIOKafkaConsumer, partition: TopicPartition, offset: int) -> list[Any]:
    """The committed records at and after an offset, a few batches of them; what isn't text in a name is replaced.

    Raises KafkaError or TimeoutError. The consumer's own position stays where it is.
    """
    client = consumer._client  # noqa: SLF001  the client has no public way to fetch
    node = client.cluster.leader_for_partition(partition)
    if node is None or node == -1:
        raise KafkaError(f"{partition.topic}[{partition.partition}] has no leader")
    wanted = [(partition.topic, [(partition.partition, offset, _FETCH_MAX_BYTES)])]
    answer = await client.send(node, FetchRequest(_WAIT_MS, 1, _FETCH_MAX_BYTES, READ_COMMITTED, wanted))
    _, error, _, *rest = answer.topics[0][1][0]
    if error:
        raise for_code(error)(f"{partition.topic}[{partition.partition}] at {offset}")
    aborted = rest[2] if answer.API_VERSION >= 11 else rest[-2]
    batches = _Batches(rest[-1] or b"")
    return list(PartitionRecords(partition, batches, aborted, offset, None, None, False, READ_COMMITTED))


class _Lenient(bytearray):
    """Bytes of which every stretch decodes."""

    def __getitem__(self, index: Any) -> Any:
        found = super().__getitem__(index)
        return _Lenient(found) if isinstance(index, slice) else found

    def decode(self, encoding: str = "utf-8", _errors: str = "strict") -> str:
        return super().decode(encoding, "replace")


class _Batches:
    """What `PartitionRecords` asks for: the whole batches of a fetched stretch, one by one."""

    def __init__(self, data: bytes) -> None:
        self._slices = list(_slices(data))

    def has_next(self) -> bool:
        return bool(self._slices)

    def next_batch(self) -> Any:
        batch = _DefaultRecordBatchPy(self._slices.pop(0))
        batch._maybe_uncompress()  # noqa: SLF001  what it uncompresses is to be lenient too
        batch._buffer = _Lenient(batch._buffer)  # noqa: SLF001
        return batch


def _slices(data: bytes) -> Iterator[Sequence[int]]:
    at = 0
    while at + _OVERHEAD <= len(data):
        end = at + _OVERHEAD + int.from_bytes(data[at + _LENGTH_AT : at + _OVERHEAD], "big")
        if end > len(data):  # the last one may be cut
            return
        yield data[at:end]
        at = end
