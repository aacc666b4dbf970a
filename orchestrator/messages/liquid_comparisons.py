"""`x == blank` and `x == empty` for a variable that isn't there: true, as template authors mean it.

The library compares an absent variable with nothing but nil, so that the common `{% if customer.name != blank %}`
would go the wrong way.
"""

from collections.abc import Iterable
from typing import Any

from liquid.builtin.expressions.logical import EqExpression, NeExpression
from liquid.builtin.expressions.primitive import Blank, Empty
from liquid.expression import Expression
from liquid.undefined import Undefined


class _OrNothing(Expression):
    """An expression that is "" when it is absent or nil."""

    __slots__ = ("inner",)

    def __init__(self, inner: Expression) -> None:
        super().__init__(inner.token)
        self.inner = inner

    def __str__(self) -> str:
        return str(self.inner)

    def evaluate(self, context: Any) -> object:
        value = self.inner.evaluate(context)
        return "" if value is None or isinstance(value, Undefined) else value

    def children(self) -> Iterable[Expression]:
        return (self.inner,)


def mend(template: Any) -> None:
    """Changes the comparisons with `blank` and `empty` anywhere in a parsed template."""
    nodes = list(template.nodes)
    while nodes:
        node = nodes.pop()
        nodes.extend(node.children(None))
        expressions = list(node.expressions())
        while expressions:
            expression = expressions.pop()
            if isinstance(expression, EqExpression | NeExpression):
                if isinstance(expression.right, Blank | Empty):
                    expression.left = _OrNothing(expression.left)
                elif isinstance(expression.left, Blank | Empty):
                    expression.right = _OrNothing(expression.right)
            expressions.extend(expression.children())
