"""Spans of time as documents write them: `30d`, `12h`, `15m`, `45s`, `500ms`, `2w`."""

import re
from typing import Final

PATTERN: Final = r"^[1-9][0-9]{0,8}(ms|s|m|h|d|w)$"
DURATION_MAX_MS: Final = 3_650 * 86_400_000
_UNITS_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}


def duration_ms(text: str) -> int:
    """The span in ms. Raises ValueError, saying what is wrong and how to write it."""
    match = re.fullmatch(PATTERN[1:-1], text)
    if match is None:
        raise ValueError(
            f"{text!r} is no duration: write a whole number and ms, s, m, h, d or w, such as 30d"
        )
    span_ms = int(text[: -len(match[1])]) * _UNITS_MS[match[1]]
    if span_ms > DURATION_MAX_MS:
        raise ValueError(f"{text!r} is longer than ten years (3650d)")
    return span_ms
