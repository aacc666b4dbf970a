"""`/callbacks/twilio`: statuses of text messages, and what customers answer."""

from typing import Any

import pytest

from consumers.actions.delivery_settings import DeliverySettings, LinkSettings, TwilioSettings
from consumers.actions.references import Reference
from orchestrator.core.addresses import parse_stream
from tests.callbacks.stand import NUMBER, STREAM, TEXT, Book, stand
from tests.providers.stage import new_key

SID = "SM" + "1" * 32
ABOUT = {
    "message": f"{STREAM}/e7-0",
    "effect": "e7-0",
    "action": "reminder_sms",
    "channel": "sms",
    "template": "welcome_reminder",
}
HASHED = {"channel": "sms", "address_hash": TEXT.address_hash}


def status(value: str, **more: str) -> dict[str, str]:
    """A status callback's form, as documented."""
    return {
        "MessageSid": SID,
        "SmsSid": SID,
        "MessageStatus": value,
        "SmsStatus": value,
        "AccountSid": "AC1",
        "ApiVersion": "2010-04-01",
        "From": "+15005550006",
        "To": NUMBER,
        **more,
    }


def message(body: str, **more: str) -> dict[str, str]:
    """A form of a message from a customer, as documented."""
    return {
        "MessageSid": SID,
        "SmsSid": SID,
        "SmsMessageSid": SID,
        "SmsStatus": "received",
        "AccountSid": "AC1",
        "From": NUMBER,
        "To": "+15005550006",
        "Body": body,
        "NumMedia": "0",
        "NumSegments": "1",
        **more,
    }


@pytest.mark.parametrize(
    ("form", "events", "to_record"),
    [
        (status("queued"), [], []),
        (status("sent"), [], []),
        (status("delivered"), [("SMS_DELIVERED", ABOUT)], []),
        (status("read"), [("SMS_READ", ABOUT)], []),
        (
            status("undelivered", ErrorCode="30003"),
            [("SMS_FAILED", {**ABOUT, "error": "30003"})],
            [],
        ),
        (
            status("failed", ErrorCode="30005"),
            [("SMS_FAILED", {**ABOUT, "error": "30005"})],
            [("suppress", {**HASHED, "reason": "hard_bounce"})],
        ),
        (
            status("failed", ErrorCode="21610"),
            [("SMS_FAILED", {**ABOUT, "error": "21610"}), ("SMS_STOPPED", ABOUT)],
            [
                ("suppress", {**HASHED, "reason": "stop"}),
                ("consent", {"channel": "sms", "source": "twilio 21610", "granted": False}),
            ],
        ),
    ],
)
async def test_a_status_reaches_the_journey(form: dict[str, str], events: Any, to_record: Any) -> None:
    """A final status is heard by the flow that sent the text; a dead or stopped number is told to the record."""
    async with stand() as one:
        for _ in range(2):  # Twilio tries again when it hears nothing
            answer = await one.twilio(form, f"?effect={one.token(TEXT)}")
            assert answer.status == 204
        assert one.bus.events == events
        assert one.bus.to_record == to_record


@pytest.mark.parametrize(
    ("form", "name", "to_record"),
    [
        (message("Stop "), "SMS_STOPPED", ("suppress", "consent")),
        (message("unsubscribe"), "SMS_STOPPED", ("suppress", "consent")),
        (message("Basta", OptOutType="STOP"), "SMS_STOPPED", ("suppress", "consent")),
        (message("START"), "SMS_STARTED", ("unsuppress", "consent")),
        (message("unstop"), "SMS_STARTED", ("unsuppress", "consent")),
        (message("HELP"), "SMS_HELP_ASKED", ()),
        (message("Please stop calling me names"), "SMS_REPLIED", ()),
        (message("yes"), "SMS_REPLIED", ()),
    ],
)
async def test_what_a_customer_answers(form: dict[str, str], name: str, to_record: Any) -> None:
    """STOP silences the number and withdraws consent, START undoes both; anything else is a reply to the last message."""
    async with stand(book=Book(TEXT)) as one:
        answer = await one.twilio(form)
        assert (answer.status, answer.content_type) == (200, "text/xml")
        assert (await answer.text()).endswith("<Response></Response>")
        ((event, payload),) = one.bus.events
        assert event == name
        text = {"text": form["Body"]} if name == "SMS_REPLIED" else {}
        assert payload == {**ABOUT, **text}
        assert tuple(kind for kind, _ in one.bus.to_record) == to_record
        for kind, data in one.bus.to_record:
            if kind == "consent":
                assert data["granted"] is (name == "SMS_STARTED")
            else:
                assert data["address_hash"] == TEXT.address_hash


