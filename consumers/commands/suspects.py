"""Messages that kill or hang their worker: each owner signs before it tries, so that deaths can be counted.

Two owners lost on one batch: the next takes it message by message. Three lost on one message: it is dead-lettered.
"""

from typing import Any

import msgspec

from orchestrator.engine.lane import Lane
from orchestrator.engine.store import Move

NAME = "suspect"  # its `at` counts the owners lost
_SINGLE_AFTER = 2
_POISON_AFTER = 3
_CAREFUL_MESSAGES = 4_000
REASON = "killed_owners"


class Suspect(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is being tried: the first offset of a batch, or one message."""

    topic: str = ""
    offset: int = -1
    single: bool = False


class Suspects:
    """One lane's. `begin` before the first batches after opening; afterwards progress clears the record."""

    def __init__(self, lane: Lane) -> None:
        self._lane = lane
        self._tries = 0
        self._suspect = Suspect()
        self._careful = 0  # messages still taken one at a time
        self._signed = False

    async def open(self) -> None:
        position = (await self._lane.run(self._lane.store.positions))[NAME]
        self._tries = position.at
        self._suspect = msgspec.json.decode(position.detail, type=Suspect)
        self._careful = _CAREFUL_MESSAGES if self._tries >= _SINGLE_AFTER else 0
        self._signed = False

    @property
    def careful(self) -> bool:
        return self._careful > 0

    async def begin(self, topic: str, first: Any) -> str:
        """Sign for what is tried next; a reason when it must be dead-lettered unread."""
        if self._signed and not self.careful:
            return ""
        now = Suspect(topic, first.offset, self.careful)
        same = now == self._suspect
        if same and now.single and self._tries >= _POISON_AFTER:
            return REASON
        tries = (
            self._tries + 1 if same or (self._tries and not now.single and not self._suspect.single) else 1
        )
        detail = msgspec.json.encode(now).decode()
        await self._lane.run(self._lane.store.move, [Move(NAME, self._tries, tries, detail)])
        self._tries, self._suspect, self._signed = tries, now, True
        return ""

    def cleared(self) -> list[Move]:
        """To be committed with the batch: nobody was lost on it."""
        if not self._tries or self.careful:
            return []
        return [Move(NAME, self._tries, 0, "{}")]

    def progressed(self, messages: int) -> None:
        """A batch was committed."""
        if self.careful:
            self._careful = max(0, self._careful - messages)
        else:
            self._tries = 0
