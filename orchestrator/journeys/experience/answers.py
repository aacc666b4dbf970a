"""What distributions tell: only the one that was asked is believed, and whatever isn't wanted any more is given back."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from orchestrator.core.errors import Rejected
from orchestrator.core.events import CommandIgnored
from orchestrator.journeys.experience import events as happened
from orchestrator.journeys.experience.begin import outside
from orchestrator.journeys.experience.commands import Answer
from orchestrator.journeys.experience.fields import text, whole
from orchestrator.journeys.experience.participate import ask_as_customer
from orchestrator.journeys.experience.stages import (
    ADMITTED,
    ENDED,
    ENTERABLE,
    PARTICIPATING,
    UPCOMING,
    WAITLIST_ENTERED,
)
from orchestrator.journeys.experience.state import Seat
from orchestrator.journeys.experience.turn import Turn

PUBLIC: Final = frozenset(
    {
        "phase", "ticket", "ahead", "eta_low_ms", "eta_high_ms", "opens_at_ms", "closes_at_ms", "next_window_at_ms",
        "available", "price", "quantity", "leading_amount", "minimum", "bid", "standing", "slot", "starts_at_ms",
        "ends_at_ms", "expires_ms",
    }
)  # fmt: skip
"""What of a distribution's words may be shown: nothing of others, of capacity or of reasons."""
RECEIPT: Final = "receipt"  # the proof of an entry, an object: for the customer's own snapshot
_RECEIPT_FIELDS_MAX: Final = 16
_OVER: Final = frozenset(
    {"ended", "closed", "drained", "sold_out", "settling", "settled", "abandoned"}
)  # for whoever isn't in
_NOT_NOW: Final = frozenset({"paused", "draining", "scheduled"})
_ANSWERED_BY_UPDATE: Final = frozenset({"refresh", "bid", "book", "cancel"})
_TAKES_IN: Final = frozenset({"entered", "admitted", "offered"})
_VALUE_CHARS_MAX: Final = 200


def hear(turn: Turn, answer: Answer) -> None:
    """What one distribution tells. Raises Rejected for anybody else."""
    place = answer.distribution
    if place not in turn.compiled.distributions or turn.facts.teller != turn.stream_of(place).text:
        raise Rejected("experience.not_a_distribution", distribution=place[:128])
    seat = turn.state.seat
    if seat is None or place not in {seat.distribution, seat.waitlist}:
        if answer.word in _TAKES_IN and not turn.history:
            turn.ask(place, "leave", wait=False)
        else:
            turn.add(CommandIgnored(reason="not_in_this_sequence"))
        return
    _WORDS[answer.word](turn, answer, seat)


def _entered(turn: Turn, answer: Answer, seat: Seat) -> None:
    state, place = turn.state, answer.distribution
    waits = place == seat.waitlist
    stage = WAITLIST_ENTERED if waits else PARTICIPATING
    participation = text("distribution.entered", answer.data, "participation") or place
    held = state.participation
    same = held is not None and (held.id, held.distribution) == (participation, place)
    if state.stage == ADMITTED or (same and state.stage == stage) or (waits and state.stage == PARTICIPATING):
        _known(turn, answer)
        return
    _leave_elsewhere(turn, place)
    mechanism = turn.compiled.distributions[place].mechanism
    turn.add(
        happened.Entered(turn.now_ms, place, mechanism, participation, stage, progress=_public(answer.data))
    )
    turn.note("distribution_change", "success", "You are on the waitlist." if waits else "You are in.")


def _left(turn: Turn, answer: Answer, seat: Seat) -> None:
    if not _holds(turn, answer.distribution):
        _known(turn, answer)
        return
    reason = text("distribution.left", answer.data, "reason")
    _out(turn, answer, seat, reason)
    turn.note("distribution_change", "info", "You have left.")


def _out(turn: Turn, answer: Answer, seat: Seat, reason: str) -> None:
    stage = outside(turn, seat.opens_ms, seat.closes_ms)
    if reason in _OVER and answer.distribution == seat.distribution:
        stage = ENDED
    turn.add(happened.Left(turn.now_ms, answer.distribution, reason, stage))


