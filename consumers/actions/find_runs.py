"""`find_runs`: the next page of runs a bulk operation is for. It only looks; what is sent follows from its answer."""

from collections.abc import Awaitable, Callable
from typing import ClassVar

from msgspec import Struct, to_builtins

from consumers.actions.base import ActionParams, Context, Done, EffectRequest, Ending, Failed
from orchestrator.journeys.bulk.query import Cursor, Page, Query

OPERATIONS = "bulk"
Find = Callable[[str, str, Query, Cursor, int], Awaitable[Page]]
"""Organization, command, query, cursor and limit to a page. OSError: nobody can say now; ValueError: ever."""


class FindRunsParams(ActionParams, frozen=True):
    """Made by the operation itself; see orchestrator/journeys/bulk."""

    command: str
    query: Query
    cursor: Cursor
    limit: int


class FindRunsProvider:
    """Answers bulk operations alone: a definition that names this type is refused."""

    name: ClassVar[str] = "find_runs"
    idempotent: ClassVar[bool] = True
    params: ClassVar[type[Struct]] = FindRunsParams

    def __init__(self, find: Find) -> None:
        self._find = find

    async def perform(self, request: EffectRequest, params: FindRunsParams, context: Context) -> Ending:  # noqa: ARG002
        """Done with a Page, of runs in the operation's own organization."""
        if request.stream.kind != OPERATIONS:
            return Failed("not_allowed", "only bulk operations look for runs")
        try:
            page = await self._find(
                request.stream.owner.organization, params.command, params.query, params.cursor, params.limit
            )
        except OSError as error:
            return Failed("rows_unavailable", str(error)[:200], retryable=True)
        except ValueError as error:
            return Failed("rows_unreadable", str(error)[:200])
        return Done(to_builtins(page))
