"""The Liquid of templates: a small, deterministic part of the language, under limits. The only user of its library.

The library takes a third of a second to import: `sources` imports this module when the first template is compiled.
"""

import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from functools import lru_cache
from typing import Any, ClassVar, Final, NoReturn

from liquid import Environment, Markup
from liquid.builtin.output import Output, OutputNode
from liquid.exceptions import LiquidError, ResourceLimitError, UndefinedError
from liquid.undefined import UNDEFINED, Undefined

from orchestrator.messages.errors import MissingVariable, RenderFailed, TemplateSyntax
from orchestrator.messages.liquid_comparisons import mend
from orchestrator.messages.liquid_filters import FILTERS, ITEMS_MAX, limited, own_filters

TAGS: Final = frozenset({
    "#", "assign", "break", "capture", "case", "comment", "continue", "cycle", "echo", "for", "if", "ifchanged", "liquid",
    "unless",
})  # fmt: skip
_INTERNAL_TAGS = frozenset({"content", "output", "illegal"})  # the library's names for what isn't in {% %}
OUTPUT_BYTES_MAX: Final = 262_144
LOCALS_BYTES_MAX: Final = 65_536
DEPTH_MAX: Final = 20
_HINT = re.compile(r"'?(.+?)'? is undefined")
_STATEMENT = re.compile(r"\{\{.*?\}\}|\{%.*?%\}", re.DOTALL)


class _Absent(Undefined):
    """A variable that isn't there: it may be asked about (`if`, `default`), never written out or worked with."""

    __slots__ = ("path",)
    force_liquid_default: ClassVar[bool] = True

    def __init__(
        self, name: str, *, token: Any = None, obj: object = UNDEFINED, hint: str | None = None
    ) -> None:
        super().__init__(name, token=token, obj=obj, hint=hint)
        found = _HINT.fullmatch(hint or "")
        self.path = found.group(1) if found else name

    def _refuse(self, *_args: object) -> NoReturn:
        raise UndefinedError(self.path, token=self.token)

    __contains__ = __getitem__ = __len__ = __iter__ = __str__ = __int__ = __reversed__ = poke = _refuse
    __hash__ = Undefined.__hash__

    def __bool__(self) -> bool:
        return False

    def __eq__(self, other: object) -> bool:
        return other is None or other is False or isinstance(other, Undefined)


class _StrictOutputNode(OutputNode):
    """Writes texts, numbers and lists of them; anything else is a mistake of the template."""

    __slots__ = ()

    def render_to_output(self, context: Any, buffer: Any) -> int:
        value = self.expression.evaluate(context)
        for item in value if isinstance(value, list) else (value,):
            if item is None:
                raise UndefinedError(str(self.expression), token=self.token)
            if not isinstance(item, str | int | float | Markup | Undefined) and not hasattr(item, "as_tuple"):
                raise LiquidError(f"{self.expression} is no text", token=self.token)
        text = value if isinstance(value, str) else _plain(value)
        return int(buffer.write(str(Markup.escape(text)) if context.autoescape else str(text)))


class _StrictOutput(Output):
    node_class = _StrictOutputNode


class _Limited(Environment):
    block_nesting_limit = DEPTH_MAX
    context_depth_limit = DEPTH_MAX
    loop_iteration_limit = ITEMS_MAX
    local_namespace_limit = LOCALS_BYTES_MAX
    output_stream_limit = OUTPUT_BYTES_MAX


class LiquidText:
    """One compiled source; see `model.Text`."""

    __slots__ = ("_template", "reads")

    def __init__(self, template: Any) -> None:
        mend(template)
        self._template = template
        found = template.analyze().globals.values()
        self.reads: tuple[str, ...] = tuple(sorted({str(variable) for uses in found for variable in uses}))

    def render(self, variables: Mapping[str, Any]) -> str:
        """Its text. Raises RenderFailed; variables that are null count as absent."""
        try:
            return str(self._template.render(_without_nulls(variables)))
        except UndefinedError as error:
            path = str(error.message)
            raise MissingVariable(path, f"no {path}{_place(error)}") from error
        except ResourceLimitError as error:
            raise RenderFailed("over_limit", f"{error.message}{_place(error)}") from error
        except LiquidError as error:
            reason = "not_text" if str(error.message).endswith(" is no text") else "template_failed"
            raise RenderFailed(reason, f"{_kind(error)}{_place(error)}") from error
        except (ArithmeticError, LookupError, RecursionError, TypeError, ValueError) as error:
            raise RenderFailed("template_failed", type(error).__name__) from error


