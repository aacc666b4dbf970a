"""Grants: one live grant per participant, used once, ended in time; the same after a restart."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.addresses import parse_stream
from orchestrator.core.decider import Definition, Facts
from orchestrator.core.errors import Rejected
from orchestrator.distributions.admissions import (
    ADMISSION_EVENTS,
    EXPIRE_AT_ONCE_MAX,
    Admissions,
    Granted,
    GrantReturned,
    expire_due,
    give_back,
    grant,
    new_jti,
    redeem,
    revoke,
)
from orchestrator.distributions.base import Room

ROOM = Room("acme", "shoes", "main", "queue")
STREAM = parse_stream("acme/r/shoes.main/queue:shoes:main")
DEFINITION = Definition("experience", "shoes", 1, {}, None, frozenset())


def facts(now_ms: int = 1_000, version: int = 0) -> Facts:
    return Facts(now_ms, now_ms, STREAM, DEFINITION, version)


def granted(*names: str, valid_ms: int = 500, now_ms: int = 1_000) -> Admissions:
    admissions = Admissions()
    event = grant(ROOM, admissions, [(name, 1) for name in names], facts(now_ms), valid_ms=valid_ms)
    assert admissions.evolve(event)
    return admissions


def jti_of(admissions: Admissions, name: str) -> str:
    return admissions.live[name].jti


def test_one_live_grant_per_participant() -> None:
    """A second grant is rejected while the first lives, in the same decision too; after its end one may follow."""
    admissions = granted("anna")
    with pytest.raises(Rejected, match=r"grant.already_held"):
        grant(ROOM, admissions, [("anna", 1)], facts(version=9), valid_ms=500)
    with pytest.raises(Rejected, match=r"grant.already_held"):
        grant(ROOM, admissions, [("bert", 1), ("bert", 1)], facts(version=9), valid_ms=500)
    admissions.evolve(revoke(ROOM, admissions, jti_of(admissions, "anna"), "", facts())[0])
    grant(ROOM, admissions, [("anna", 1)], facts(version=9), valid_ms=500)


def test_ids_are_the_same_at_every_replay_and_never_twice() -> None:
    """An id follows from stream, version and index alone, and each of these changes it."""
    assert new_jti(facts(version=3), 0) == new_jti(facts(now_ms=9, version=3), 0)
    assert len({new_jti(facts(version=v), i) for v in range(50) for i in range(50)}) == 2_500


@pytest.mark.parametrize("ending", ["redeem", "revoke", "expire", "return"])
def test_a_grant_ends_once(ending: str) -> None:
    """However it ended, every later use is rejected with how it ended, and nothing is counted twice."""
    admissions = granted("anna", "bert")
    jti = jti_of(admissions, "anna")
    late = facts(1_500)
    events = {
        "redeem": lambda: redeem(ROOM, admissions, jti, "order-1", facts()),
        "revoke": lambda: revoke(ROOM, admissions, jti, "fraud", facts()),
        "expire": lambda: expire_due(ROOM, admissions, late),
        "return": lambda: (give_back(ROOM, admissions, "anna", facts()),),
    }[ending]()
    for event in events:
        admissions.evolve(event)
    name = {"redeem": "already_redeemed", "expire": "expired"}.get(ending, "revoked")
    for use in (redeem, revoke):
        with pytest.raises(Rejected, match=rf"grant.{name}"):
            use(ROOM, admissions, jti, "", facts())
    ended = {"redeem": admissions.redeemed, "expire": admissions.expired}.get(ending, admissions.revoked)
    assert ended == (2 if ending == "expire" else 1)
    assert admissions.granted == admissions.held + ended


def test_a_grant_at_its_end_is_over_before_its_timer_says_so() -> None:
    """The end itself counts: at it redeeming is rejected, a moment before it is not."""
    admissions = granted("anna")
    jti = jti_of(admissions, "anna")
    with pytest.raises(Rejected, match=r"grant.expired"):
        redeem(ROOM, admissions, jti, "", facts(1_500))
    redeem(ROOM, admissions, jti, "", facts(1_499))


def test_an_unknown_id_is_named_unknown() -> None:
    """An id that was never granted is told apart from one that ended."""
    with pytest.raises(Rejected, match=r"grant.unknown"):
        redeem(ROOM, granted("anna"), "00" * 12, "", facts())


def test_expiry_is_in_bounded_steps_and_in_order() -> None:
    """At most a thousand grants end by one decision, the earliest first, and it says when to come again."""
    admissions = Admissions()
    for start in range(0, 1_500, 500):
        names = [(f"c{number}", 1) for number in range(start, start + 500)]
        admissions.evolve(grant(ROOM, admissions, names, facts(1_000 + start, start), valid_ms=100))
    late = facts(10_000)
    assert admissions.next_end_ms() == 1_100
    assert admissions.next_end_after_ms(10_000) == 10_000
    (first,) = expire_due(ROOM, admissions, late)
    assert len(first.grants) == EXPIRE_AT_ONCE_MAX
    admissions.evolve(first)
    assert admissions.next_end_ms() == 2_100
    (second,) = expire_due(ROOM, admissions, late)
    assert admissions.next_end_after_ms(10_000) is None
    admissions.evolve(second)
    assert expire_due(ROOM, admissions, late) == ()
    assert admissions.expired == 1_500


def test_each_holder_is_told_alone() -> None:
    """One event grants many; each of them is told of their own grant, with a price only where there is one."""
    event = grant(ROOM, Admissions(), [("anna", 1), ("bert", 2)], facts(), valid_ms=500, prices={"bert": 30})
    anna, bert = event.tells()
    assert anna.stream == "acme/c/anna/experience:shoes"
    assert "price" not in anna.data
    assert (bert.data["price"], bert.data["quantity"]) == (30, 2)
    assert bert.data["jti"] not in repr(anna)


def test_a_return_is_told_as_leaving() -> None:
    """Giving a grant back is answered by `left`; there is nothing to give back without one."""
    admissions = granted("anna")
    returned = give_back(ROOM, admissions, "anna", facts())
    assert isinstance(returned, GrantReturned)
    assert [t.type for t in returned.tells()] == ["distribution.left"]
    assert give_back(ROOM, admissions, "bert", facts()) is None


@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from(("grant", "redeem", "revoke", "return", "expire")),
            st.sampled_from("abcd"),
            st.integers(0, 300),
        ),
        max_size=40,
    )
)
def test_counters_deadlines_and_replay_hold(steps: list[tuple[str, str, int]]) -> None:
    """Whatever happens in whatever order: the counters add up, no end is overlooked, a replay gives the same."""
    admissions, log, now_ms = Admissions(), [], 0
    for what, who, after_ms in steps:
        now_ms += after_ms
        at = facts(now_ms, len(log))
        live = admissions.live.get(who)
        try:
            match what:
                case "grant":
                    events = [grant(ROOM, admissions, [(who, 2)], at, valid_ms=200)]
                case "expire":
                    events = list(expire_due(ROOM, admissions, at))
                case "return":
                    events = [e for e in (give_back(ROOM, admissions, who, at),) if e is not None]
                case _:
                    use = redeem if what == "redeem" else revoke
                    events = list(use(ROOM, admissions, live.jti if live else "none", "", at))
        except Rejected:
            continue
        for event in events:
            admissions.evolve(event)
            log.append(event)
        ends = [one.expires_ms for one in admissions.live.values()]
        assert admissions.next_end_ms() == min(ends, default=None)
        assert admissions.held == 2 * len(admissions.live)
        assert {g.participant for g in admissions.due(now_ms, 99)} == {
            name for name, one in admissions.live.items() if one.expires_ms <= now_ms
        }
    again = Admissions()
    for event in log:
        again.evolve(msgspec.json.decode(msgspec.json.encode(event), type=type(event)))
    assert (again.live, again.granted, again.redeemed, again.expired, again.revoked) == (
        admissions.live, admissions.granted, admissions.redeemed, admissions.expired, admissions.revoked,
    )  # fmt: skip


def test_events_have_stable_names() -> None:
    """The names in the log are those of the first release."""
    assert {event.NAME for event in ADMISSION_EVENTS} >= {
        "distribution.granted.v1",
        "distribution.grant_redeemed.v1",
        "distribution.grant_revoked.v1",
        "distribution.grant_returned.v1",
        "distribution.grants_expired.v1",
    }
    old = b'{"room":["x"],"grants":[["anna","ab",1]],"at_ms":1}'
    old = old.replace(b'["x"]', msgspec.json.encode(ROOM))
    assert msgspec.json.decode(old, type=Granted).grants[0].price is None
