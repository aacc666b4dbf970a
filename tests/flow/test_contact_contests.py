"""Flows of one customer that want the same few contacts: caps hold, and nobody waits for ever."""

from typing import Any

from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from orchestrator.core.decider import EffectResult
from orchestrator.customers.record.schema import LIMIT_MAX
from orchestrator.journeys.flow.commands import Cancel, Pause, Resume, Start
from tests.customers.specs import document as read
from tests.flow.contest import Contest
from tests.flow.graphs import document
from tests.flow.world import DAY, HOUR, MINUTE, World

PROFILE = """
kind: customer
id: profile
attributes: {email: {type: string, pii: true}, phone: {type: string, pii: true}}
channels: {email: {address: email}, sms: {address: phone}}
"""
_caps = st.lists(
    st.fixed_dictionaries(
        {
            "channel": st.sampled_from(["email", "sms", "any", "any"]),
            "per": st.sampled_from(["1m", "1h", "1d", "7d"]),
            "limit": st.integers(1, 3),
        }
    ),
    max_size=3,
    unique_by=lambda cap: (cap["channel"], cap["per"]),
)


def _mail(draw: st.DrawFn) -> dict[str, Any]:
    node: dict[str, Any] = {"kind": "action", "type": "log", "params": {"message": "x"}}
    node["contact"] = draw(st.sampled_from(["email", "email", "sms"]))
    node["wait"] = draw(st.booleans())
    node["retry"] = {"attempts": draw(st.integers(1, 2)), "initial": "1s"}
    if draw(st.booleans()):
        node |= {"over_cap": "hold", "hold_for": draw(st.sampled_from(["1m", "5h", "30d"]))}
    if draw(st.integers(0, 3)) == 0:
        node |= {"quiet_hours": {"from": "21:00", "to": "08:00"}, "zone": "Europe/Berlin"}
    if draw(st.integers(0, 3)) == 0:
        node["params"] = {"message": {"+": ["no number", 1]}}  # fails
    return node


@st.composite
def _flows(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Two or three flows of messages with pauses between them."""
    flows = []
    for n in range(draw(st.integers(2, 3))):
        nodes: dict[str, Any] = {}
        for m in range(draw(st.integers(1, 3))):
            nodes[f"mail{m}"] = _mail(draw)
            if draw(st.booleans()):
                nodes[f"wait{m}"] = {"kind": "wait", "for": draw(st.sampled_from(["1m", "2h", "3d"]))}
        edges = [(id, "done", "failure") for id, node in nodes.items() if node["kind"] == "action"]
        flows.append(document(nodes, edges, reentry="always", runs_at_once=3) | {"id": f"flow-{n}"})
    return flows


def _answer(data: st.DataObject, contest: Contest) -> None:
    world: World = data.draw(st.sampled_from(contest.ready()))
    pending = [] if world.state is None else list(world.state.pending.values())
    if pending:
        one = data.draw(st.sampled_from(pending))
        status, error = data.draw(
            st.sampled_from(
                [
                    ("succeeded", ""),
                    ("failed", "status_400"),
                    ("failed", "timeout"),
                    ("unknown", "interrupted"),
                ]
            )
        )
        retryable = data.draw(st.booleans())
        world.do(EffectResult(one.effect, one.attempt, status, error=error, retryable=retryable))


def _step(data: st.DataObject, contest: Contest) -> None:
    kind = data.draw(
        st.sampled_from(["start", "start", "deliver", "deliver", "deliver", "time", "answer", "run", "say"])
    )
    if kind == "deliver" and contest.underway:
        message = contest.underway.pop(data.draw(st.integers(0, len(contest.underway) - 1)))
        fate = data.draw(st.sampled_from(["arrives", "arrives", "arrives", "twice", "lost"]))
        if fate == "twice":
            contest.underway.append(message)
        if fate == "lost":
            event("lost")
        else:
            contest.deliver(message)
    elif kind == "start":
        data.draw(st.sampled_from(contest.ready())).do(Start())
    elif kind == "time":
        contest.pass_time(data.draw(st.sampled_from([1_000, MINUTE, 61 * MINUTE, DAY, 8 * DAY])))
    elif kind == "answer":
        _answer(data, contest)
    elif kind == "run":
        data.draw(st.sampled_from(contest.ready())).do(
            data.draw(st.sampled_from([Pause(), Resume(), Resume(), Cancel()]))
        )
    else:
        granted = data.draw(st.sampled_from([True, True, False]))
        contest.record.send("consent", {"channel": "email", "granted": granted})
    contest.collect()


def _rest(contest: Contest, *, arrives: bool) -> None:
    """Paused runs go on, and time passes until nothing is left to happen."""
    for world in contest.ready():
        world.do(Resume())
    contest.collect()
    for n in range(200):
        contest.settle() if arrives else contest.underway.clear()
        if not any(world.timers for world in contest.flows.values()):
            return
        contest.pass_time(2 * HOUR if n < 10 else DAY)
    raise AssertionError("some run neither ends nor comes to rest")


@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_no_window_ever_has_more_contacts_than_its_cap(data: st.DataObject) -> None:
    """Whatever is lost, doubled, late or out of order: each message uses a contact of its own, and every run ends."""
    caps = data.draw(_caps, label="caps")
    contest = Contest(
        read(PROFILE) | {"caps": [*caps, {"channel": "any", "per": "28d", "limit": 9}]}, data.draw(_flows())
    )
    for channel in ("email", "sms"):
        contest.record.send("consent", {"channel": channel, "granted": True})
    for _ in range(data.draw(st.integers(10, 40), label="steps")):
        _step(data, contest)
        kept = {} if contest.record.state is None else contest.record.state.contacts
        assert all(len(own) <= 9 + 1 <= LIMIT_MAX for own in kept.values())
    _rest(contest, arrives=data.draw(st.booleans(), label="arrives"))
    for world in contest.flows.values():
        assert world.state is None or not (world.state.runs or world.state.contacts)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_when_everything_arrives_a_contact_counts_only_if_it_was_used(data: st.DataObject) -> None:
    """Nothing leaks: whatever is still counted in the end may have reached the customer."""
    contest = Contest(
        read(PROFILE) | {"caps": [{"channel": "any", "per": "3650d", "limit": 9}]}, data.draw(_flows())
    )
    for channel in ("email", "sms"):
        contest.record.send("consent", {"channel": channel, "granted": True})
    for _ in range(data.draw(st.integers(10, 30), label="steps")):
        kind = data.draw(st.sampled_from(["start", "deliver", "deliver", "time", "answer", "run"]))
        if kind == "start":
            data.draw(st.sampled_from(contest.ready())).do(Start())
        elif kind == "deliver" and contest.underway:
            contest.deliver(contest.underway.pop(data.draw(st.integers(0, len(contest.underway) - 1))))
        elif kind == "time":
            contest.pass_time(data.draw(st.sampled_from([1_000, 61 * MINUTE])))
        elif kind == "answer":
            _answer(data, contest)
        elif kind == "run":
            data.draw(st.sampled_from(contest.ready())).do(
                data.draw(st.sampled_from([Pause(), Resume(), Cancel()]))
            )
        contest.collect()
    _rest(contest, arrives=True)
    still = {contact for contact in contest.counted if contest.used.get(contact, "") in {"", *contest.failed}}
    assert still == set(), "counted without having been used"
