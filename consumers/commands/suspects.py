"""Messages that kill or hang their worker: each owner signs before it tries, so that deaths can be counted.

An owner lost on a batch: the next takes that batch message by message. Three lost on one message: it is dead-lettered.
Only deaths count: an owner that met an error and lives on takes its signature back.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from orchestrator.engine.lane import Lane
from orchestrator.engine.store import Move

NAME = "suspect"  # the position's `at` counts the changes of its detail: a fence like any other
_SINGLE_AFTER = 1
_POISON_AFTER = 3
REASON = "killed_owners"


class Suspect(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is being tried on a topic: a batch from `offset` to `last`, or one message of it; and how many signed."""

    offset: int = -1
    last: int = -1
    tries: int = 0
    single: bool = False


_decode = msgspec.json.Decoder(dict[str, Suspect]).decode


class Suspects:
    """One lane's. `begin` before the first batch of each topic after opening; its commit clears the record."""

    def __init__(self, lane: Lane) -> None:
        self._lane = lane
        self._at = -1
        self._found: dict[str, Suspect] = {}  # by topic, as other owners left it
        self._signed: dict[str, Suspect] = {}  # by this owner, not committed yet
        self._proven: set[str] = set()  # topics of which a batch was committed since opening
        self._careful: dict[str, int] = {}  # by topic: how many messages are still taken one at a time

    async def open(self) -> None:
        """Read what is suspected; what this very owner signed for and survived is no suspect."""
        position = (await self._lane.run(self._lane.store.positions))[NAME]
        if position.at != self._at:
            self._at, self._found = position.at, _decode(position.detail)
            self._careful = {
                topic: suspect.last - suspect.offset + 1
                for topic, suspect in self._found.items()
                if suspect.single or suspect.tries >= _SINGLE_AFTER
            }
        self._signed = {}
        self._proven = set()

    @property
    def careful(self) -> bool:
        """Whether messages are to be taken one at a time."""
        return bool(self._careful)

    async def begin(self, topic: str, records: Sequence[Any]) -> str:
        """Sign for the records tried next; a reason when they must be dead-lettered unread."""
        if topic in self._proven and not self.careful:
            return ""
        known = self._found.get(topic, Suspect())
        first = records[0].offset
        last = max(records[-1].offset, first + self._careful.get(topic, 0) - 1)
        tries = known.tries if known.offset == first and known.single == self.careful else 0
        if self.careful and tries >= _POISON_AFTER:
            return REASON
        signed = self._signed | {topic: Suspect(first, last, tries + 1, self.careful)}
        await self._lane.run(self._lane.store.move, [self._move(self._found | signed)])
        self._at += 1
        self._signed = signed
        return ""

    def cleared(self, topic: str) -> list[Move]:
        """To be committed with a batch of this topic: nobody was lost on it."""
        if topic not in self._signed and topic not in self._found:
            return []
        return [self._move({t: s for t, s in (self._found | self._signed).items() if t != topic})]

    def progressed(self, topic: str, messages: int) -> None:
        """A batch of this topic was committed, with what `cleared` gave."""
        if topic in self._signed or topic in self._found:
            self._at += 1
            self._signed.pop(topic, None)
            self._found.pop(topic, None)
        self._proven.add(topic)
        if topic in self._careful:
            self._careful[topic] -= messages
            if self._careful[topic] <= 0:
                del self._careful[topic]

    def _move(self, suspects: dict[str, Suspect]) -> Move:
        return Move(NAME, self._at, self._at + 1, msgspec.json.encode(suspects).decode())
