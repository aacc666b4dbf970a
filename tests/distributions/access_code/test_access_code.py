"""The resource that counts uses of access codes over all customers."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.decider import Definition, Facts
from orchestrator.core.errors import Malformed, Rejected, Undecidable
from orchestrator.core.events import Event
from orchestrator.core.messages import TELLING_SOURCE, Command
from orchestrator.distributions.access_code import ACCESS_CODES, CodeRefused, CodeUsed, code_stream
from orchestrator.engine.frame import Frame
from orchestrator.journeys.experience.model import Code, Codes, Compiled
from tests.support.memory import Engine, Published, same

NOW_MS = 1_767_607_200_000


class Counter:
    """The resource under commands."""

    def __init__(self, *codes: Code, stream: str = "") -> None:
        self.codes = Codes(by_id={code.id: code for code in codes})
        self.stream = code_stream("acme", "exp_1")
        self.state: Any = None
        self.events: list[Event] = []
        self.commands = 0

    def use(
        self, who: str, code: str, *, now_ms: int = NOW_MS, source: str = TELLING_SOURCE, teller: str = ""
    ) -> Any:
        self.commands += 1
        compiled = Compiled("exp_1", "One", (), {}, codes=self.codes)
        facts = Facts(
            now_ms, now_ms, self.stream, Definition("experience", "exp_1", 1, {}, compiled, frozenset()),
            len(self.events), source=source, command_id=f"{teller or f'acme/c/{who}/experience:exp_1'}/{self.commands}/0",
        )  # fmt: skip
        (event,) = ACCESS_CODES.decide(self.state, ACCESS_CODES.parse("code.use", {"code": code}), facts)
        assert msgspec.json.decode(msgspec.json.encode(event), type=type(event)) == event
        self.events.append(event)
        self.state = ACCESS_CODES.evolve(self.state, event)
        return event

    def replayed(self) -> Any:
        state = None
        for event in self.events:
            state = ACCESS_CODES.evolve(state, event)
        return state


def test_a_use_is_counted_and_told() -> None:
    """The asking journey hears yes, at its own stream."""
    event = Counter(Code("few", uses=2)).use("anna", "few")
    (told,) = event.tells()
    assert (told.stream, told.type, told.data) == (
        "acme/c/anna/experience:exp_1",
        "code.used",
        {"code": "few"},
    )


def test_the_limit_holds_over_all_customers() -> None:
    """The third of two is refused, with the reason for operators and the journey."""
    counter = Counter(Code("few", uses=2))
    events = [counter.use(who, "few") for who in ("anna", "bob", "cem")]
    assert [type(event) for event in events] == [CodeUsed, CodeUsed, CodeRefused]
    (told,) = events[-1].tells()
    assert (told.type, told.data) == ("code.refused", {"code": "few", "reason": "exhausted"})


def test_the_same_customer_counts_once() -> None:
    """Asking again, after a lost answer or a reset, is answered yes and leaves the others their uses."""
    counter = Counter(Code("few", uses=2))
    again = [counter.use("anna", "few").again for _ in range(3)]
    assert again == [False, True, True]
    assert isinstance(counter.use("bob", "few"), CodeUsed)


def test_an_ended_or_unknown_code_is_refused() -> None:
    """The newest published document decides: what isn't in it any more serves nobody."""
    counter = Counter(Code("few", expires_ms=NOW_MS, uses=2))
    assert counter.use("anna", "few").reason == "expired"
    assert counter.use("anna", "gone").reason == "unknown"
    assert counter.use("anna", "few", now_ms=NOW_MS - 1).again is False


def test_publishing_changes_a_limit_at_once() -> None:
    """The counter isn't pinned: a higher limit lets more in, a lower one nobody more."""
    counter = Counter(Code("few", uses=1))
    counter.use("anna", "few")
    assert counter.use("bob", "few").reason == "exhausted"
    counter.codes = Codes(by_id={"few": Code("few", uses=2)})
    assert isinstance(counter.use("bob", "few"), CodeUsed)


