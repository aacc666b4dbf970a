"""`/callbacks/sendgrid`: the signed Event Webhook."""

import time
from base64 import b64encode
from typing import Any

import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.callbacks.stand import ABOUT_MAIL, MAIL, Stand, stand

KEY = ec.generate_private_key(ec.SECP256R1())
NOW_S = int(time.time())


def public(key: ec.EllipticCurvePrivateKey = KEY) -> str:
    """The key as SendGrid's settings page shows it."""
    raw = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return b64encode(raw).decode()


def event(kind: str, token: str, **more: Any) -> dict[str, Any]:
    """One event as documented: unique arguments stand beside its own fields."""
    return {
        "email": "anna@example.com",
        "timestamp": NOW_S - 60,
        "smtp-id": "<1@example.com>",
        "event": kind,
        "sg_event_id": f"id-{kind}",
        "sg_message_id": "14c5d75ce93.dfd.64b469.filter0001.16648.5515E0B88.0",
        "reference": token,
        **more,
    }


async def post(
    one: Stand,
    body: bytes,
    *,
    key: ec.EllipticCurvePrivateKey = KEY,
    at_s: int = NOW_S,
    changed: bytes = b"",
) -> int:
    signature = key.sign(str(at_s).encode() + body, ec.ECDSA(SHA256()))
    headers = {
        "X-Twilio-Email-Event-Webhook-Signature": b64encode(signature).decode(),
        "X-Twilio-Email-Event-Webhook-Timestamp": str(at_s),
    }
    return await one.status("POST", "/callbacks/sendgrid", data=changed or body, headers=headers)


@pytest.mark.parametrize(
    ("kind", "more", "name", "said", "reason"),
    [
        ("delivered", {}, "EMAIL_DELIVERED", {}, ""),
        ("open", {"sg_machine_open": False}, "EMAIL_OPENED", {}, ""),
        ("click", {"url": "https://example.com/x"}, "EMAIL_CLICKED", {"url": "https://example.com/x"}, ""),
        ("bounce", {"type": "bounce", "status": "5.1.1"}, "EMAIL_BOUNCED", {"bounce": "hard"}, "hard_bounce"),
        ("bounce", {"type": "blocked", "status": "5.7.1"}, "EMAIL_BOUNCED", {"bounce": "soft"}, ""),
        ("bounce", {"type": "bounce", "status": "4.2.2"}, "EMAIL_BOUNCED", {"bounce": "soft"}, ""),
        ("dropped", {"reason": "Bounced Address"}, "EMAIL_BOUNCED", {"bounce": "hard"}, "hard_bounce"),
        ("dropped", {"reason": "Spam Content"}, "EMAIL_BOUNCED", {"bounce": "soft"}, ""),
        ("deferred", {"attempt": "5"}, "EMAIL_BOUNCED", {"bounce": "soft"}, ""),
        ("spamreport", {}, "EMAIL_COMPLAINED", {}, "complaint"),
        ("unsubscribe", {}, "EMAIL_UNSUBSCRIBED", {}, "consent"),
        ("group_unsubscribe", {"asm_group_id": 1}, "EMAIL_UNSUBSCRIBED", {}, "consent"),
    ],
)
async def test_events_as_documented(kind: str, more: Any, name: str, said: Any, reason: str) -> None:
    """Each kind is heard by the flow under our own name; what silences an address is told to the record."""
    async with stand(sendgrid_public_key=public()) as one:
        body = orjson.dumps([event("processed", one.token()), event(kind, one.token(), **more)])
        assert await post(one, body) == 204
        assert await post(one, body) == 204
        assert one.bus.events == [(name, {**ABOUT_MAIL, **said})]
        if reason == "consent":
            told = ("consent", {"channel": "email", "source": "sendgrid", "granted": False})
        else:
            address = {"channel": "email", "address_hash": MAIL.address_hash}
            told = ("suppress", {**address, "reason": reason})
        assert one.bus.to_record == ([told] if reason else [])


async def test_bad_signatures_are_refused() -> None:
    """Another key, a changed body, a changed or very old time: 403; no signature: 401."""
    async with stand(sendgrid_public_key=public()) as one:
        body = orjson.dumps([event("open", one.token())])
        assert await one.status("POST", "/callbacks/sendgrid", data=body) == 401
        assert await post(one, body, key=ec.generate_private_key(ec.SECP256R1())) == 403
        assert await post(one, body, changed=body.replace(b"open", b"none")) == 403
        assert await post(one, body, at_s=NOW_S - 3 * 86_400) == 403
        assert await post(one, body, at_s=NOW_S + 3_600) == 403
        headers = {
            "X-Twilio-Email-Event-Webhook-Signature": "no base64!",
            "X-Twilio-Email-Event-Webhook-Timestamp": "soon",
        }
        assert await one.status("POST", "/callbacks/sendgrid", data=body, headers=headers) == 403
        assert not one.bus.sent


async def test_a_retry_of_yesterday_is_taken() -> None:
    """SendGrid goes on trying for a day, with the time it first signed."""
    async with stand(sendgrid_public_key=public()) as one:
        assert await post(one, orjson.dumps([event("open", one.token())]), at_s=NOW_S - 86_000) == 204
        assert len(one.bus.events) == 1


async def test_odd_batches() -> None:
    """A signed body of another shape is 400; events without a reference of ours are counted, odd fields harmless."""
    async with stand(sendgrid_public_key=public(), max_events=3) as one:
        assert await post(one, b"{}") == 400
        assert await post(one, b"[1]") == 400
        assert await post(one, orjson.dumps([event("open", "x")] * 4)) == 400
        odd = [{"event": 3}, event("open", "x"), event("open", one.token(), timestamp="soon")]
        assert await post(one, orjson.dumps(odd)) == 204
        assert len(one.bus.events) == 1
        assert one.reported("sendgrid", "unmatched") == 1
