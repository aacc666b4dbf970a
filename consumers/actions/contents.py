"""The message an action sends: a published template's, or the action's own words; rendered, whole or not at all."""

from collections.abc import Mapping
from typing import Any

from consumers.actions.base import ActionParams, Failed
from consumers.actions.delivery import Delivery
from consumers.actions.refusals import Refused, refuse
from consumers.actions.templates import UnknownTemplate
from orchestrator.messages import (
    Compiled,
    Message,
    MjmlInvalid,
    RenderFailed,
    TemplateSyntax,
    compile_document,
    render,
)

_NEEDED: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "email": (("subject",), ("html", "text")),
    "sms": (("text",),),
    "push": (("title",), ("body",)),
}


class MessageParams(ActionParams, frozen=True, kw_only=True):
    """What all message actions take. `version`: of the template; without it, the newest one published.

    Texts of the action itself are Liquid too and read the same `variables`; what stands in a variable is data and is
    never read as Liquid.
    """

    template: str = ""
    version: int | None = None
    variables: dict[str, Any] = {}


async def rendered(
    channel: str,
    params: MessageParams,
    own: Mapping[str, Any],
    delivery: Delivery,
    extra: Mapping[str, Any] | None = None,
) -> tuple[Message, dict[str, Any]]:
    """The message, and what a result says about its template. `own` holds the action's texts, by part; they win.

    Raises Refused: unknown_template, wrong_channel, template_invalid, no_content, or a reason of RenderFailed.
    """
    variables = {**params.variables, **(extra or {})}
    try:
        version, compiled = await _compiled(channel, params, own, delivery)
        message = render(compiled, variables)
    except RenderFailed as failed:
        raise refuse(failed.reason, str(failed)) from failed
    except (TemplateSyntax, MjmlInvalid) as mistake:
        raise refuse("template_invalid", _place(mistake)) from mistake
    return message, {"template": params.template, "version": version} if version else {}


def _place(mistake: TemplateSyntax | MjmlInvalid) -> str:
    """Where the mistake is; not what stands there, which a definition may have put together from a customer's values."""
    if isinstance(mistake, TemplateSyntax) and mistake.line is not None:
        return f"line {mistake.line}, column {mistake.column}"
    return type(mistake).__name__


async def _compiled(
    channel: str, params: MessageParams, own: Mapping[str, Any], delivery: Delivery
) -> tuple[int, Compiled]:
    if not params.template:
        if not all(set(names) & set(own) for names in _NEEDED[channel]):
            needed = " and ".join(" or ".join(names) for names in _NEEDED[channel])
            raise refuse("no_content", f"without a template the action itself must give {needed}")
        return 0, compile_document({"channel": channel, channel: own})
    try:
        version, compiled = await delivery.templates.get(params.template, params.version)
    except UnknownTemplate as unknown:
        asked = "" if params.version is None else f" in version {params.version}"
        raise refuse(
            "unknown_template", f"no template {params.template[:64]!r} is published{asked}"
        ) from unknown
    except (TemplateSyntax, MjmlInvalid):
        raise
    except Exception as error:  # whatever a store raises while it is away: nothing was sent yet
        failed = Failed("templates_unavailable", type(error).__name__, retryable=True)
        raise Refused(failed) from error
    if compiled.channel != channel:
        raise refuse("wrong_channel", f"the template is for {compiled.channel}")
    if own:
        changed = compile_document({"channel": channel, channel: own})
        compiled = Compiled(
            id=compiled.id,
            channel=channel,
            parts={**compiled.parts, **changed.parts},
            sender=changed.sender or compiled.sender,
            reply_to=changed.reply_to or compiled.reply_to,
            list_unsubscribe=changed.list_unsubscribe or compiled.list_unsubscribe,
        )
    return version, compiled
