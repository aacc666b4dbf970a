"""Messages: templates as published documents, and what becomes of them with a customer's variables. Pure."""

from orchestrator.messages.check import check
from orchestrator.messages.compile import compile_document, prepared
from orchestrator.messages.errors import MissingVariable, MjmlInvalid, RenderFailed, TemplateSyntax
from orchestrator.messages.kind import TemplateKind
from orchestrator.messages.model import Compiled, EmailMessage, Message, PushMessage, SmsMessage
from orchestrator.messages.render import UNSUBSCRIBE_URL, render

TEMPLATE = TemplateKind()

__all__ = [
    "TEMPLATE",
    "UNSUBSCRIBE_URL",
    "Compiled",
    "EmailMessage",
    "Message",
    "MissingVariable",
    "MjmlInvalid",
    "PushMessage",
    "RenderFailed",
    "SmsMessage",
    "TemplateKind",
    "TemplateSyntax",
    "check",
    "compile_document",
    "prepared",
    "render",
]
