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


class TopicDetail(msgspec.Struct, frozen=True, omit_defaults=True):
    """Beside a topic's position: the record there, to know the log again; and who died handling the next one."""

    timestamp_ms: int = 0
    digest: str = ""
    cluster_id: str = ""
    topic_id: str = ""


class Suspect(msgspec.Struct, frozen=True, omit_defaults=True):
    """A batch someone is about to try: how many owners began it and never came back."""

    tries: int = 0
    single: bool = False


def encode(detail: msgspec.Struct) -> str:
    return msgspec.json.encode(detail).decode()


def log_detail(text: str) -> LogDetail:
    return msgspec.json.decode(text, type=LogDetail)


def topic_detail(text: str) -> TopicDetail:
    return msgspec.json.decode(text, type=TopicDetail)


__all__ = ["IN", "LOG", "OUT", "LogDetail", "Suspect", "TopicDetail", "encode", "log_detail", "topic_detail"]