@lru_cache(maxsize=512)
def parse(source: str, *, html: bool) -> LiquidText:
    """A source ready to render. Raises TemplateSyntax for what is no Liquid, unknown tags and filters."""
    for mistake in mistakes(source):
        raise mistake
    return LiquidText(_environment(html=html).from_string(source))


def mistakes(source: str) -> Iterator[TemplateSyntax]:
    """Everything about a source that keeps it from being parsed: unknown tags, else broken syntax, else filters."""
    environment = _environment(html=False)
    unknown = _unknown_tags(environment, source)
    for name, spans in unknown.items():
        for span in spans:
            yield _unknown("tag", name, sorted(TAGS), source, span.index)
    if unknown:
        return
    try:
        template = environment.from_string(source)
    except LiquidError as error:
        yield _syntax(source, error)
        return
    for name, spans in template.analyze().filters.items():
        if name not in FILTERS:
            for span in spans:
                yield _unknown("filter", name, sorted(FILTERS), source, span.index)


@lru_cache(maxsize=2)
def _environment(*, html: bool) -> Environment:
    environment = _Limited(undefined=_Absent, autoescape=html)
    environment.tags = {
        name: tag for name, tag in environment.tags.items() if name in TAGS or name in _INTERNAL_TAGS
    }
    environment.add_tag(_StrictOutput)
    library = {**environment.filters, **own_filters()}
    environment.filters = {name: limited(name, library[name]) for name in FILTERS}
    return environment


def _unknown_tags(environment: Environment, source: str) -> Mapping[str, Any]:
    try:
        return environment.analyze_tags_from_string(source).unknown_tags
    except (LiquidError, IndexError):  # unbalanced or broken: the parser knows the words for it
        return {}


def _without_nulls(value: Any, depth: int = 0) -> Any:
    """The same without null fields: an absent attribute reaches us as null."""
    if depth > DEPTH_MAX:
        raise RenderFailed("over_limit", f"the variables are nested deeper than {DEPTH_MAX} levels")
    if isinstance(value, Mapping):
        return {str(k): _without_nulls(v, depth + 1) for k, v in value.items() if v is not None}
    if isinstance(value, list | tuple):
        return [_without_nulls(item, depth + 1) for item in value]
    return value


def _plain(value: Any) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case list():
            return "".join(item if isinstance(item, str) else _plain(item) for item in value)
    return str(value)


def _unknown(what: str, name: str, known: list[str], source: str, index: int) -> TemplateSyntax:
    near = get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(known)}"
    return TemplateSyntax(f"unknown {what} {name}; {hint}", *_line_column(source, index))


def _syntax(source: str, error: LiquidError) -> TemplateSyntax:
    token = error.token
    index = token.start_index if token is not None and token.source == source else -1
    if index < 0:
        index = _first_broken(source)
    place = _line_column(source, index) if 0 <= index <= len(source) else ()
    return TemplateSyntax(str(error.message), *place)


def _first_broken(source: str) -> int:
    """Where the first `{{ }}` stands that fails by itself, for errors without a place; -1 if none does."""
    for found in _STATEMENT.finditer(source):
        if found.group().startswith("{{"):
            try:
                _environment(html=False).from_string(found.group())
            except LiquidError:
                return found.start()
    return -1


def _line_column(source: str, index: int) -> tuple[int, int]:
    before = source[:index]
    return before.count("\n") + 1, index - (before.rfind("\n") + 1) + 1


def _kind(error: LiquidError) -> str:
    """What failed, without a value: messages of the library may quote the data they failed on."""
    message = str(error.message)
    if message.endswith(" is no text"):
        return message
    head = message.partition(":")[0]
    return f"{type(error).__name__} in {head}" if head in FILTERS else type(error).__name__


def _place(error: LiquidError) -> str:
    token = error.token
    if token is None or token.start_index < 0:
        return ""
    line, column = _line_column(token.source, token.start_index)
    return f" (line {line}, column {column})"
