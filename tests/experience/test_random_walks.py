"""Random commands, answers and clocks: no surprise, whatever comes in whatever order."""

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.journeys.experience.commands import ANSWERS
from orchestrator.journeys.experience.public import VIEW_PHASES, VIEW_STAGES
from orchestrator.journeys.experience.stages import (
    ENGAGED,
    JOURNEY_ACTIONS,
    JOURNEY_STAGES,
    SEQUENCE_ACTIONS,
    SEQUENCE_STAGES,
)
from orchestrator.journeys.experience.state import NOTES_MAX
from tests.experience.documents import GATED
from tests.experience.test_actions import DATA, performed
from tests.experience.world import HOUR, MINUTE, SECOND, World

MECHANISMS = ("queue", "draw", "auction", "timed_release", "appointment")
SECRETS = ("VIP2026", "FEW2026", "secret-token", "secret-tier", "secret-risk", "secret-segment")
COUNTER = "acme/r/walk.codes/access_code:walk"


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    """Gates or none, a waitlist or none, windows or none, any mechanism."""
    mechanism = draw(st.sampled_from(MECHANISMS))
    window = draw(
        st.sampled_from(
            [
                {},
                {"opens_at": "2026-01-05T10:30:00Z"},
                {"opens_at": "2026-01-05T10:10:00Z", "closes_at": "2026-01-05T12:00:00Z"},
            ]
        )
    )
    vip = {
        "id": "vip", "distribution": "line", "waitlist": "wait", "priority": 1,
        "on_admission_expired": draw(st.sampled_from(["reenter", "waitlist", "end"])), **window,
        "attributes": {"weight": {"var": "attributes.risk"}},
    }  # fmt: skip
    guard = draw(
        st.sampled_from(
            [
                {},
                {"gates": [{"type": "access_code", "codes": ["vip"]}]},
                {"gates": [{"type": "authentication", "provider": "accounts"}]},
                {"when": {"in": ["secret-segment", {"var": "segments"}]}},
            ]
        )
    )
    requirements = {"requirements": GATED["requirements"]} if draw(st.booleans()) else {}
    return {
        "kind": "experience", "id": "walk", "name": "Walk", "trusted_sources": ["shop/checkout"],
        "access_codes": GATED["access_codes"], **requirements,
        "sequences": [{**vip, **guard}, {"id": "general", "distribution": "other", "priority": 2, **draw(st.sampled_from([{}, {"when": False}]))}],
        "distributions": {"line": {"mechanism": mechanism}, "wait": {"mechanism": "waitlist"}, "other": {"mechanism": "draw"}},
    }  # fmt: skip


def step(draw: st.DrawFn, world: World) -> None:
    """One thing that may happen."""
    kind = draw(
        st.sampled_from(
            ["action", "action", "action", "told", "told", "told", "clock", "effect", "server", "code"]
        )
    )
    now_ms = world.now_ms
    if kind == "action":
        listed = world.actions
        likely = [*listed["journey"], *listed["sequence"]] * 4
        action = draw(st.sampled_from((*JOURNEY_ACTIONS, *SEQUENCE_ACTIONS, *likely)))
        data = dict(DATA.get(action, {}))
        if action == "provide_access_code":
            data["access_code"] = draw(st.sampled_from(["VIP2026", "FEW2026", "OLD2025", "wrong"]))
        if action in {"authenticate", "complete_bot_check"}:
            data = dict.fromkeys(data, "secret-token")
        world.do(action, draw(st.sampled_from(["web", "shop/checkout"])), **data)
    elif kind == "told":
        word = draw(st.sampled_from(sorted(ANSWERS)))
        seat = None if world.state is None else world.state.seat
        near = ["line"] if seat is None else [seat.distribution] * 6
        place = draw(st.sampled_from(["line", "wait", "other", *near]))
        data = {
            "participation": draw(st.sampled_from(["p-1", "p-2"])),
            "jti": draw(st.sampled_from(["j-1", "j-1", "j-2"])),
            "expires_ms": draw(st.sampled_from([0, now_ms - MINUTE, now_ms + MINUTE])),
            "what": draw(st.sampled_from(["admission", "offer", "hold"])),
            "reason": draw(st.sampled_from(["left", "closed", "absent"])),
            "action": draw(st.sampled_from(["enter", "leave", "bid"])),
            "phase": draw(st.sampled_from(["open", "paused", "closed", "waiting"])),
        }
        world.told(word, place, **data)
    elif kind == "clock":
        world.wait(draw(st.sampled_from([0, SECOND, 31 * SECOND, 10 * MINUTE, HOUR])))
    elif kind == "effect" and world.state is not None and world.state.pending:
        need = draw(st.sampled_from(sorted(one.action for one in world.state.pending.values())))
        result = draw(st.sampled_from([{}, {"subject": "anna", "success": True}, {"subject": "bob"}]))
        world.answer(need, draw(st.sampled_from(["succeeded", "failed", "unknown"])), result=result)
    elif kind == "code":
        world.told_by(COUNTER, draw(st.sampled_from(["code.used", "code.refused"])), code="few")
    else:
        _server(draw, world)


