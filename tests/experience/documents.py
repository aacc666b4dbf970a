"""Experiences to try."""

from typing import Any

from tests.experience.world import TRUSTED

ONE_SEQUENCE: dict[str, Any] = {
    "kind": "experience",
    "id": "exp_1",
    "name": "One",
    "trusted_sources": [TRUSTED],
    "sequences": [{"id": "general", "name": "General", "distribution": "line"}],
    "distributions": {"line": {"mechanism": "queue"}},
}


def one(mechanism: str = "queue", **sequence: Any) -> dict[str, Any]:
    """An experience of one sequence; it has a waitlist if the sequence names one."""
    waits = {"wait": {"mechanism": "waitlist"}} if "waitlist" in sequence else {}
    return {
        **ONE_SEQUENCE,
        "sequences": [{**ONE_SEQUENCE["sequences"][0], **sequence}],
        "distributions": {"line": {"mechanism": mechanism}, **waits},
    }


GATED: dict[str, Any] = {
    **ONE_SEQUENCE,
    "id": "gated",
    "requirements": [
        {"type": "authentication", "reason": "Please sign in", "provider": "accounts"},
        {"type": "access_code", "required": False},
        {"type": "bot_check", "provider": "turnstile", "metadata": {"site_key": "k-1"}},
    ],
    "access_codes": {
        "codes": [
            {"id": "vip", "code": "VIP2026"},
            {"id": "old", "code": "OLD2025", "expires_at": "2025-12-31T00:00:00Z"},
            {"id": "few", "code": "FEW2026", "uses": 2},
        ]
    },
    "sequences": [
        {
            "id": "vip", "name": "VIP", "priority": 1, "distribution": "line",
            "gates": [{"type": "access_code", "codes": ["vip", "few"]}],
        },
        {"id": "general", "name": "General", "priority": 2, "distribution": "drawing"},
    ],
    "distributions": {"line": {"mechanism": "queue"}, "drawing": {"mechanism": "draw"}},
}  # fmt: skip
