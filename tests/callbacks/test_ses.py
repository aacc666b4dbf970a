"""`/callbacks/ses`: Amazon SES through SNS, its certificate and its handshake."""

import datetime as dt
import socket
from base64 import b64encode
from typing import Any

import orjson
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.x509.oid import NameOID

from consumers.actions.delivery_settings import DeliverySettings, LinkSettings
from consumers.actions.guard import AddressRefused
from consumers.actions.references import REFERENCE_HEADER, REPORT, make_reference
from consumers.callbacks.adapter import Heard, Received, Tools
from consumers.callbacks.errors import Forged, TurnedAway, Unavailable
from consumers.callbacks.reports import What
from consumers.callbacks.ses import Ses
from consumers.callbacks.settings import CallbackSettings
from tests.callbacks.stand import MAIL, PUBLIC, stand
from tests.effects.calling import answers
from tests.providers.stage import new_key

TOPIC = "arn:aws:sns:eu-west-1:123456789012:ses-events"
CERTIFICATE_URL = "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-0123abcd.pem"
SUBSCRIBE_URL = "https://sns.eu-west-1.amazonaws.com/?Action=ConfirmSubscription&Token=abc"
NOW = dt.datetime.now(dt.UTC).replace(microsecond=0)
KEY = rsa.generate_private_key(65_537, 2_048)
KEYS = new_key()


def certificate(key: rsa.RSAPrivateKey = KEY, *, days: tuple[int, int] = (-1, 1)) -> bytes:
    """A self-signed certificate, valid between these days from today."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sns.amazonaws.com")])
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW + dt.timedelta(days=days[0]))
        .not_valid_after(NOW + dt.timedelta(days=days[1]))
    )
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def stamp(moment: dt.datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.000Z")


def signed(fields: dict[str, Any], *, key: rsa.RSAPrivateKey = KEY, version: str = "2") -> dict[str, Any]:
    """An SNS message with its signature: the documented fields, sorted, each with its value on a line."""
    text = "".join(f"{name}\n{fields[name]}\n" for name in sorted(fields))
    algorithm = hashes.SHA1() if version == "1" else hashes.SHA256()
    raw = key.sign(text.encode(), PKCS1v15(), algorithm)
    shown = {"Signature": b64encode(raw).decode(), "SignatureVersion": version}
    return {
        **fields,
        **shown,
        "SigningCertURL": CERTIFICATE_URL,
        "UnsubscribeURL": "https://sns.example.com/",
    }


def notification(event: Any, **more: Any) -> dict[str, Any]:
    """The fields of a notification that are signed."""
    return {
        "Type": "Notification",
        "MessageId": "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324",
        "TopicArn": TOPIC,
        "Subject": "Amazon SES Email Event Notification",
        "Message": event if isinstance(event, str) else orjson.dumps(event).decode(),
        "Timestamp": stamp(NOW),
        **more,
    }


def ses(kind: str, part: dict[str, Any], *, name: str = "eventType") -> dict[str, Any]:
    """An event as documented; the reference stands among the mail's headers, folded."""
    token = make_reference(MAIL, REPORT, KEYS)
    folded = f"{token[:20]}\r\n {token[20:]}"
    headers = [{"name": "From", "value": "x"}, {"name": REFERENCE_HEADER.lower(), "value": folded}]
    key = kind[0].lower() + kind[1:]
    return {
        name: kind,
        "mail": {"messageId": "EXAMPLE7c191be45", "headers": headers},
        key: {"timestamp": stamp(NOW), **part},
    }


class Fetch:
    """The web as SNS shows it."""

    def __init__(self, *, answer: Any = None) -> None:
        self.asked: list[str] = []
        self.answer = answer if answer is not None else certificate()

    async def __call__(self, url: str) -> bytes:
        self.asked.append(url)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer if url.endswith(".pem") else b"<ConfirmSubscriptionResponse/>"


