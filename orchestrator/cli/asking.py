"""Requests to the owner of a lane: a row in its `controls`, answered within a second or two where a worker runs."""

import asyncio
import secrets
import time
from collections.abc import Mapping
from typing import Any

import orjson

from orchestrator.cli.queries import Installation
from orchestrator.core.errors import OrchestratorError

ANSWER_WITHIN_S = 15.0
_POLL_S = 0.2
_INSERT = "INSERT INTO {lane}.controls (id, type, data) VALUES (%s, %s, %s) RETURNING id"
_ANSWER = "SELECT answer FROM {lane}.controls WHERE id = %s"
_WITHDRAW = "DELETE FROM {lane}.controls WHERE id = %s AND answer IS NULL RETURNING id"


class NoAnswer(OrchestratorError):
    """No worker answered; the request was taken back."""


async def ask(
    installation: Installation,
    lane: int,
    request: str,
    data: Mapping[str, Any],
    *,
    within_s: float = ANSWER_WITHIN_S,
) -> str:
    """The owner's answer. Raises NoAnswer when none comes in time; the request is then withdrawn."""
    control_id = f"{request}-{secrets.token_hex(8)}"
    only = {"lanes": [lane]}
    await asyncio.to_thread(
        installation.rows, _INSERT, (control_id, request, orjson.dumps(data).decode()), **only
    )
    deadline_s = time.monotonic() + within_s
    try:
        while time.monotonic() < deadline_s:
            rows = await asyncio.to_thread(installation.rows, _ANSWER, (control_id,), **only)
            if rows and rows[0]["answer"] is not None:
                return str(rows[0]["answer"])
            await asyncio.sleep(_POLL_S)
    finally:
        withdrawn = installation.rows(_WITHDRAW, (control_id,), **only)
    if not withdrawn:
        rows = installation.rows(_ANSWER, (control_id,), **only)
        return str(rows[0]["answer"])
    raise NoAnswer(
        f"no worker answered for lane {lane} within {within_s:g} s, the request was taken back:"
        " start one with `orchestrator worker` (or `orchestrator up`), or see `orchestrator lanes list`"
    )
