"""Journey events: carried by what has just happened, and seen by the rest of the decision."""

from orchestrator.core.addresses import Stream, customer
from orchestrator.core.decider import Definition, Facts
from orchestrator.core.events import CommandIgnored
from orchestrator.journeys.experience.events import Noted, Opened, Settling
from orchestrator.journeys.experience.evolve import evolve
from orchestrator.journeys.experience.state import ExperienceState
from orchestrator.journeys.experience.turn import Turn
from tests.support.memory import NOW_MS

VERSION = 7  # events in the stream before the decision


def turn() -> Turn:
    stream = Stream(customer("acme", "anna"), "experience", "drop")
    definition = Definition("experience", "drop", 1, {}, None, frozenset())
    return Turn(ExperienceState("drop", version=1), Facts(NOW_MS, NOW_MS, stream, definition, VERSION))


def note(decided: Turn, message: str) -> None:
    decided.note("info", "info", message)


def folded(decided: Turn) -> ExperienceState | None:
    """The state as a replay of the decision's events finds it."""
    state: ExperienceState | None = ExperienceState("drop", version=1)
    for event in decided.events:
        state = evolve(state, event)
    return state


def test_what_happened_carries_its_note() -> None:
    """One event, whose version names the note; a rule that looks at notes later in the decision finds it."""
    decided = turn()
    decided.add(Opened(NOW_MS))
    assert decided.state.notes == ()
    note(decided, "It has begun.")
    (event,) = decided.events
    assert isinstance(event, Opened)
    assert event.note is not None
    assert (event.note.id, event.note.message) == (str(VERSION + 1), "It has begun.")
    assert decided.state.notes == (event.note,)
    assert decided.state == folded(decided)


def test_a_second_note_and_one_of_nothing_are_events_of_their_own() -> None:
    """No note replaces another, and none is lost where nothing of the journey's happened."""
    decided = turn()
    decided.add(CommandIgnored("already_known"))
    note(decided, "one")
    decided.add(Settling(NOW_MS, "line"))
    note(decided, "two")
    note(decided, "three")
    assert [type(event) for event in decided.events] == [CommandIgnored, Noted, Settling, Noted]
    state = folded(decided)
    assert state is not None
    assert [(n.id, n.message) for n in state.notes] == [("9", "one"), ("10", "two"), ("11", "three")]
    assert decided.state == state