def _admitted(turn: Turn, answer: Answer, _seat: Seat) -> None:
    data, admission = answer.data, turn.state.admission
    jti = text("distribution.admitted", data, "jti", needed=True)
    if admission is not None and (admission.jti == jti or not admission.distribution):
        _known(turn, answer)
        return
    _leave_elsewhere(turn, answer.distribution)
    turn.add(
        happened.Admitted(
            at_ms=turn.now_ms,
            jti=jti,
            distribution=answer.distribution,
            expires_ms=whole("distribution.admitted", data, "expires_ms"),
            quantity=max(whole("distribution.admitted", data, "quantity", 1), 1),
            progress=_public(data),
        )
    )
    turn.note("distribution_change", "success", "You may go on.")


def _settling(turn: Turn, answer: Answer, _seat: Seat) -> None:
    if turn.state.stage != PARTICIPATING or turn.state.settling:
        _known(turn, answer)
        return
    turn.add(happened.Settling(turn.now_ms, answer.distribution))
    turn.note("distribution_change", "info", "Entries are closed; the result comes soon.")


def _not_selected(turn: Turn, answer: Answer, seat: Seat) -> None:
    if not _holds(turn, answer.distribution):
        _known(turn, answer)
    elif answer.distribution == seat.waitlist:
        _out(turn, answer, seat, "not_selected")
        turn.note("distribution_change", "info", "There was no place for you.")
    else:
        turn.add(happened.Ended(turn.now_ms, "not_selected", answer.distribution))
        turn.note("distribution_change", "info", "There was no place for you.")


def _expired(turn: Turn, answer: Answer, seat: Seat) -> None:
    what = text("distribution.expired", answer.data, "what") or "admission"
    state, place = turn.state, answer.distribution
    if what == "offer" and state.offer is not None and state.offer.distribution == place:
        stage = ENDED if place == seat.distribution else outside(turn, seat.opens_ms, seat.closes_ms)
        turn.add(happened.OfferExpired(turn.now_ms, place, stage))
        turn.note("distribution_change", "warning", "The offer was not accepted in time.")
    elif what == "hold" and _holds(turn, place) and state.stage == PARTICIPATING:
        _out(turn, answer, seat, "hold_expired")
        turn.note("distribution_change", "warning", "What was held for you was given back.")
    elif what == "admission" and state.admission is not None and _same_grant(turn, answer):
        turn.add(happened.AdmissionExpired(turn.now_ms, text("distribution.expired", answer.data, "reason")))
        turn.note("distribution_change", "warning", "Your admission has ended.")
    else:
        _known(turn, answer)


def _redeemed(turn: Turn, answer: Answer, _seat: Seat) -> None:
    admission = turn.state.admission
    if admission is None or admission.redeemed or not _same_grant(turn, answer):
        _known(turn, answer)
        return
    turn.add(happened.Redeemed(turn.now_ms, admission.jti))
    turn.note("distribution_change", "success", "Your admission was used.", audience="system")


def _completed(turn: Turn, answer: Answer, seat: Seat) -> None:
    if not _holds(turn, answer.distribution):
        _known(turn, answer)
    elif answer.distribution == seat.waitlist:
        stage = outside(turn, seat.opens_ms, seat.closes_ms)
        turn.add(happened.OfferAccepted(turn.now_ms, answer.distribution, stage))
        if stage == ENTERABLE and not turn.history:
            ask_as_customer(turn, seat.distribution, "enter", {})
    else:
        turn.add(happened.Ended(turn.now_ms, "completed", answer.distribution))
        turn.note("distribution_change", "success", "That's done.")


def _offered(turn: Turn, answer: Answer, seat: Seat) -> None:
    expires_ms = whole("distribution.offered", answer.data, "expires_ms")
    offer, place = turn.state.offer, answer.distribution
    same = offer is not None and (offer.distribution, offer.expires_ms) == (place, expires_ms)
    moved_on = place == seat.waitlist and turn.state.stage != WAITLIST_ENTERED
    if turn.state.stage == ADMITTED or moved_on or same:
        _known(turn, answer)
        return
    _leave_elsewhere(turn, place)
    stage = WAITLIST_ENTERED if place == seat.waitlist else PARTICIPATING
    turn.add(happened.Offered(turn.now_ms, place, expires_ms, stage))
    turn.note("distribution_change", "success", "A place is offered to you.")


def _ended(turn: Turn, answer: Answer, seat: Seat) -> None:
    state, place = turn.state, answer.distribution
    if place == seat.waitlist:
        if state.stage != WAITLIST_ENTERED:
            _known(turn, answer)
            return
        _out(turn, answer, seat, "ended")
    elif state.stage in {ADMITTED, ENDED, WAITLIST_ENTERED}:
        _known(turn, answer)
        return
    else:
        turn.add(happened.Ended(turn.now_ms, text("distribution.ended", answer.data, "reason"), place))
    turn.note("distribution_change", "info", "This has ended.")


