"""From a compiled template and variables to one whole message, or a failure with a name."""

from collections.abc import Mapping
from typing import Any, Final

from msgspec.json import encode

from orchestrator.messages.errors import MissingVariable, RenderFailed
from orchestrator.messages.model import Compiled, EmailMessage, Message, PushMessage, SmsMessage

SMS_CHARS_MAX: Final = 1_600
SUBJECT_CHARS_MAX: Final = 500
PUSH_BYTES_MAX: Final = 3_500  # of 4 KiB, which both push services set; the rest is their envelope
UNSUBSCRIBE_URL: Final = "unsubscribe_url"  # a variable that the sender of an email sets


def render(compiled: Compiled, variables: Mapping[str, Any]) -> Message:
    """The message for these variables. Raises MissingVariable or another RenderFailed; never half a message."""
    texts = {name: _text(compiled, name, variables) for name in compiled.parts}
    match compiled.channel:
        case "email":
            return EmailMessage(
                subject=_line("subject", texts["subject"]),
                html=texts.get("html"),
                text=texts.get("text"),
                sender=compiled.sender,
                reply_to=compiled.reply_to,
                list_unsubscribe=compiled.list_unsubscribe,
            )
        case "sms":
            return SmsMessage(_bounded("text", _filled("text", texts["text"]), SMS_CHARS_MAX))
    data = {name.removeprefix("data/"): text for name, text in texts.items() if name.startswith("data/")}
    push = PushMessage(_filled("title", texts["title"]), _filled("body", texts["body"]), data)
    if len(encode(push)) > PUSH_BYTES_MAX:
        raise RenderFailed("over_limit", f"title, body and data are longer than {PUSH_BYTES_MAX} bytes")
    return push


def _text(compiled: Compiled, name: str, variables: Mapping[str, Any]) -> str:
    try:
        return compiled.parts[name].render(variables)
    except MissingVariable as missing:
        raise MissingVariable(missing.path, f"{name}: {missing}") from missing
    except RenderFailed as failed:
        raise RenderFailed(failed.reason, f"{name}: {failed}") from failed


def _line(name: str, text: str) -> str:
    """A header's text. A line break in it would begin a header of somebody else's choice."""
    line = _bounded(name, _filled(name, text), SUBJECT_CHARS_MAX)
    if not line.isprintable():
        raise RenderFailed("line_break", f"{name}: holds a line break or another control character")
    return line


def _filled(name: str, text: str) -> str:
    stripped = text.strip(" \t\r\n")
    if not stripped:
        raise RenderFailed("empty_text", f"{name}: nothing is left of it")
    return stripped


def _bounded(name: str, text: str, chars_max: int) -> str:
    if len(text) > chars_max:
        raise RenderFailed("over_limit", f"{name}: longer than {chars_max} characters")
    return text
