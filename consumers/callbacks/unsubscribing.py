"""One-click unsubscribing (RFC 8058) and its page: looking changes nothing, posting ends the messages. Pure."""

from html import escape
from typing import Final

from consumers.actions.links import Subscription
from consumers.actions.outgoing import Outgoing, command_id, record_stream
from consumers.actions.references import Reference
from consumers.callbacks.commanding import SOURCE, commands
from consumers.callbacks.reports import Report, What
from orchestrator.core.addresses import CUSTOMER

ONE_ACT_MS: Final = 10_000  # within it, two posts of one link are one: a mail program that tried twice
BY: Final = "unsubscribe link"
_CHANNELS: Final = {"email": "e-mails", "sms": "text messages", "push": "notifications"}
_PAGE: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<title>{title}</title>
</head>
<body>
<main>
<h1>{title}</h1>
{body}
</main>
</body>
</html>
"""
_ASK: Final = """<p>You will get no more {what} from us.</p>
<form method="post">
<input type="hidden" name="List-Unsubscribe" value="One-Click">
<button type="submit">Unsubscribe</button>
</form>"""


def unsubscribed(about: Reference | Subscription, record: str, now_ms: int) -> tuple[Outgoing, ...]:
    """The commands that end the messages. A link works again after the customer has come back."""
    act = str(now_ms // ONE_ACT_MS)
    if isinstance(about, Reference):
        return commands(
            Report(what=What.UNSUBSCRIBED, reference=about, time_ms=now_ms, id=act, by=BY), record
        )
    if not record or about.owner.scope != CUSTOMER:
        return ()
    stream = record_stream(about.owner, record)
    key = command_id("consent", about.channel, about.template, act)
    data = {"channel": about.channel, "source": BY, "granted": False}
    return (Outgoing(stream=stream, type="consent", source=SOURCE, id=key, data=data, time_ms=now_ms),)


def question(about: Reference | Subscription) -> str:
    """The page of a link that was opened: one button, and nothing of whom it is about."""
    return _PAGE.format(title="Unsubscribe?", body=_ASK.format(what=_what(about)))


def done(about: Reference | Subscription) -> str:
    """The page after the button."""
    body = f'<p role="status">You will get no more {_what(about)} from us.</p>'
    return _PAGE.format(title="You are unsubscribed", body=body)


def unknown() -> str:
    """The page of a link that isn't ours, or whose key is gone."""
    body = "<p>This link is not complete. Please open it again from the message, whole.</p>"
    return _PAGE.format(title="Unknown link", body=body)


def later() -> str:
    """The page while nothing can be taken."""
    body = '<p role="alert">This did not work. Please try again in a minute.</p>'
    return _PAGE.format(title="Not yet unsubscribed", body=body)


def _what(about: Reference | Subscription) -> str:
    return escape(_CHANNELS.get(about.channel, f"messages by {about.channel}"))
