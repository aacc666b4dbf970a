"""What operators ask of a lane: pause, resume, rebase, and the fate of dead letters. Each becomes an event."""

from typing import TYPE_CHECKING, Any

import msgspec

from orchestrator.core.addresses import lane_stream, parse_stream
from orchestrator.core.errors import OrchestratorError
from orchestrator.core.events import Event
from orchestrator.core.lane_events import (
    DeadLetterDiscarded,
    DeadLettered,
    DeadLetterRetried,
    Forwarded,
    LanePaused,
    LaneResumed,
)
from orchestrator.engine.batch import TIMERS
from orchestrator.engine.lane import Lane
from orchestrator.engine.store import TimerRow

if TYPE_CHECKING:
    from consumers.commands.lane_runner import LaneRunner


class Refused(OrchestratorError):
    """The request can't be done; the message is the operator's answer."""


class Controls:
    """One lane's inbox of requests; answered in order, each at most once in effect."""

    def __init__(self, lane: Lane) -> None:
        self._lane = lane

    async def answer(self, runner: "LaneRunner") -> None:
        """Deal with what waits. Requests that were carried out and not yet answered are harmless to repeat."""
        for control_id, name, text in await self._lane.run(self._lane.store.controls):
            try:
                data = msgspec.json.decode(text)
                answer = await self._perform(runner, control_id, name, data)
            except Refused as no:
                answer = f"refused: {no}"
            except (msgspec.DecodeError, KeyError, TypeError, ValueError, AttributeError) as error:
                answer = f"refused: its data can't be used ({type(error).__name__}: {error})"[:500]
            await self._lane.run(self._lane.store.answer_control, control_id, answer)

    async def _perform(self, runner: "LaneRunner", control_id: str, name: str, data: dict[str, Any]) -> str:
        match name:
            case "pause":
                return await self._set_paused(runner, control_id, paused=True, reason=data.get("reason", ""))
            case "resume":
                return await self._set_paused(runner, control_id, paused=False, reason="")
            case "rebase":
                await self._rebase(runner, data)
                return "rebased"
            case "retry":
                return await self._retry(runner, control_id, data["id"])
            case "discard":
                return await self._discard(runner, control_id, data["id"], data["reason"])
        raise Refused(f"{name} is not something a lane can do")

    async def _set_paused(self, runner: "LaneRunner", control_id: str, *, paused: bool, reason: str) -> str:
        word = "paused" if paused else "resumed"
        if self._lane.log.paused == paused:
            return f"was {word} already"
        if not paused:
            self._lane.forget()
        event: Event = LanePaused(reason) if paused else LaneResumed()
        log = msgspec.structs.replace(self._lane.log, paused=paused)
        runner.feed(await self._lane.note([(event, control_id)], log=log))
        return word

    async def _rebase(self, runner: "LaneRunner", data: dict[str, Any]) -> None:
        topic = data["topic"]
        if topic not in self._lane.offsets:
            raise Refused(f"this lane doesn't read {topic}; it reads {', '.join(self._lane.offsets)}")
        await runner.rebase(topic, int(data["resumes_after"]), data.get("reason", "an operator asked for it"))

    async def _retry(self, runner: "LaneRunner", control_id: str, dead_letter: str) -> str:
        row = await self._row(dead_letter)
        if row["status"] != "open":
            return f"was {row['status']} already"
        recorded = await self._lane.event_at(lane_stream(self._lane.number), row["version"])
        event = recorded.envelope.data if recorded is not None else None
        if not isinstance(event, DeadLettered) or not event.private:
            raise Refused("its bytes are gone: they are kept 30 days")
        if event.topic == TIMERS:
            kept = event.private
            stream = parse_stream(kept["stream"])
            timer = TimerRow(stream.id, kept["timer"], kept["armed_at"], kept["due_ms"], stream.text)
            runner.feed(await self._lane.note([(DeadLetterRetried(dead_letter), control_id)], timers=[timer]))
            return "armed again"
        again = Forwarded(self._lane.number, 0, event.source or "", event.private, dead_letter)
        runner.feed(
            await self._lane.note([(DeadLetterRetried(dead_letter), control_id), (again, control_id)])
        )
        return "sent again"

    async def _discard(self, runner: "LaneRunner", control_id: str, dead_letter: str, reason: str) -> str:
        row = await self._row(dead_letter)
        if row["status"] != "open":
            return f"was {row['status']} already"
        runner.feed(await self._lane.note([(DeadLetterDiscarded(dead_letter, reason), control_id)]))
        return "discarded"

    async def _row(self, dead_letter: str) -> dict[str, Any]:
        row = await self._lane.run(self._lane.store.dead_letter, dead_letter)
        if row is None:
            raise Refused(f"no dead letter {dead_letter} in this lane")
        return row
