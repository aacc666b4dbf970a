"""A dead letter's message, shown safely: text where it is text, a hex dump where it isn't."""

import base64
from typing import Any

from orchestrator.core.addresses import lane_stream
from orchestrator.core.lane_events import DeadLettered
from orchestrator.engine.lane import Lane

_SHOWN_BYTES = 4_096
_DUMP_WIDTH = 16


async def opened(lane: Lane, row: dict[str, Any]) -> dict[str, Any]:
    """The row with its message: bytes in base64, and as text where they are UTF-8. None once the bytes are gone."""
    recorded = await lane.event_at(lane_stream(lane.number), row["version"])
    event = recorded.envelope.data if recorded is not None else None
    private = event.private if isinstance(event, DeadLettered) else {}
    message = None
    if private:
        message = {
            "topic": private["topic"],
            "partition": private["partition"],
            "offset": private["offset"],
            "timestamp_ms": private["timestamp_ms"],
            "key": _part(private["key"]),
            "headers": [{"name": name, **(_part(value) or {})} for name, value in private["headers"]],
            "value": _part(private["value"]),
        }
    return {**{name: value for name, value in row.items() if name != "version"}, "message": message}


def tell(found: dict[str, Any], *, whole: bool) -> None:
    """Print it for people."""
    from orchestrator.cli import output as out

    message = found["message"]
    out.facts({name: value for name, value in found.items() if name != "message" and value not in (None, "")})
    if message is None:
        out.console().print("Its bytes are gone: they are kept 30 days.")
        return
    place = {"timestamp_ms": message["timestamp_ms"], "key": _shown(message["key"], whole=whole)}
    out.console().print()
    out.facts(place, title=f"{message['topic']}[{message['partition']}] offset {message['offset']}")
    if message["headers"]:
        table = [(header["name"], _shown(header, whole=whole)) for header in message["headers"]]
        out.table(("header", "value"), table)
    out.console().print("Value")
    out.console().print(_shown(message["value"], whole=whole))


def _part(encoded: str | None) -> dict[str, Any] | None:
    if encoded is None:
        return None
    data = base64.b64decode(encoded)
    try:
        text: str | None = data.decode()
    except UnicodeDecodeError:
        text = None
    return {"base64": encoded, "bytes": len(data), "text": text}


def _shown(part: dict[str, Any] | None, *, whole: bool) -> str:
    from orchestrator.cli.output import safe

    if part is None or "base64" not in part:
        return "(none)"
    limit = part["bytes"] if whole else _SHOWN_BYTES
    rest = f"\n… {part['bytes']:,} bytes in all; --whole shows them" if part["bytes"] > limit else ""
    if part["text"] is not None:
        return safe(part["text"][:limit]) + rest
    return dump(base64.b64decode(part["base64"])[:limit]) + rest


def dump(data: bytes) -> str:
    """Offset, hexadecimal and ASCII, sixteen bytes a line."""
    lines = []
    for start in range(0, len(data), _DUMP_WIDTH):
        part = data[start : start + _DUMP_WIDTH]
        text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in part)
        lines.append(f"{start:08x}  {part.hex(' '):<{_DUMP_WIDTH * 3}} {text}")
    return "\n".join(lines)