async def heard(message: dict[str, Any], fetch: Fetch | None = None, adapter: Ses | None = None) -> Heard:
    """What one callback says."""
    tools = Tools(
        CallbackSettings(ses_topics=(TOPIC,)),
        DeliverySettings(links=LinkSettings(base_url=PUBLIC, keys=KEYS)),
        fetch or Fetch(),
    )
    now_ms = int(NOW.timestamp() * 1_000)
    received = Received("/callbacks/ses", {}, {}, orjson.dumps(message), now_ms)
    return await (adapter or Ses()).read(received, tools)


@pytest.mark.parametrize("version", ["1", "2"])
@pytest.mark.parametrize(
    ("kind", "part", "what", "hard"),
    [
        ("Delivery", {}, What.DELIVERED, False),
        ("Open", {"ipAddress": "192.0.2.1"}, What.OPENED, False),
        ("Click", {"link": "https://example.com/x"}, What.CLICKED, False),
        ("Bounce", {"bounceType": "Permanent", "feedbackId": "1"}, What.BOUNCED, True),
        ("Bounce", {"bounceType": "Transient", "feedbackId": "2"}, What.BOUNCED, False),
        ("Bounce", {"bounceType": "Undetermined", "feedbackId": "3"}, What.BOUNCED, False),
        ("DeliveryDelay", {"delayType": "MailboxFull"}, What.BOUNCED, False),
        ("Complaint", {"feedbackId": "4", "complaintFeedbackType": "abuse"}, What.COMPLAINED, False),
        ("Subscription", {"newTopicPreferences": {"unsubscribeAll": True}}, What.UNSUBSCRIBED, False),
    ],
)
async def test_events_as_documented(kind: str, part: Any, what: What, hard: bool, version: str) -> None:
    """Each kind of event, signed either way SNS signs, is a report about the mail whose header it repeats."""
    found = await heard(signed(notification(ses(kind, part)), version=version))
    (report,) = found.reports
    assert (report.what, report.reference, report.hard) == (what, MAIL, hard)
    assert report.time_ms == int(NOW.timestamp() * 1_000)
    assert report.url == part.get("link", "")


async def test_feedback_notifications_have_another_name_for_their_kind() -> None:
    """What an identity's feedback is called differs from a configuration set's events; both are understood."""
    event = ses("Bounce", {"bounceType": "Permanent"}, name="notificationType")
    assert (await heard(signed(notification(event)))).reports[0].hard


@pytest.mark.parametrize(
    "event",
    [
        ses("Send", {}),
        ses("Complaint", {"complaintFeedbackType": "not-spam"}),
        ses("Subscription", {"newTopicPreferences": {"unsubscribeAll": False}}),
        "Successfully validated SNS topic for Amazon SES event publishing.",
    ],
)
async def test_what_says_nothing(event: Any) -> None:
    """Events without news are thanked for, so that they don't come again."""
    assert await heard(signed(notification(event))) == Heard()


async def test_a_mail_that_is_not_ours() -> None:
    """Another application's mail on the same topic is counted and passed over."""
    event = ses("Delivery", {})
    event["mail"]["headers"] = []
    assert (await heard(signed(notification(event)))).unmatched == 1


async def test_forgeries_are_refused() -> None:
    """Another key, a changed text, an old message, a certificate out of its time: none is believed."""
    good = notification(ses("Delivery", {}))
    stranger = rsa.generate_private_key(65_537, 2_048)
    old = {**good, "Timestamp": stamp(NOW - dt.timedelta(days=3))}
    for message, fetch in (
        (signed(good, key=stranger), None),
        ({**signed(good), "Message": "{}"}, None),
        ({**signed(good), "Subject": "x"}, None),
        ({**signed(good), "SignatureVersion": "3"}, None),
        ({**signed(good), "Signature": "no base64!"}, None),
        ({**signed(good), "Type": "Other"}, None),
        (signed(old), None),
        (signed(good), Fetch(answer=certificate(days=(-9, -1)))),
        ({"Type": "Notification"}, None),
    ):
        with pytest.raises(Forged):
            await heard(message, fetch)


