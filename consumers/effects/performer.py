"""From a record to its acknowledged answer: the order of call, commit and result."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

import msgspec
import structlog
from aiokafka import ConsumerRecord

from consumers.actions.base import ActionParams, Context, Deferred, EffectRequest, Ending, Failed, Provider
from consumers.effects.lane import Lane
from consumers.effects.metrics import EffectMetrics
from consumers.effects.records import Out, Unreadable, dead_letter, result
from consumers.effects.suppressions import suppressions
from orchestrator.effect_settings import EffectTopics

Commit = Callable[[Lane, int], Awaitable[bool]]
_log = structlog.get_logger("effects")


class SendOut(Protocol):
    """Produces until acknowledged; see Sender.send."""

    def __call__(self, out: Out, gone: Callable[[], bool]) -> Awaitable[bool]: ...


class Performer:
    """Answers one record at a time, for many at once; `commit` and `send` are the runner's.

    Idempotent calls: call, answer, finish. Calls that must not repeat: commit, finish, call, answer.
    """

    def __init__(
        self,
        *,
        providers: Sequence[Provider[Any]],
        context: Context,
        topics: EffectTopics,
        commit: Commit,
        send: SendOut,
        metrics: EffectMetrics,
        customer_record: str = "",
    ) -> None:
        self._record = customer_record
        self._providers = {provider.name: provider for provider in providers}
        self._context = context
        self._topics = topics
        self._commit = commit
        self._send = send
        self._metrics = metrics
        self._slots = asyncio.Semaphore(context.settings.concurrency)

    async def answer(self, lane: Lane, record: ConsumerRecord, request: EffectRequest) -> bool:
        """Performs and answers a request; True if its answer is acknowledged."""
        provider = self._providers.get(request.type)
        if provider is None and request.type in self._context.settings.elsewhere:
            lane.finish(record.offset)
            return True
        if provider is None:
            known = ", ".join(sorted(self._providers))
            return await self._tell(
                lane, record.offset, request, Failed("unknown_type", f"known types: {known}")
            )
        try:
            params = msgspec.convert(request.params, provider.params)
        except (msgspec.ValidationError, RecursionError) as error:
            return await self._tell(lane, record.offset, request, Failed("invalid_params", str(error)))
        if params.at_most_once or not provider.idempotent:
            return await self._at_most_once(lane, record.offset, request, provider, params)
        async with self._slots:
            if lane.closed:
                return False
            ending = await self._call(provider, request, params)
        return await self._tell(lane, record.offset, request, ending)

    async def refuse(self, lane: Lane, record: ConsumerRecord, error: Unreadable) -> bool:
        """Answers an unreadable record, or moves it to the dead letters when nobody can be answered."""
        place = {"partition": record.partition, "offset": record.offset}
        if error.answer_to is not None:
            _log.warning("effects.unreadable", reason=error.reason, ending="answered", **place)
            self._metrics.unreadable.labels("answered").inc()
            return await self._tell(lane, record.offset, error.answer_to, Failed(error.reason, str(error)))
        _log.warning("effects.unreadable", reason=error.reason, ending="dead_lettered", **place)
        self._metrics.unreadable.labels("dead_lettered").inc()
        if not await self._send(dead_letter(record, error, self._topics.dead_letters), lambda: lane.closed):
            return False
        lane.finish(record.offset)
        return True

    async def _at_most_once(
        self, lane: Lane, offset: int, request: EffectRequest, provider: Provider[Any], params: ActionParams
    ) -> bool:
        if not await lane.turn(offset):
            return False
        async with self._slots:
            # No acknowledged commit, no call: after a crash the record must not come back.
            if not await self._commit(lane, offset + 1):
                return False
            lane.finish(offset)
            ending = await self._call(provider, request, params)
        return await self._tell(lane, offset, request, ending, at_most_once=True)

    async def _call(self, provider: Provider[Any], request: EffectRequest, params: ActionParams) -> Ending:
        self._metrics.in_flight.inc()
        started_s = time.monotonic()
        ending: Ending
        try:
            async with asyncio.timeout(request.timeout_ms / 1000):
                ending = await provider.perform(request, params, self._context)
        except TimeoutError:
            ending = Failed("timeout", retryable=True, in_doubt=True)
        except Exception as error:  # noqa: BLE001  a provider's bug must not stop the others' effects
            ending = Failed("provider_error", type(error).__name__, retryable=True, in_doubt=True)
        finally:
            self._metrics.in_flight.dec()
            self._metrics.duration.labels(provider.name).observe(time.monotonic() - started_s)
        return ending

    async def _tell(
        self, lane: Lane, offset: int, request: EffectRequest, ending: Ending, *, at_most_once: bool = False
    ) -> bool:
        if isinstance(ending, Deferred):
            self._metrics.performed.labels(request.type, "deferred").inc()
            lane.finish(offset)
            return True
        out = result(
            request,
            ending,
            at_most_once=at_most_once,
            now_ms=self._context.now_ms(),
            topic=self._topics.commands,
        )
        outcome = _outcome(ending, at_most_once=at_most_once)
        label = request.type if request.type in self._providers else "unknown"
        self._metrics.performed.labels(label, outcome).inc()
        if isinstance(ending, Failed):
            _log.info(
                "effects.failed",
                type=label,
                result=outcome,
                error=ending.error,
                stream=request.stream.text,
                effect=request.effect,
                attempt=request.attempt,
            )
        # Told first: whoever hears the answer finds the address suppressed.
        for command in suppressions(request, ending, self._record, self._context.now_ms()):
            told = Out(self._topics.commands, command.key, command.value, command.headers)
            if not await self._send(told, lambda: lane.closed):
                return False
        if not await self._send(out, lambda: lane.closed):
            return False
        lane.finish(offset)
        return True


def _outcome(ending: Ending, *, at_most_once: bool) -> str:
    match ending:
        case Failed(in_doubt=True) if at_most_once:
            return "unknown"
        case Failed(retryable=retryable):
            return "retryable" if retryable else "failed"
    return "succeeded"