def _server(draw: st.DrawFn, world: World) -> None:
    known = {"attributes": {"risk": "secret-risk"}, "segments": ["secret-segment"]}
    choices: list[tuple[str, dict[str, Any]]] = [
        ("start", {"reset": True}),
        ("start", {"reset": True, "access_code": "wrong"}),
        ("start", known),
        ("set_attributes", known),
        ("destroy", {}),
        ("ack_all_events", {}),
        ("mark_admitted", {"jti": "j-3", "expires_ms": world.now_ms + MINUTE}),
        ("resume_from_server", {"sequenceId": "general", "requirementsMet": ["authentication"]}),
        ("resume_from_server", {"sequenceId": "vip", "waitlist": {"waitlistId": "wait"}}),
    ]
    type, data = draw(st.sampled_from(choices))
    world.do(type, draw(st.sampled_from(["web", "shop/checkout"])), **data)


@settings(deadline=None, max_examples=150, suppress_health_check=list(HealthCheck))
@given(documents(), st.data())
def test_whatever_happens_everything_holds(document: dict[str, Any], data: st.DataObject) -> None:
    """Replay, snapshots, timers, revisions and secrets hold after every step, and the lists are what is accepted."""

    @st.composite
    def walk(draw: st.DrawFn) -> None:
        world = World(document, record={"private": {"tier": "secret-tier"}}, secrets=SECRETS)
        world.do("start")
        for _ in range(draw(st.integers(1, 25))):
            step(draw, world)
            check(world)
        listed = world.actions
        assert performed(world) == {*listed["journey"], *listed["sequence"]}

    data.draw(walk())


def check(world: World) -> None:
    """What holds of every state."""
    shot, view = world.shot, world.view
    assert shot["journeyStage"] in JOURNEY_STAGES
    assert shot["sequenceStage"] in SEQUENCE_STAGES
    assert view["stage"] in VIEW_STAGES
    assert (shot["journeyStage"] == "routed") == (shot["sequenceStage"] != "none") == ("sequence" in view)
    assert view.get("sequence", {"phase": "ended"})["phase"] in VIEW_PHASES
    state = world.state
    if state is None:
        assert world.timers == {}
        return
    assert len(state.notes) <= NOTES_MAX
    assert len({note.id for note in state.notes}) == len(state.notes)
    assert (state.stage == "admitted") == (state.admission is not None)
    assert state.stage in ENGAGED or state.participation is None
    assert set(state.checks) == set(state.pending)
    checking = {need.type for need in state.needs if need.status == "checking"}
    asked = {"access_code"} if state.question is not None and state.question.to == "" else set()
    assert checking == set(state.checks.values()) | asked
