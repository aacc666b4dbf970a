"""A record, or a ledger, as other streams of its customer speak to it."""

import json
from collections.abc import Mapping
from typing import Any

from orchestrator.core.decider import Facts
from orchestrator.core.errors import Rejected
from orchestrator.core.events import CommandIgnored, Event, Told
from orchestrator.core.messages import TELLING_SOURCE
from tests.customers.specs import stored_and_read
from tests.support.spec import NOW_MS, Spec

MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
FLOW = "acme/c/anna/flow:news"
OTHER = "acme/c/anna/flow:offers"


class Kept:
    """One stream with a clock; what follows from a command is checked as any decision is."""

    def __init__(self, spec: Spec, *, careful: bool = True) -> None:
        self.careful = careful
        self.spec = spec
        self.kind = spec.kind
        self.now_ms = NOW_MS
        self.state: Any = None
        self.events: list[Event] = []
        self.new: list[Event] = []
        self.rejected = ""
        self.sent = 0

    def send(
        self, type: str, data: Mapping[str, Any], *, key: tuple[str, str] = ("tests", "k"), **more: Any
    ) -> "Kept":
        """A command from outside, decided now; `more` are facts."""
        facts = Facts(
            now_ms=self.now_ms,
            occurred_ms=more.pop("occurred_ms", self.now_ms),
            stream=self.spec.stream,
            definition=self.spec.definition,
            version=len(self.events),
            source=key[0],
            command_id=key[1],
            **more,
        )
        self.new, self.rejected = [], ""
        try:
            new = list(self.kind.decide(self.state, self.kind.parse(type, data), facts))
        except Rejected as no:
            self.rejected = no.rule
            return self
        assert new, "a decision leaves at least one event"
        for event in new:
            assert stored_and_read(event) == event, "the log would hold another event"
            self.state = self.kind.evolve(self.state, event)
        self.new = new
        self.events += new
        if self.careful:
            self._check()
        return self

    def _check(self) -> None:
        state = None
        for event in self.events:
            state = self.kind.evolve(state, event)
        assert state == self.state, "replay leads elsewhere"
        if state is not None:
            assert self.kind.load(json.loads(json.dumps(self.kind.dump(state)))) == state

    def told(self, sender: str, type: str, data: Mapping[str, Any], **more: Any) -> "Kept":
        """A command from another stream."""
        self.sent += 1
        return self.send(type, data, key=(TELLING_SOURCE, f"{sender}/{self.sent}/0"), **more)

    def ask(
        self, reference: str = "r1/mail/1/2", sender: str = FLOW, channel: str = "email", **data: Any
    ) -> "Kept":
        """A journey asks for a contact."""
        return self.told(sender, "contact.ask", {"channel": channel, "reference": reference, **data})

    def wait(self, ms: int) -> "Kept":
        self.now_ms += ms
        return self

    def of(self, kind: type[Event]) -> list[Any]:
        """The events of one type among the last ones."""
        return [event for event in self.new if isinstance(event, kind)]

    @property
    def answer(self) -> Told:
        """What was told last."""
        (told,) = [one for event in self.new for one in event.tells()]
        return told

    @property
    def reason(self) -> str:
        """The word of the last answer: empty where it is granted; or why nothing followed."""
        ignored = self.of(CommandIgnored)
        if ignored or self.rejected:
            return ignored[0].reason if ignored else self.rejected
        answer = self.answer
        assert (answer.type == "contact.granted") == ("reason" not in answer.data)
        return str(answer.data.get("reason", ""))