def _refused(turn: Turn, answer: Answer, _seat: Seat) -> None:
    data = answer.data
    action = text("distribution.refused", data, "action")
    reason = text("distribution.refused", data, "reason")
    inputs = data.get("inputs")
    turn.add(
        happened.Refused(
            turn.now_ms, answer.distribution, action, reason, inputs if isinstance(inputs, dict) else {}
        )
    )
    turn.note("error", "warning", "That was not possible.", detail={"action": action})


def _updated(turn: Turn, answer: Answer, seat: Seat) -> None:
    progress, state, place = _public(answer.data), turn.state, answer.distribution
    phase, question = progress.get("phase"), state.question
    answers = question is not None and question.to == place and question.action in _ANSWERED_BY_UPDATE
    outside_of_it = place == seat.distribution and state.stage in {UPCOMING, ENTERABLE}
    if not outside_of_it:
        inside = place == seat.distribution or state.stage == WAITLIST_ENTERED
        progress = progress if inside else {}
        turn.add(happened.Updated(turn.now_ms, place, progress, state.paused, answers))
    elif phase in _OVER:
        turn.add(happened.Ended(turn.now_ms, str(phase), place))
        turn.note("distribution_change", "info", "This has ended.")
    else:
        _opening(turn, answer, seat, progress, answers=answers)


def _opening(turn: Turn, answer: Answer, seat: Seat, progress: dict[str, Any], *, answers: bool) -> None:
    """Somebody outside hears when the distribution opens: the later of its time and the sequence's counts."""
    phase = progress.get("phase")
    sequence = next((one for one in turn.compiled.sequences if one.id == seat.sequence), None)
    opens_ms = 0 if sequence is None or sequence.opens_ms is None else sequence.opens_ms
    if phase == "scheduled":
        opens_ms = max(opens_ms, whole("distribution.updated", answer.data, "opens_at_ms"))
    later = opens_ms > turn.now_ms
    turn.add(
        happened.Updated(
            at_ms=turn.now_ms,
            distribution=answer.distribution,
            progress=progress,
            paused=phase in _NOT_NOW and not later,
            answers=answers,
            stage=UPCOMING if later else ENTERABLE,
            opens_ms=opens_ms if later else None,
        )
    )


def _leave_elsewhere(turn: Turn, place: str) -> None:
    """Nobody stands on the waitlist and in the distribution at once."""
    held = turn.state.participation
    if held is not None and held.distribution != place and not turn.history:
        turn.ask(held.distribution, "leave", wait=False)


def _known(turn: Turn, answer: Answer) -> None:
    """Nothing new; but if it answers a question, the question is answered."""
    question = turn.state.question
    if question is not None and question.to == answer.distribution:
        turn.add(happened.Updated(turn.now_ms, answer.distribution, {}, turn.state.paused))
    else:
        turn.add(CommandIgnored(reason="already_known"))


def _holds(turn: Turn, place: str) -> bool:
    """Whether a distribution holds something for the customer, as far as the journey knows."""
    state = turn.state
    return any(
        held is not None and held.distribution == place
        for held in (state.participation, state.admission, state.offer)
    )


def _same_grant(turn: Turn, answer: Answer) -> bool:
    admission = turn.state.admission
    assert admission is not None
    jti = text("distribution.expired", answer.data, "jti")
    return admission.distribution == answer.distribution and jti in {"", admission.jti}


def _public(data: Mapping[str, Any]) -> dict[str, Any]:
    shown = {name: value for name, value in data.items() if name in PUBLIC and _plain(value)}
    receipt = data.get(RECEIPT)
    if (
        isinstance(receipt, dict)
        and len(receipt) <= _RECEIPT_FIELDS_MAX
        and all(map(_plain, receipt.values()))
    ):
        shown[RECEIPT] = receipt
    return shown


def _plain(value: Any) -> bool:
    return isinstance(value, bool | int | float) or (
        isinstance(value, str) and len(value) <= _VALUE_CHARS_MAX
    )


_WORDS: Final[Mapping[str, Callable[[Turn, Answer, Seat], None]]] = {
    "entered": _entered,
    "left": _left,
    "admitted": _admitted,
    "settling": _settling,
    "not_selected": _not_selected,
    "expired": _expired,
    "redeemed": _redeemed,
    "completed": _completed,
    "offered": _offered,
    "ended": _ended,
    "refused": _refused,
    "updated": _updated,
}