@pytest.mark.parametrize(
    "url",
    [
        "http://sns.eu-west-1.amazonaws.com/a.pem",
        "https://sns.eu-west-1.amazonaws.com.example.com/a.pem",
        "https://example.com/sns.eu-west-1.amazonaws.com/a.pem",
        "https://sns.eu-west-1.amazonaws.com@example.com/a.pem",
        "https://sns.eu-west-1.amazonaws.com:8443/a.pem",
        "https://s3.eu-west-1.amazonaws.com/a.pem",
        "https://sns.eu-west-1.amazonaws.com/?Action=x.pem",
        "https://sns.eu-west-1.amazonaws.com/a.pem#x",
    ],
)
async def test_certificates_come_from_sns_alone(url: str) -> None:
    """Nobody can make us believe, or even fetch, a certificate from elsewhere."""
    fetch = Fetch()
    with pytest.raises(Forged):
        await heard({**signed(notification(ses("Delivery", {}))), "SigningCertURL": url}, fetch)
    assert not fetch.asked


async def test_other_topics_are_refused_before_anything_is_fetched() -> None:
    """Anybody can have SNS sign something: only the topics in the settings are ours."""
    fetch = Fetch()
    other = {"TopicArn": "arn:aws:sns:eu-west-1:999999999999:evil"}
    with pytest.raises(Forged):
        await heard(signed(notification(ses("Delivery", {}), **other)), fetch)
    assert not fetch.asked


async def test_a_certificate_is_fetched_once() -> None:
    """Each further message is verified with the certificate that is known."""
    fetch, adapter = Fetch(), Ses()
    for _ in range(3):
        await heard(signed(notification(ses("Delivery", {}))), fetch, adapter)
    assert fetch.asked == [CERTIFICATE_URL]


def handshake(**changes: Any) -> dict[str, Any]:
    """A subscription's confirmation, as documented."""
    return {
        "Type": "SubscriptionConfirmation",
        "MessageId": "165545c9-2a5c-472c-8df2-7ff2be2b3b1b",
        "Token": "2336412f37",
        "TopicArn": TOPIC,
        "Message": "You have chosen to subscribe",
        "SubscribeURL": SUBSCRIBE_URL,
        "Timestamp": stamp(NOW),
        **changes,
    }


async def test_a_subscription_is_confirmed() -> None:
    """Whoever subscribes us to one of our topics is answered by fetching the address SNS gives, once it is verified."""
    fetch = Fetch()
    assert await heard(signed(handshake()), fetch) == Heard()
    assert fetch.asked == [CERTIFICATE_URL, SUBSCRIBE_URL]


async def test_a_subscription_leads_nowhere_else() -> None:
    """A signed address that isn't SNS's own is never fetched; an unsigned one neither."""
    for message in (
        signed(handshake(SubscribeURL="https://example.com/?Action=ConfirmSubscription")),
        {**signed(handshake()), "SubscribeURL": SUBSCRIBE_URL + "x"},
    ):
        fetch = Fetch()
        with pytest.raises(TurnedAway):
            await heard(message, fetch)
        assert fetch.asked == [CERTIFICATE_URL]


async def test_a_network_that_is_away_is_told() -> None:
    """Without the certificate nothing is judged: SNS is asked to try again. A refused address is no network trouble."""
    message = signed(notification(ses("Delivery", {})))
    for trouble in (OSError("x"), TimeoutError(), b"no certificate"):
        with pytest.raises(Unavailable):
            await heard(message, Fetch(answer=trouble))
    with pytest.raises(Forged):
        await heard(message, Fetch(answer=AddressRefused()))


async def test_fetching_is_guarded() -> None:
    """A name of SNS that leads to this machine or its network is refused by the same guard as a webhook's."""
    inside = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("10.0.0.7", 443))]
    lookup, asked = answers(inside)
    async with stand(lookup=lookup, ses_topics=(TOPIC,)) as one:
        body = orjson.dumps(signed(notification(ses("Delivery", {}))))
        assert await one.status("POST", "/callbacks/ses", data=body) == 403
        assert asked == ["sns.eu-west-1.amazonaws.com"]
        assert not one.bus.sent
