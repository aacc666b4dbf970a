"""`/callbacks/email`: a mail relay's own JSON, signed as Standard Webhooks has it."""

import time
from typing import Any

import pytest

from tests.callbacks.stand import ABOUT_MAIL, MAIL, RECORD, STREAM, new_secret, stand

HASHED = {"channel": "email", "address_hash": MAIL.address_hash}


def event(kind: str, token: str, **more: Any) -> dict[str, Any]:
    return {"id": f"event-{kind}", "type": kind, "reference": token, **more}


async def test_every_kind_reaches_the_journey_that_sent_the_mail() -> None:
    """A batch becomes one `event` command each for the flow, under the owner's key, before it is answered."""
    async with stand() as one:
        token = one.token()
        at_ms = time.time_ns() // 1_000_000 - 60_000
        batch = [
            event("delivered", token, time=at_ms),
            event("opened", token),
            event("clicked", token, url="https://example.com/a?b=c"),
            event("bounced", token),
            event("bounced", token, bounce="hard"),
            event("complained", token),
            event("unsubscribed", token),
        ]
        answer = await one.relay({"events": batch})
        assert answer.status == 204
    assert one.bus.events == [
        ("EMAIL_DELIVERED", ABOUT_MAIL),
        ("EMAIL_OPENED", ABOUT_MAIL),
        ("EMAIL_CLICKED", {**ABOUT_MAIL, "url": "https://example.com/a?b=c"}),
        ("EMAIL_BOUNCED", {**ABOUT_MAIL, "bounce": "soft"}),
        ("EMAIL_BOUNCED", {**ABOUT_MAIL, "bounce": "hard"}),
        ("EMAIL_COMPLAINED", ABOUT_MAIL),
        ("EMAIL_UNSUBSCRIBED", ABOUT_MAIL),
    ]
    assert one.bus.to_record == [
        ("suppress", {**HASHED, "reason": "hard_bounce"}),
        ("suppress", {**HASHED, "reason": "complaint"}),
        ("consent", {"channel": "email", "source": "mail relay", "granted": False}),
    ]
    first = one.bus.sent[0]
    assert (first.key, first.headers["ce_subject"]) == ("acme/c/cus-1", STREAM)
    assert first.headers["ce_source"] == "journeys/callbacks"
    assert first.headers["ce_time"].startswith(time.strftime("%Y-%m-%dT", time.gmtime(at_ms / 1000)))
    assert {s.headers["ce_subject"] for s in one.bus.sent} == {STREAM, RECORD}
    assert one.reported("email", "bounced") == 2


async def test_a_batch_that_comes_again_says_nothing_new() -> None:
    """The same events, sent again or reported by somebody else as well, have the same keys and the same data."""
    async with stand() as one:
        batch = {"events": [event("opened", one.token()), event("bounced", one.token(), bounce="hard")]}
        assert (await one.relay(batch)).status == 204
        assert (await one.relay(batch, id="msg-2")).status == 204
        assert len(one.bus.sent) == 3
        other = {"events": [{**event("opened", one.token(), time=1_700_000_000_000), "id": "another"}]}
        assert (await one.relay(other, id="msg-3")).status == 204
        assert len(one.bus.sent) == 3


async def test_kafka_away_is_told_and_the_batch_is_taken_later() -> None:
    """503 until the commands are on Kafka; the relay's next try then has the same keys."""
    async with stand() as one:
        batch = {"events": [event("opened", one.token())]}
        one.bus.away = True
        assert (await one.relay(batch)).status == 503
        one.bus.away = False
        assert (await one.relay(batch)).status == 204
        assert [name for name, _ in one.bus.events] == ["EMAIL_OPENED"]
        assert one.counted("email", "unavailable") == 1


async def test_bad_signatures_are_refused() -> None:
    """No signature is 401; another secret, a changed body or an old time is 403; nothing is said or published."""
    async with stand() as one:
        good = {"events": [event("opened", one.token())]}
        assert await one.status("POST", "/callbacks/email", json=good) == 401
        for options in (
            {"secret": new_secret()},
            {"changed": b'{"events": []}'},
            {"age_s": 600},
            {"age_s": -600},
        ):
            answer = await one.relay(good, **options)
            assert (answer.status, await answer.text()) == (403, "")
        odd = {"webhook-id": "1", "webhook-timestamp": str(int(time.time())), "webhook-signature": "nonsense"}
        assert await one.status("POST", "/callbacks/email", json=good, headers=odd) == 403
        assert not one.bus.sent


async def test_secrets_are_rotated() -> None:
    """While the secret changes both are good; a dropped one isn't."""
    old, new = new_secret(), new_secret()
    async with stand(email_secret=f"{new} {old}") as one:
        for secret in (old, new):
            assert (await one.relay({"events": []}, secret=secret)).status == 204
    async with stand(email_secret=new) as one:
        assert (await one.relay({"events": []}, secret=old)).status == 403


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"{", "truncated"),
        (b"[]", "object"),
        (b"{}", "events"),
        (b'{"events": [{"id": "1", "type": "danced", "reference": "x"}]}', "$.events[0].type"),
        (b'{"events": [{"id": "1", "type": "opened"}]}', "reference"),
    ],
)
async def test_a_wrong_shape_is_named(body: bytes, said: str) -> None:
    """Whoever has signed is told what is wrong, where, and where the shape is written down."""
    async with stand() as one:
        answer = await one.relay(body)
        text = await answer.text()
        assert answer.status == 400
        assert said in text
        assert "docs/callbacks.md" in text


async def test_what_is_not_ours_is_passed_over() -> None:
    """A reference that we didn't seal is counted; the rest of the batch is taken."""
    async with stand() as one:
        batch = {"events": [event("opened", "AAAA"), event("opened", ""), event("delivered", one.token())]}
        assert (await one.relay(batch)).status == 204
        assert [name for name, _ in one.bus.events] == ["EMAIL_DELIVERED"]
        assert one.reported("email", "unmatched") == 2


async def test_without_a_secret_there_is_no_page() -> None:
    """A provider that can't be verified isn't listened to at all."""
    async with stand(email_secret="") as one:
        for name in ("email", "ses", "sendgrid", "nobody"):
            assert await one.status("POST", f"/callbacks/{name}", json={}) == 404
