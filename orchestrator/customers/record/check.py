"""What a JSON Schema can't say about a record document: names that must exist, and what must be personal."""

from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, Final

from orchestrator.core.decider import Problem
from orchestrator.core.durations import duration_ms
from orchestrator.customers.record.caps import ANY
from orchestrator.customers.record.compile import SIZED

PER_MIN_MS: Final = 60_000


def check(document: Mapping[str, Any]) -> Sequence[Problem]:
    """Every problem of a document that fits the schema."""
    return [
        *_attributes(document),
        *_zone(document),
        *_channels(document),
        *_caps(document),
        *_events(document),
    ]


def _attributes(document: Mapping[str, Any]) -> Iterator[Problem]:
    for name, source in document["attributes"].items():
        if "max_length" in source and source["type"] not in SIZED:
            message = f"a value of type {source['type']} has no length"
            yield Problem(f"/attributes/{name}/max_length", message, "remove `max_length`")


def _zone(document: Mapping[str, Any]) -> Iterator[Problem]:
    if "zone" not in document:
        return
    name = document["zone"]
    source = document["attributes"].get(name)
    if source is None:
        yield _undeclared("/zone", name, document)
    elif source["type"] != "string":
        message = f"a time zone is a text, but {name!r} is of type {source['type']}"
        yield Problem("/zone", message, f"make {name!r} a string")


def _channels(document: Mapping[str, Any]) -> Iterator[Problem]:
    for channel, source in document.get("channels", {}).items():
        if "address" not in source:
            continue
        name, pointer = source["address"], f"/channels/{channel}/address"
        attribute = document["attributes"].get(name)
        if attribute is None:
            yield _undeclared(pointer, name, document)
            continue
        if attribute["type"] != "string":
            message = f"an address is a text, but {name!r} is of type {attribute['type']}"
            yield Problem(pointer, message, f"make {name!r} a string")
        if not attribute["pii"]:
            cure = f"write `pii: true` at attribute {name!r}"
            yield Problem(pointer, f"{name!r} holds an address, which is personal", cure)


def _caps(document: Mapping[str, Any]) -> Iterator[Problem]:
    caps, channels = document.get("caps", []), document.get("channels", {})
    if caps and ANY in channels:
        message = f"{ANY!r} means every channel in `caps`"
        yield Problem(f"/channels/{ANY}", message, "give the channel another name")
    seen: set[tuple[str, int]] = set()
    for n, cap in enumerate(caps):
        name = cap["channel"]
        if name != ANY and name not in channels:
            near = get_close_matches(name, [*channels, ANY], n=1)
            cure = f"did you mean `{near[0]}`?" if near else f"declare it in `channels`, or write {ANY}"
            yield Problem(f"/caps/{n}/channel", f"{name!r} is no declared channel", cure)
        try:
            per_ms = duration_ms(cap["per"])
        except ValueError as error:
            yield Problem(f"/caps/{n}/per", str(error), "write a span from 1m to 3650d")
            continue
        if per_ms < PER_MIN_MS:
            yield Problem(f"/caps/{n}/per", f"{cap['per']} is shorter than a minute", "write 1m or more")
        if (name, per_ms) in seen:
            message = f"a second cap of {name!r} per {cap['per']}"
            yield Problem(f"/caps/{n}", message, "keep the lower one", "warning")
        seen.add((name, per_ms))


def _events(document: Mapping[str, Any]) -> Iterator[Problem]:
    if document.get("unknown") == "keep":
        return
    for type, paths in document.get("events", {}).items():
        place = type.replace("~", "~0").replace("/", "~1")
        for name in paths:
            if name not in document["attributes"]:
                yield _undeclared(f"/events/{place}/{name}", name, document)


def _undeclared(pointer: str, name: str, document: Mapping[str, Any]) -> Problem:
    near = get_close_matches(name, document["attributes"], n=1)
    cure = f"did you mean `{near[0]}`?" if near else f"declare {name!r} in `attributes`"
    return Problem(pointer, f"{name!r} is no declared attribute", cure)
