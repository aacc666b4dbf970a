"""Parameters of actions: templates in which `{{customer.first_name}}` inside a text stands for the run's value.

Only names of the run's own scope are filled in here; other double braces are left to the provider's templates. A
value that isn't there fails the action, so that nothing is sent in halves.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final

from orchestrator.core.rules import Data, RuleFailed, is_rule
from orchestrator.core.templates import LITERAL, Template
from orchestrator.journeys.paths import read

_PLACEHOLDER: Final = re.compile(r"\{\{-?\s*([A-Za-z_][A-Za-z0-9_-]*(?:\.[A-Za-z0-9_-]+)*)\s*-?\}\}")
_MARKUP: Final = ("{{", "{%")


class Unfilled(RuleFailed):
    """A placeholder without a usable value: `missing_variable` or `unsafe_value`; the message is its path."""


class Param:
    """One parameter. `reads` are the paths it reads; `reads_all` says that no other path can be read.

    `liquid`: its performer reads texts as templates, so that values which look like one are refused.
    """

    __slots__ = ("constant", "liquid", "placeholders", "reads", "reads_all", "template")

    def __init__(self, source: Any, names: Collection[str], *, liquid: bool = True) -> None:
        self.liquid = liquid
        self.placeholders: list[tuple[str, ...]] = []
        self.template = Template(self._filled(source, names))
        self.constant = self.template.constant
        self.reads = self.template.reads
        self.reads_all = self.template.reads_all

    def render(self, data: Data) -> Any:
        """The parameter's value. Raises RuleFailed, of which Unfilled is one."""
        for path in self.placeholders:
            value = read(data.values, path)
            if value is None:
                raise Unfilled("missing_variable", ".".join(path))
            if self.liquid and isinstance(value, str) and any(mark in value for mark in _MARKUP):
                raise Unfilled("unsafe_value", ".".join(path))
        return self.template.render(data)

    def _filled(self, source: Any, names: Collection[str]) -> Any:
        if isinstance(source, str):
            return self._text(source, names)
        if isinstance(source, dict):
            if is_rule(source) or (len(source) == 1 and LITERAL in source):
                return source
            return {key: self._filled(value, names) for key, value in source.items()}
        if isinstance(source, list):
            return [self._filled(value, names) for value in source]
        return source

    def _text(self, text: str, names: Collection[str]) -> Any:
        parts: list[Any] = []
        end = 0
        for match in _PLACEHOLDER.finditer(text):
            path = match[1]
            if path.split(".")[0] not in names:
                continue
            if match.start() > end:
                parts.append(text[end : match.start()])
            parts.append({"var": path})
            self.placeholders.append(tuple(path.split(".")))
            end = match.end()
        if not parts:
            return text
        if end < len(text):
            parts.append(text[end:])
        return parts[0] if len(parts) == 1 else {"cat": parts}


def placeholders_in(source: Any, pointer: str) -> Iterator[tuple[str, str]]:
    """Every path in double braces inside a parameter, with its place."""
    if isinstance(source, str):
        yield from ((pointer, match[1]) for match in _PLACEHOLDER.finditer(source))
    elif isinstance(source, Mapping) and not is_rule(source) and LITERAL not in source:
        for key, value in source.items():
            yield from placeholders_in(value, f"{pointer}/{key.replace('~', '~0').replace('/', '~1')}")
    elif isinstance(source, list):
        for n, value in enumerate(source):
            yield from placeholders_in(value, f"{pointer}/{n}")
