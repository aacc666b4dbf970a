"""Whether a lane may be rebuilt: nobody may be deciding in it meanwhile."""

import asyncio

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import (
    GroupCoordinatorNotAvailableError,
    GroupLoadInProgressError,
    KafkaError,
    NotCoordinatorForGroupError,
    for_code,
)

from orchestrator.core.errors import ConfigurationError, OrchestratorError
from orchestrator.settings import Settings

_ANSWER_WITHIN_S = 20.0
_ASK_AGAIN_S = 0.25
_SETTLING = (GroupCoordinatorNotAvailableError, GroupLoadInProgressError, NotCoordinatorForGroupError)
"""A young or moving broker says these for a moment."""


class Owned(OrchestratorError):
    """Workers are at the lane; the message says how to hold it."""


async def members(settings: Settings) -> int:
    """How many workers there are. Raises KafkaError, TimeoutError and ConfigurationError."""
    admin = AIOKafkaAdminClient(**settings.kafka())
    async with asyncio.timeout(_ANSWER_WITHIN_S):
        await admin.start()
        try:
            while True:
                try:
                    return await _members(admin, settings.group)
                except _SETTLING:
                    await asyncio.sleep(_ASK_AGAIN_S)
        finally:
            await admin.close()


async def _members(admin: AIOKafkaAdminClient, group: str) -> int:
    answers = await admin.describe_consumer_groups([group])
    error_code, _name, _state, _type, _protocol, joined, *_rest = answers[0].groups[0]
    if error_code:
        raise for_code(error_code)(f"group {group}")
    return len(joined)


async def check_unowned(settings: Settings, paused: dict[int, bool]) -> None:
    """Every lane is paused, or no worker is there. Raises Owned, naming the lanes and the cure."""
    deciding = [lane for lane, is_paused in paused.items() if not is_paused]
    if not deciding:
        return
    lanes = ", ".join(map(str, deciding))
    cure = f"pause them first (`orchestrator lanes pause {deciding[0]}`), or stop every worker"
    try:
        workers = await members(settings)
    except (KafkaError, TimeoutError, ConfigurationError) as error:
        raise Owned(
            f"can't tell whether workers are at lanes {lanes}, since Kafka didn't say ({error}): {cure}"
        ) from error
    if workers:
        raise Owned(f"{workers} workers may be deciding in lanes {lanes}: {cure}")
