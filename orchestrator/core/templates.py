"""JSON templates of definitions: literal JSON in which any object with an operator as its only key is a rule.

`{"literal": X}` is X untouched, for a literal object which would otherwise read as a rule.
"""

from typing import Any

from orchestrator.core.rules import Data, Rule, RuleFailed, is_rule

LITERAL = "literal"
DEPTH_MAX = 32


class Template:
    """A compiled template. `constant` templates need no data; `value` is then their result."""

    __slots__ = ("_tree", "constant", "reads", "reads_all", "rules", "value")

    def __init__(self, source: Any) -> None:
        self.rules: list[Rule] = []
        self._tree = self._compile(source, 0)
        self.constant = not self.rules
        self.value: Any = self._tree if self.constant else None
        self.reads = tuple(path for rule in self.rules for path in rule.reads)
        self.reads_all = all(rule.reads_all for rule in self.rules)

    def render(self, data: Data) -> Any:
        """The template's value; raises RuleFailed."""
        return self.value if self.constant else _render(self._tree, data)

    def _compile(self, source: Any, depth: int) -> Any:
        if depth > DEPTH_MAX:
            raise RuleFailed("too_deep", f"the value is nested deeper than {DEPTH_MAX} levels")
        if isinstance(source, dict):
            if len(source) == 1 and LITERAL in source:
                return source[LITERAL]
            if is_rule(source):
                rule = Rule(source)
                self.rules.append(rule)
                return rule
            before = len(self.rules)
            children = {key: self._compile(value, depth + 1) for key, value in source.items()}
            return children if len(self.rules) == before else _Node(children)
        if isinstance(source, list):
            before = len(self.rules)
            items = [self._compile(value, depth + 1) for value in source]
            return items if len(self.rules) == before else _Node(items)
        return source


class _Node:
    """A dict or list with rules somewhere below; plain dicts and lists are constants."""

    __slots__ = ("children",)

    def __init__(self, children: dict[str, Any] | list[Any]) -> None:
        self.children = children


def _render(tree: Any, data: Data) -> Any:
    kind = type(tree)
    if kind is Rule:
        return tree.value(data)
    if kind is _Node:
        children = tree.children
        if isinstance(children, dict):
            return {key: _render(value, data) for key, value in children.items()}
        return [_render(value, data) for value in children]
    return tree
