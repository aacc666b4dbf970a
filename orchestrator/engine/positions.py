"""What a lane remembers beside each position, as JSON."""

import msgspec

from orchestrator.engine.store import LOG

IN = "in:"  # + topic: the last handled offset of this lane's partition
OUT = "out:"  # + follower: the last position it has dealt with


class LogDetail(msgspec.Struct, frozen=True, omit_defaults=True):
    """Beside the log's position."""

    lane_ms: int = 0
    lane_version: int = 0
    paused: bool = False
    min_reader: int = 1
    imported_ms: int = (
        0  # lane time of the last imported command: while more may come, timers due in history wait
    )


class TopicDetail(msgspec.Struct, frozen=True, omit_defaults=True):
    """Beside a topic's position: the record there, to know the log again."""

    timestamp_ms: int = 0
    digest: str = ""


def encode(detail: msgspec.Struct) -> str:
    """The text kept in the position's row."""
    return msgspec.json.encode(detail).decode()


def log_detail(text: str) -> LogDetail:
    """What is kept beside the log's position."""
    return msgspec.json.decode(text, type=LogDetail)


def topic_detail(text: str) -> TopicDetail:
    """What is kept beside a topic's position."""
    return msgspec.json.decode(text, type=TopicDetail)


__all__ = ["IN", "LOG", "OUT", "LogDetail", "TopicDetail", "encode", "log_detail", "topic_detail"]
