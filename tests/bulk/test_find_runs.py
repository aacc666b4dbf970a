"""The effect `find_runs`: a page for an operation, a named failure when there is none, nothing for anybody else."""

from typing import Any

from msgspec import convert, to_builtins

from consumers.actions import PROVIDERS
from consumers.actions.base import Done, EffectRequest, Failed
from consumers.actions.find_runs import FindRunsProvider
from orchestrator.core.events import EffectRequested
from orchestrator.effect_settings import EffectSettings
from orchestrator.journeys.bulk.query import Cursor, Page, Query
from tests.bulk.specs import BEGIN, STREAM, begun, state
from tests.effects.calling import perform, request

PAGE = Page((("acme/c/anna/flow:welcome", "r1"),), Cursor(1, "x"), last=False)


class Searches:
    """Notes what is asked; answers with a page or an error."""

    def __init__(self, answer: Page | Exception = PAGE) -> None:
        self.answer = answer
        self.asked: list[Any] = []

    async def __call__(self, *asked: Any) -> Page:
        self.asked.append(asked)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def asked() -> EffectRequest:
    """The request of an operation that has begun, as it goes through Kafka."""
    (event,) = begun().of(EffectRequested)
    return EffectRequest(STREAM, event.effect, 1, event.action, event.type, event.params, 1_000, "key")


async def ending(one: EffectRequest, searches: Searches) -> Any:
    return await perform(one, EffectSettings(), provider=FindRunsProvider(searches))


async def test_a_page_is_found_for_the_operations_own_organization() -> None:
    """What the decider asks is what the search is asked, and its answer is what the decider reads."""
    searches = Searches()
    answer = await ending(asked(), searches)
    assert searches.asked == [("acme", BEGIN.command, BEGIN.query, Cursor(), 200)]
    assert isinstance(answer, Done)
    assert convert(answer.result, Page) == PAGE
    story = begun()
    (effect,) = state(story).pending
    assert effect == asked().effect


async def test_nobody_else_may_look() -> None:
    """A definition that names the type gets no list of customers."""
    searches = Searches()
    params = {"command": "cancel", "query": to_builtins(Query("x")), "cursor": {}, "limit": 10}
    answer = await ending(request(params, kind="find_runs"), searches)
    assert isinstance(answer, Failed)
    assert (answer.error, answer.retryable, searches.asked) == ("not_allowed", False, [])
    assert "find_runs" not in {provider.name for provider in PROVIDERS}


async def test_what_may_pass_is_tried_again() -> None:
    """Rows that lag and a database that is away are retryable; rows of another release aren't."""
    away = await ending(asked(), Searches(OSError("rows of lane 3 are behind")))
    assert isinstance(away, Failed)
    assert (away.error, away.retryable) == ("rows_unavailable", True)
    lost = await ending(asked(), Searches(ValueError("another release")))
    assert isinstance(lost, Failed)
    assert (lost.error, lost.retryable) == ("rows_unreadable", False)
