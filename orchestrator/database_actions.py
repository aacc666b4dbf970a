"""The actions that ask the installation's own database, in a thread: campaigns, and runs for operations on many."""

import asyncio
import time
from collections.abc import Sequence
from concurrent.futures import Executor
from typing import Any

import orjson

from consumers.actions.base import Provider
from consumers.actions.campaigns import CachedCampaigns
from consumers.actions.find_runs import FindRunsProvider
from consumers.actions.trigger_campaign import TriggerCampaignProvider
from orchestrator.engine import catalogue
from orchestrator.engine.database import PersistenceError
from orchestrator.installation import Databases
from orchestrator.messages.campaign import CAMPAIGN
from orchestrator.running import finder


def database_actions(databases: Databases, executor: Executor) -> Sequence[Provider[Any]]:
    """To be added after PROVIDERS: of two providers of one name the later counts."""

    async def campaign(id: str) -> tuple[int, dict[str, Any]] | None:
        loop = asyncio.get_running_loop()
        try:
            found = await loop.run_in_executor(
                executor, catalogue.document, databases.main, CAMPAIGN.name, id
            )
        except PersistenceError as error:
            raise OSError("the database of campaigns does not answer") from error
        return None if found is None else (found[0], orjson.loads(found[1]))

    campaigns = CachedCampaigns(campaign, now_ms=lambda: time.time_ns() // 1_000_000)
    return (FindRunsProvider(finder(databases, executor)), TriggerCampaignProvider(campaigns))
