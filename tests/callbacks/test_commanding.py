"""From reports to commands: what repeats share, and what never differs under one key."""

from itertools import product
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from consumers.actions.references import Reference
from consumers.callbacks.commanding import commands
from consumers.callbacks.reports import Report, What
from consumers.callbacks.unsubscribing import ONE_ACT_MS, unsubscribed
from orchestrator.core.addresses import parse_stream
from orchestrator.customers.record import RECORD
from orchestrator.journeys import KINDS
from tests.callbacks.stand import MAIL, TEXT

REPORTS = st.builds(
    Report,
    what=st.sampled_from(What),
    reference=st.sampled_from([MAIL, TEXT]),
    time_ms=st.integers(0, 2**41),
    id=st.sampled_from(["", "1", "2"]),
    hard=st.booleans(),
    url=st.sampled_from(["", "https://example.com/a", "https://example.com/b"]),
    error=st.sampled_from(["", "30003"]),
    by=st.sampled_from(["ses", "sendgrid"]),
)


@given(st.lists(REPORTS, max_size=8))
def test_one_key_has_one_meaning(reports: list[Report]) -> None:
    """Whoever reports what, in whatever order: commands of one key to one stream carry the same type and data."""
    seen: dict[tuple[str, str], tuple[str, Any]] = {}
    for said in reports:
        report = msgspec.structs.replace(said, text="x" if said.what == What.REPLIED else "")
        told = {"ses": "sendgrid"} if report.what in {What.UNSUBSCRIBED, What.STOPPED, What.STARTED} else {}
        if told and report.by == "ses":
            continue  # a provider's ids are its own: two don't report one act of consent under the same one
        for command in commands(report, "profile"):
            meaning = (command.type, dict(command.data))
            assert seen.setdefault((command.stream.text, command.id), meaning) == meaning


@given(REPORTS)
def test_every_command_can_be_read_by_whom_it_is_for(report: Report) -> None:
    """Flow and record take what they are told: no callback ends among the dead letters for its shape."""
    kinds = {kind.name: kind for kind in (*KINDS, RECORD)}
    for command in commands(report, "profile"):
        assert kinds[command.stream.kind].parse(command.type, command.data) is not None
        assert len(command.id) <= 100


def test_what_one_message_says_is_told_apart() -> None:
    """STOP and START under one id, though no provider should send that, are two commands."""
    both = [
        commands(Report(what=what, reference=TEXT, time_ms=1, id="SM1"), "profile")
        for what in (What.STOPPED, What.STARTED)
    ]
    ids = [{c.id for c in found} for found in both]
    assert not ids[0] & ids[1]


def test_news_is_told_from_repeats() -> None:
    """A second click on another link, a second soft bounce, another STOP are news; a second open is none."""
    for what, changes, news in (
        (What.OPENED, {"id": "2"}, False),
        (What.DELIVERED, {"id": "2"}, False),
        (What.CLICKED, {"url": "https://example.com/b"}, True),
        (What.CLICKED, {"id": "2"}, False),
        (What.BOUNCED, {"id": "2"}, True),
        (What.BOUNCED, {"hard": True}, True),
        (What.STOPPED, {"id": "2"}, True),
        (What.UNSUBSCRIBED, {"id": "2"}, True),
    ):
        first = {"what": what, "reference": MAIL, "time_ms": 1, "id": "1", "url": "https://example.com/a"}
        ids = {
            frozenset(c.id for c in commands(Report(**one), "profile")) for one in (first, first | changes)
        }
        assert (len(ids) == 2) is news, (what, changes)


def test_a_link_works_again_after_coming_back() -> None:
    """Unsubscribing by the same link a day later is another act; a mail program's second try is the same one."""
    now_ms = 1_700_000_000_000 // ONE_ACT_MS * ONE_ACT_MS
    ids = [
        [c.id for c in unsubscribed(MAIL, "profile", at)]
        for at in (now_ms, now_ms + 5_000, now_ms + 86_400_000)
    ]
    assert ids[0] == ids[1] != ids[2]


def test_who_cannot_hear_is_told_nothing() -> None:
    """A trial's stream, a resource, an installation without records: no command goes where nobody takes it."""
    trial = Reference(parse_stream("trial/c/author/trial:template"), "e1", "trial", "email")
    resource = Reference(parse_stream("acme/r/queue-1/flow:x"), "e1", "a", "email")
    for reference, record, kinds in (
        (trial, "", []),
        (trial, "profile", []),
        (resource, "profile", ["flow"]),
        (MAIL, "", ["flow"]),
    ):
        found = commands(Report(what=What.COMPLAINED, reference=reference, time_ms=1), record)
        assert [c.stream.kind for c in found] == kinds


def test_what_silences_whom() -> None:
    """Hard bounces and complaints silence the address; STOP and unsubscribing withdraw consent; nothing else does."""
    expected = {
        (What.BOUNCED, True): ["suppress"],
        (What.FAILED, True): ["suppress"],
        (What.COMPLAINED, False): ["suppress"],
        (What.COMPLAINED, True): ["suppress"],
        (What.STOPPED, False): ["suppress", "consent"],
        (What.STOPPED, True): ["suppress", "consent"],
        (What.STARTED, False): ["unsuppress", "consent"],
        (What.STARTED, True): ["unsuppress", "consent"],
        (What.UNSUBSCRIBED, False): ["consent"],
        (What.UNSUBSCRIBED, True): ["consent"],
    }
    for what, hard in product(What, (False, True)):
        report = Report(what=what, reference=TEXT, time_ms=1, hard=hard, id="1")
        told = [c.type for c in commands(report, "profile") if c.stream.kind == "customer"]
        assert told == expected.get((what, hard), []), (what, hard)
