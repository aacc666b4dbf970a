"""Whether an effect that failed may have happened all the same; if it may, the contact it used counts."""

from typing import Final

from orchestrator.core.events import EffectFailed
from orchestrator.journeys.effects import TIMED_OUT, EffectAttemptFailed

_IN_DOUBT: Final = frozenset(
    {
        "timeout",
        "connection_lost",
        "provider_error",
        "publish_failed",
        "answer_unreadable",
        "body_too_large",
        TIMED_OUT,
    }
)
"""Words of providers whose call can be repeated: they fail with these where others end as unknown."""


def in_doubt(failed: EffectFailed | EffectAttemptFailed) -> bool:
    """Whether what was asked for may have happened."""
    return failed.unknown or failed.error in _IN_DOUBT
