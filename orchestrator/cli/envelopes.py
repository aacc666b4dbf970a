"""From what a person types to messages: binary CloudEvents on the commands topic, flat raw events as they are."""

import secrets
from collections.abc import Mapping
from typing import Any

import msgspec

from orchestrator.core.addresses import customer, parse_owner, parse_stream
from orchestrator.core.errors import Malformed, OrchestratorError
from orchestrator.core.messages import Outcome
from orchestrator.engine.inbound import RAW_SOURCE
from orchestrator.feeding import Message
from orchestrator.settings import load

_KNOWN = {
    "subject",
    "type",
    "id",
    "source",
    "data",
    "time",
    "replyto",
    "backfill",
    "traceparent",
    "specversion",
    "organization",
}


class BadCommand(OrchestratorError):
    """What was typed can't become a command; the message names place and cure."""


def one(given: Mapping[str, str], *, backfill: bool) -> Message:
    """The command of the program's arguments. Raises BadCommand."""
    try:
        data = msgspec.json.decode(given["data"])
    except msgspec.DecodeError as error:
        raise BadCommand(
            f'DATA is not JSON: {error}. Quote it for the shell: \'{{"type": "PRODUCT_VIEWED"}}\''
        ) from error
    return _command({**given, "data": data, "backfill": backfill}, "the command")


def from_line(line: bytes, number: int, source: str, backfill: bool) -> Message:
    """The command of a JSON line, or its raw event. Raises BadCommand naming the line."""
    place = f"line {number}"
    try:
        given = msgspec.json.decode(line, type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise BadCommand(f"{place} is not a JSON object: {error}") from error
    if "userId" in given and "idempotencyKey" in given:
        return _raw(given, backfill=backfill, place=place)
    unknown = sorted(set(given) - _KNOWN)
    if unknown:
        raise BadCommand(f"{place}: unknown field {unknown[0]!r}; known are {', '.join(sorted(_KNOWN))}")
    return _command({"source": source, "backfill": backfill, **given}, place)


def defaults(outcome: Outcome) -> dict[str, Any]:
    """An outcome with every field."""
    return {
        "source": outcome.source, "id": outcome.id, "outcome": outcome.outcome, "duplicate": outcome.duplicate,
        "stream": outcome.stream, "revision": outcome.revision, "reason": outcome.reason, "detail": outcome.detail,
    }  # fmt: skip


def _command(given: Mapping[str, Any], place: str) -> Message:
    for name in ("subject", "type", "source"):
        if not isinstance(given.get(name), str) or not given[name]:
            raise BadCommand(f"{place}: {name} is missing")
    data = given.get("data", {})
    if not isinstance(data, dict):
        raise BadCommand(f"{place}: data must be a JSON object")
    subject = given["subject"]
    try:
        owner = parse_owner(subject) if subject.count("/") == 2 else parse_stream(subject).owner
    except Malformed as error:
        raise BadCommand(f"{place}: {error}") from error
    command_id = str(given.get("id") or secrets.token_hex(12))
    attributes = {name: str(given[name]) for name in ("time", "replyto") if given.get(name)}
    attributes |= {"backfill": "true"} if given.get("backfill") in (True, "true") else {}
    attributes |= {"id": command_id, "source": given["source"], "type": given["type"], "subject": subject}
    headers = [
        ("ce_specversion", b"1.0"),
        *((f"ce_{name}", value.encode()) for name, value in attributes.items()),
    ]
    headers.append(("content-type", b"application/json"))
    if given.get("traceparent"):
        headers.append(("traceparent", str(given["traceparent"]).encode()))
    return Message(
        "commands",
        owner.text.encode(),
        msgspec.json.encode(data),
        tuple(headers),
        (given["source"], command_id),
    )


def _raw(given: Mapping[str, Any], *, backfill: bool, place: str) -> Message:
    organization = str(given.get("organization") or load().default_organization)
    try:
        owner = customer(organization, str(given["userId"]))
    except Malformed as error:
        raise BadCommand(f"{place}: {error}") from error
    headers = [("ce_organization", organization.encode())]
    if backfill:
        headers.append(("ce_backfill", b"true"))
    body = {name: value for name, value in given.items() if name != "organization"}
    command = (RAW_SOURCE, str(given["idempotencyKey"]))
    return Message("raw", owner.text.encode(), msgspec.json.encode(body), tuple(headers), command)