@pytest.mark.parametrize(
    ("source", "teller"),
    [
        ("shop", ""),
        (TELLING_SOURCE, "acme/c/anna/flow:exp_1"),
        (TELLING_SOURCE, "acme/c/anna/experience:exp_2"),
        (TELLING_SOURCE, "evil/c/anna/experience:exp_1"),
        (TELLING_SOURCE, "acme/r/anna/experience:exp_1"),
        (TELLING_SOURCE, "acme/c/anna/experience:exp_1:run"),
        (TELLING_SOURCE, "nonsense"),
    ],
)
def test_only_journeys_of_the_experience_are_counted(source: str, teller: str) -> None:
    """Anybody else is rejected: nobody can use up a code from outside."""
    with pytest.raises(Rejected, match=r"distribution\.not_a_participant"):
        Counter(Code("few", uses=2)).use("anna", "few", source=source, teller=teller)


def test_what_is_no_use_is_malformed() -> None:
    """Other commands and other data are named, not quoted."""
    for type, data in (
        ("code.use", {}),
        ("code.use", {"code": 5}),
        ("code.use", {"code": "a", "b": 1}),
        ("open", {}),
    ):
        with pytest.raises(Malformed, match=r"code\.use"):
            ACCESS_CODES.parse(type, data)


def test_another_address_is_no_counter() -> None:
    """Codes of one experience are counted at one place only."""
    from orchestrator.core.addresses import parse_stream

    counter = Counter(Code("few", uses=2))
    counter.stream = parse_stream("acme/r/second.codes/access_code:exp_1")
    with pytest.raises(Undecidable):
        counter.use("anna", "few")


def test_the_engine_rebuilds_the_counter_and_always_asks_the_newest_document() -> None:
    """Frames from the log's bytes are the same; no version is pinned, so that a publication counts at once."""
    compiled = [
        Compiled("exp_1", "One", (), {}, codes=Codes(by_id={"few": Code("few", uses=n)})) for n in (1, 2)
    ]
    published = Published(Definition("experience", "exp_1", 1, {}, compiled[0], frozenset()))
    stream = code_stream("acme", "exp_1")
    engine, frame = Engine(ACCESS_CODES, published), Frame(stream, ACCESS_CODES)
    told = []
    for number, who in enumerate(("anna", "bob", "bob")):
        if number == 2:
            published.publish(Definition("experience", "exp_1", 2, {}, compiled[1], frozenset()))
        batch = engine.batch(NOW_MS + number)
        id = f"acme/c/{who}/experience:exp_1/{number}/0"
        batch.decide(frame, Command(TELLING_SOURCE, id, "code.use", stream.owner, stream, {"code": "few"}))
        told += [t.type for recorded in engine.commit(batch) for t in recorded.envelope.data.tells()]
        same(engine.rebuilt(stream), frame)
        assert frame.definition_version == 0
    assert told == ["code.used", "code.refused", "code.used"]


@given(
    st.lists(st.tuples(st.sampled_from("abcdefgh"), st.sampled_from(["one", "three", "none"])), max_size=60)
)
def test_no_code_is_ever_used_by_more_than_its_limit(asks: list[tuple[str, str]]) -> None:
    """Whoever asks in whatever order: uses never pass the limit, every ask is answered once, replay agrees."""
    limits = {"one": 1, "three": 3}
    counter = Counter(Code("one", uses=1), Code("three", uses=3), Code("none"))
    for who, code in asks:
        assert len(counter.use(who, code).tells()) == 1
    for code, limit in limits.items():
        assert (
            len({e.participant for e in counter.events if isinstance(e, CodeUsed) and e.code == code})
            <= limit
        )
    assert counter.state == counter.replayed()
    if counter.state is not None:
        assert sum(ACCESS_CODES.view(counter.state)[name] for name in ("uses", "refused")) <= len(asks)
