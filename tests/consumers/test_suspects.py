from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest

from consumers.commands.suspects import NAME, REASON, Suspects
from orchestrator.core.errors import Fenced
from orchestrator.engine.lane import Lane
from orchestrator.engine.store import Move, Position


class Row:
    """The lane's row of suspects, and all that a lane's owner does with it."""

    def __init__(self) -> None:
        self.at, self.detail = 0, "{}"
        self.store = self

    async def run(self, call: Callable[..., Any], *arguments: Any) -> Any:
        return call(*arguments)

    def positions(self) -> dict[str, Position]:
        return {NAME: Position(self.at, self.detail)}

    def move(self, moves: Sequence[Move]) -> None:
        for move in moves:
            if move.was != self.at:
                raise Fenced("another owner")
            self.at, self.detail = move.to, str(move.detail)


async def _owner(row: Row) -> Suspects:
    made = Suspects(cast("Lane", row))
    await made.open()
    return made


def _at(offset: int, last: int | None = None) -> list[Any]:
    return [SimpleNamespace(offset=n) for n in range(offset, (offset if last is None else last) + 1)]


async def _commits(owner: Suspects, row: Row, offset: int, messages: int = 1, topic: str = "t") -> None:
    assert await owner.begin(topic, _at(offset)) == ""
    row.move(owner.cleared(topic))
    owner.progressed(topic, messages)


async def test_an_owner_lost_on_a_batch_makes_the_next_one_careful() -> None:
    """After a death the batch is taken message by message; whatever is committed is no suspect any more."""
    row = Row()
    lost = await _owner(row)
    assert not lost.careful
    await lost.begin("t", _at(7))
    heir = await _owner(row)
    assert heir.careful
    await _commits(heir, row, 7)
    assert not (await _owner(row)).careful


async def test_three_owners_lost_on_one_message_make_it_poison() -> None:
    """The message that ended three careful owners is not tried a fourth time; the one behind it is tried as usual."""
    row = Row()
    await (await _owner(row)).begin("t", _at(5, 9))
    careful = await _owner(row)
    await _commits(careful, row, 5)
    await _commits(careful, row, 6)
    for _ in range(3):
        assert await careful.begin("t", _at(7)) == ""
        careful = await _owner(row)
    assert await careful.begin("t", _at(7)) == REASON
    row.move(careful.cleared("t"))
    careful.progressed("t", 1)
    assert await careful.begin("t", _at(8)) == ""


async def test_an_error_that_is_survived_is_no_death() -> None:
    """Unavailability never dead-letters: however often a commit fails, an owner that lives suspects nobody."""
    row = Row()
    owner = await _owner(row)
    for _ in range(20):
        assert await owner.begin("t", _at(7)) == ""
        await owner.open()  # the commit failed; the lane begins anew
        assert not owner.careful


async def test_progress_on_one_topic_proves_nothing_about_the_other() -> None:
    """A topic with steady traffic doesn't hide a message that kills on the other topic."""
    row = Row()
    for offset in range(6):
        owner = await _owner(row)
        await _commits(owner, row, offset, topic="busy")
        assert offset == 0 or "deadly" in row.detail
        if await owner.begin("deadly", _at(3)) == REASON:
            return
    pytest.fail("the deadly message was never given up")


async def test_signing_ends_with_the_first_batch_of_a_topic() -> None:
    """In ordinary times the row is written once after opening, not with every batch."""
    row = Row()
    owner = await _owner(row)
    await _commits(owner, row, 0)
    written = row.at
    for offset in range(1, 9):
        assert await owner.begin("t", _at(offset)) == ""
        assert owner.cleared("t") == []
        owner.progressed("t", 1)
    assert row.at == written


async def test_a_zombie_cannot_sign() -> None:
    """An owner that was replaced finds out when it signs."""
    row = Row()
    zombie = await _owner(row)
    await (await _owner(row)).begin("t", _at(1))
    with pytest.raises(Fenced):
        await zombie.begin("t", _at(1))


async def test_being_careful_ends_with_the_batch() -> None:
    """Taking messages one at a time is for the batch that killed, not for what comes behind it."""
    row = Row()
    await (await _owner(row)).begin("t", _at(10, 19))
    owner = await _owner(row)
    for offset in range(10, 20):
        assert owner.careful
        await _commits(owner, row, offset)
    assert not owner.careful


async def test_the_rest_of_a_batch_stays_suspect() -> None:
    """After a careful owner's death, too, the batch is taken message by message to its end: it may hold another killer."""
    row = Row()
    await (await _owner(row)).begin("t", _at(10, 19))
    owner = await _owner(row)
    await _commits(owner, row, 10)
    await owner.begin("t", _at(11))
    heir = await _owner(row)
    for offset in range(11, 20):
        assert heir.careful
        await _commits(heir, row, offset)
    assert not heir.careful