async def test_a_number_that_several_customers_share() -> None:
    """A STOP silences the number for everybody who was ever written to at it."""
    other = Reference(parse_stream("acme/c/cus-2/flow:welcome"), "e3-0", "sms", "sms", "", TEXT.address_hash)
    async with stand(book=Book(TEXT, other)) as one:
        assert (await one.twilio(message("STOP"))).status == 200
        told = {s.headers["ce_subject"] for s in one.bus.sent if s.headers["ce_type"] == "suppress"}
        assert told == {"acme/c/cus-1/customer:profile", "acme/c/cus-2/customer:profile"}


async def test_a_stranger_is_answered_and_counted() -> None:
    """A number nobody was written to at is no customer's: Twilio gets its answer, nothing is published."""
    async with stand(book=Book()) as one:
        assert (await one.twilio(message("STOP"))).status == 200
        assert not one.bus.sent
        assert one.reported("twilio", "unmatched") == 1


async def test_an_address_book_that_is_away() -> None:
    """A STOP that can't be matched now isn't thanked for."""
    async with stand(book=Book(away=True)) as one:
        assert (await one.twilio(message("STOP"))).status == 503


async def test_bad_signatures_are_refused() -> None:
    """No signature is 401; another account's token, another field, another address or another report is 403."""
    async with stand(book=Book(TEXT)) as one:
        assert await one.status("POST", "/callbacks/twilio", data=message("STOP")) == 401
        assert (await one.twilio(message("STOP"), token=new_key())).status == 403
        assert (await one.twilio(message("STOP"), base="https://evil.example.org")).status == 403
        good = await one.twilio(status("delivered"), f"?effect={one.token(TEXT)}")
        signed = good.request_info.headers["X-Twilio-Signature"]
        for form, query in (
            (status("failed"), f"?effect={one.token(TEXT)}"),
            (status("delivered"), "?effect=AAAA"),
            (status("delivered", Extra="1"), f"?effect={one.token(TEXT)}"),
        ):
            headers = {"X-Twilio-Signature": signed}
            assert await one.status("POST", f"/callbacks/twilio{query}", data=form, headers=headers) == 403
        for odd in ("x", "ü", "=" * 400):
            headers = {"X-Twilio-Signature": odd}
            assert await one.status("POST", "/callbacks/twilio", data=status("read"), headers=headers) == 403
        assert len(one.bus.sent) == 1


async def test_the_port_may_stand_in_the_address() -> None:
    """Twilio signs some addresses with their port and some without: both are ours."""
    async with stand() as one:
        answer = await one.twilio(
            status("delivered"), f"?effect={one.token(TEXT)}", base="https://links.example.com:443"
        )
        assert answer.status == 204


async def test_a_path_before_ours() -> None:
    """A proxy may serve us below a path of its own, which Twilio signs and we never see."""
    token = new_key()
    accounts = DeliverySettings(
        links=LinkSettings(base_url="https://example.com/journeys/", keys=new_key()),
        twilio=TwilioSettings(account_sid="AC1", auth_token=token),
    )
    async with stand(delivery=accounts, book=Book(TEXT)) as one:
        answer = await one.twilio(message("STOP"), token=token, base="https://example.com/journeys")
        assert answer.status == 200


async def test_a_report_of_nobody() -> None:
    """A status without a token of ours is counted; Twilio isn't asked to repeat it."""
    async with stand() as one:
        assert (await one.twilio(status("delivered"))).status == 204
        assert one.reported("twilio", "unmatched") == 1
