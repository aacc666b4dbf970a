"""Where `trigger_campaign` gets published campaigns from."""

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, Protocol

from orchestrator.core.errors import OrchestratorError
from orchestrator.messages.campaign import Campaign, compile_document

FRESH_MS: Final = 5_000
KEPT_MAX: Final = 500

Fetch = Callable[[str], Awaitable[tuple[int, Mapping[str, Any]] | None]]
"""The newest version of a campaign and its document by id; None if there is none. Raises while nobody can say."""


class UnknownCampaign(OrchestratorError):
    """No campaign of that id has been published."""


class Campaigns(Protocol):
    """Published campaigns, compiled."""

    async def get(self, id: str) -> tuple[int, Campaign]:
        """The newest version and what it compiled to. Raises UnknownCampaign; anything else while nobody can say."""


class FixedCampaigns:
    """Campaigns that are at hand. Each is version 1."""

    def __init__(self, *documents: Mapping[str, Any]) -> None:
        self._compiled = {document["id"]: compile_document(document) for document in documents}

    async def get(self, id: str) -> tuple[int, Campaign]:
        if id not in self._compiled:
            raise UnknownCampaign(id)
        return 1, self._compiled[id]


class CachedCampaigns:
    """Campaigns of a store; the least used are dropped first.

    Which version is the newest is asked again after `fresh_ms`: so long may a message still be of the one before.
    """

    def __init__(
        self, fetch: Fetch, *, now_ms: Callable[[], int], fresh_ms: int = FRESH_MS, kept_max: int = KEPT_MAX
    ) -> None:
        self._fetch = fetch
        self._now_ms = now_ms
        self._fresh_ms = fresh_ms
        self._kept_max = kept_max
        self._kept: OrderedDict[str, tuple[int, int, Campaign]] = OrderedDict()  # until when (ms), version

    async def get(self, id: str) -> tuple[int, Campaign]:
        kept = self._kept.get(id)
        if kept is not None and self._now_ms() < kept[0]:
            self._kept.move_to_end(id)
            return kept[1], kept[2]
        found = await self._fetch(id)
        if found is None:
            raise UnknownCampaign(id)
        version, document = found
        same = kept is not None and kept[1] == version
        campaign = kept[2] if kept is not None and same else compile_document(document)
        self._kept[id] = (self._now_ms() + self._fresh_ms, version, campaign)
        self._kept.move_to_end(id)
        while len(self._kept) > self._kept_max:
            self._kept.popitem(last=False)
        return version, campaign
