"""An experience journey as the engine keeps it: encoded, sealed, rebuilt; and what its log shows to nobody."""

from typing import Any

from orchestrator.core.addresses import Stream, customer
from orchestrator.core.messages import TELLING_SOURCE, Command
from orchestrator.distributions.base import distribution_stream
from orchestrator.engine.frame import Frame
from tests.experience.documents import GATED
from tests.experience.world import KIND, NOW_MS, TRUSTED, definition
from tests.support.memory import Engine, Published, same

ANNA = customer("acme", "anna")
STREAM = Stream(ANNA, "experience", "gated")
CANARIES = ("canary-token", "canary-code", "canary-attribute", "canary-segment", "VIP2026")


def test_a_whole_journey_is_rebuilt_and_its_secrets_are_sealed() -> None:
    """The log gives back the same state, timers and pin; tokens, codes and attributes are in none of its bytes."""
    engine, frame = Engine(KIND, Published(definition(GATED))), Frame(STREAM, KIND)
    line = distribution_stream("acme", "gated", "line", "queue").text
    said = {"distribution": "line", "mechanism": "queue"}
    steps: list[tuple[str, str, dict[str, Any]]] = [
        (TRUSTED, "start", {"attributes": {"risk": "canary-attribute"}, "segments": ["canary-segment"]}),
        ("web", "authenticate", {"id_token": "canary-token"}),
        (
            "engine/effects",
            "effect.succeeded",
            {"effect": "e3-0", "attempt": 1, "result": {"subject": "anna"}},
        ),
        ("web", "provide_access_code", {"access_code": "canary-code"}),
        ("web", "provide_access_code", {"access_code": "VIP2026"}),
        (TRUSTED, "complete_bot_check", {}),
        ("web", "enter_queue", {}),
        (TELLING_SOURCE, "distribution.entered", {**said, "participation": "line-1"}),
        (TELLING_SOURCE, "distribution.admitted", {**said, "jti": "j", "expires_ms": NOW_MS + 60_000}),
        ("web", "start", {"reset": True}),
        ("web", "destroy", {}),
    ]
    labels = []
    for number, (source, type, data) in enumerate(steps):
        id = f"{line}/{number}/0" if source == TELLING_SOURCE else f"k{number}"
        batch = engine.batch(NOW_MS + number)
        batch.decide(frame, Command(source, id, type, ANNA, STREAM, data))
        engine.commit(batch)
        rebuilt = engine.rebuilt(STREAM)
        same(rebuilt, frame)
        if frame.state is not None:
            assert frame.state.revision == frame.version
        labels.append(KIND.label(frame.state))
    assert labels == [
        "needs_auth", "needs_auth", "needs_access_code", "needs_access_code", "entering", "routed.active_enterable",
        "routed.active_enterable", "routed.participating", "routed.admitted", "needs_auth", "not_started",
    ]  # fmt: skip
    stored = b"".join(recorded.stored for recorded in engine.log)
    assert [canary for canary in CANARIES if canary.encode() in stored] == []
