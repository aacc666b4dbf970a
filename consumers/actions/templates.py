"""Where the message providers get published templates from."""

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, Protocol

from orchestrator.core.errors import OrchestratorError
from orchestrator.messages import Compiled, compile_document

FRESH_MS: Final = 5_000
KEPT_MAX: Final = 500

Fetch = Callable[[str, int | None], Awaitable[tuple[int, Mapping[str, Any]] | None]]
"""A template's version and document by id and version (None: the newest); None if there is none such."""


class UnknownTemplate(OrchestratorError):
    """No template of that id, or not of that version, has been published."""


class Templates(Protocol):
    """Published templates, compiled."""

    async def get(self, id: str, version: int | None = None) -> tuple[int, Compiled]:
        """The version asked for, or the newest, and what it compiled to.

        Raises UnknownTemplate; TemplateSyntax or MjmlInvalid for a document that was never checked; anything else
        while nobody can say.
        """


class FixedTemplates:
    """Templates that are at hand: of files, for a test-send, or of tests. Each is version 1."""

    def __init__(self, *documents: Mapping[str, Any]) -> None:
        self._compiled = {document["id"]: compile_document(document) for document in documents}

    async def get(self, id: str, version: int | None = None) -> tuple[int, Compiled]:
        if id not in self._compiled or version not in {None, 1}:
            raise UnknownTemplate(id)
        return 1, self._compiled[id]


class CachedTemplates:
    """Templates of a store. A version never changes: it is compiled once and kept, the least used ones dropped first.

    Which version is the newest is asked again after `fresh_ms`: so long may a message still be of the one before.
    """

    def __init__(
        self, fetch: Fetch, *, now_ms: Callable[[], int], fresh_ms: int = FRESH_MS, kept_max: int = KEPT_MAX
    ) -> None:
        self._fetch = fetch
        self._now_ms = now_ms
        self._fresh_ms = fresh_ms
        self._kept_max = kept_max
        self._newest: OrderedDict[str, tuple[int, int]] = (
            OrderedDict()
        )  # version, and until when it counts (ms)
        self._compiled: OrderedDict[tuple[str, int], Compiled] = OrderedDict()

    async def get(self, id: str, version: int | None = None) -> tuple[int, Compiled]:
        now_ms = self._now_ms()
        if version is None:
            newest, until_ms = self._newest.get(id, (0, 0))
            known = newest if now_ms < until_ms else None
        else:
            known = version
        if known is not None and (id, known) in self._compiled:
            self._compiled.move_to_end((id, known))
            return known, self._compiled[id, known]
        found = await self._fetch(id, version)
        if found is None:
            raise UnknownTemplate(id)
        number, document = found
        if version is None:
            _keep(self._newest, id, (number, now_ms + self._fresh_ms), self._kept_max)
        compiled = self._compiled.get((id, number)) or compile_document(document)
        _keep(self._compiled, (id, number), compiled, self._kept_max)
        return number, compiled


def _keep(kept: OrderedDict[Any, Any], key: Any, value: Any, kept_max: int) -> None:
    kept[key] = value
    kept.move_to_end(key)
    while len(kept) > kept_max:
        kept.popitem(last=False)
