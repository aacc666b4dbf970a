"""Templates in a line, for tests."""

from typing import Any

from orchestrator.messages import EmailMessage, PushMessage, SmsMessage, compile_document, render


def sms(text: str, **variables: Any) -> str:
    """A text message's text; its ends are stripped."""
    message = render(compile_document({"channel": "sms", "sms": {"text": text}}), variables)
    assert isinstance(message, SmsMessage)
    return message.text


def email(variables: dict[str, Any] | None = None, **parts: Any) -> EmailMessage:
    """An email of these parts; a subject unless one is given."""
    document = {"channel": "email", "email": {"subject": "Hello", **parts}}
    message = render(compile_document(document), variables or {})
    assert isinstance(message, EmailMessage)
    return message


def html(source: str, **variables: Any) -> str:
    """The HTML part of an email."""
    found = email(variables, html=source).html
    assert found is not None
    return found


def push(variables: dict[str, Any] | None = None, **parts: Any) -> PushMessage:
    """A notification of these parts."""
    document = {"channel": "push", "push": {"title": "Hi", "body": "there", **parts}}
    message = render(compile_document(document), variables or {})
    assert isinstance(message, PushMessage)
    return message
