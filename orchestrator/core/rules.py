"""JSONLogic rules of definitions: compiled once, deterministic, under budgets. The only user of the engine library.

Truthiness is JavaScript's with JSONLogic's exception for lists, and one of the engine's own: an empty object is
falsy, like an empty list. Ask for its keys, `{"!!": [{"keys": [...]}]}`, to say so openly.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from datalogic_py import DataHandle, DataLogicError, Engine
from datalogic_py import Rule as Compiled

from orchestrator.core.errors import OrchestratorError

OPS_BUDGET: Final = 10_000  # nodes dispatched, items walked, data moved; about 1 ms of work
NESTING_MAX: Final = 64
RULE_NODES_MAX: Final = 500
RULE_CHARS_MAX: Final = 16_384
RESULT_CHARS_MAX: Final = 16_384
ITERATORS_NESTED_MAX: Final = 3

_FAMILIES = ("ExtString", "ExtArray", "ExtObject", "ExtMath", "ExtControl", "DateTime")
_ENGINE = Engine(
    config={"ops_budget": OPS_BUDGET, "max_recursion_depth": NESTING_MAX, "truthy_evaluator": "javascript"},
    families=_FAMILIES,
)
OPERATORS: Final[frozenset[str]] = frozenset(
    name
    for operator in _ENGINE.operators()
    if operator["family"] == "Core" or operator["family"] in _FAMILIES
    for name in (operator["name"], *operator["aliases"])
)
# A result built by these can hold one big value many times over: its size is asked before it is converted.
_MULTIPLYING = frozenset(
    {"map", "reduce", "filter", "merge", "group_by", "entries", "sort", "distinct", "split"}
)
_ITERATORS = frozenset({"map", "reduce", "group_by"})
_REASONS = {
    "BudgetExceeded": "over_budget",
    "Thrown": "type_error",  # arithmetic on what is no number
    "TypeError": "type_error",
    "TypeMismatch": "type_error",
    "ArithmeticError": "type_error",
    "InvalidArguments": "bad_rule",
    "InvalidOperator": "unknown_operator",
    "ParseError": "bad_input",
    "ConfigurationError": "too_deep",
    "RecursionLimitExceeded": "too_deep",
}


class RuleFailed(OrchestratorError):
    """A rule that may not be used, or couldn't be evaluated.

    `reason` is one of: over_budget, type_error, unknown_operator, not_deterministic, too_large, too_deep,
    result_too_large, bad_input, bad_rule, failed. `pointer` is the place in the rule (JSON Pointer), if known.
    """

    def __init__(self, reason: str, message: str, pointer: str = "") -> None:
        super().__init__(message)
        self.reason = reason
        self.pointer = pointer


class Data:
    """The values one decision's rules read: converted once, read by each rule."""

    __slots__ = ("handle", "values")

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.values = values
        try:
            self.handle = DataHandle(values)
        except (DataLogicError, RecursionError, UnicodeEncodeError) as error:
            raise RuleFailed("bad_input", f"the values can't be read by rules: {error}") from error


class Rule:
    """A compiled rule. `reads` are the paths it reads; `reads_all` says that no other path can be read."""

    __slots__ = (
        "_condition",
        "_probe",
        "_value",
        "deterministic",
        "operators",
        "reads",
        "reads_all",
        "source",
    )

    def __init__(self, source: Any) -> None:
        _refuse(source)
        errors = [d for d in _ENGINE.check(_text_safe(source)) if d["severity"] == "error"]
        if errors:
            raise RuleFailed(_check_reason(errors[0]["code"]), errors[0]["message"], errors[0]["pointer"])
        self.source = source
        self._value = _compile(source)
        self._condition = _compile({"!!": [source]})
        facts = self._value.facts()
        self.operators = frozenset(facts["operators"])
        if not facts["deterministic"]:
            raise RuleFailed("not_deterministic", "the rule's result depends on more than its inputs (`now`)")
        self.reads: tuple[tuple[str, ...], ...] = tuple(tuple(path) for path in facts["reads"])
        self.reads_all: bool = facts["reads_complete"]
        multiplies = bool(self.operators & _MULTIPLYING) or _builds_lists(source)
        self._probe = _compile({"length": [{"cat": [source]}]}) if multiplies else None

    def holds(self, data: Data) -> bool:
        """Whether the rule's result is truthy. Raises RuleFailed."""
        try:
            return bool(self._condition.evaluate_data(data.handle))
        except DataLogicError as error:
            raise _failure(error) from error

    def value(self, data: Data) -> Any:
        """The rule's result as a JSON value of at most RESULT_CHARS_MAX characters. Raises RuleFailed."""
        try:
            if self._probe is not None and self._probe.evaluate_data(data.handle) > RESULT_CHARS_MAX:
                raise RuleFailed(
                    "result_too_large", f"the result is larger than {RESULT_CHARS_MAX} characters"
                )
            result = self._value.evaluate_data(data.handle)
        except DataLogicError as error:
            raise _failure(error) from error
        kind = type(result)
        if (kind is str and len(result) > RESULT_CHARS_MAX) or (
            (kind is dict or kind is list) and _size(result, RESULT_CHARS_MAX) < 0
        ):
            raise RuleFailed("result_too_large", f"the result is larger than {RESULT_CHARS_MAX} characters")
        return result


def is_rule(value: Any) -> bool:
    """Whether a value inside a template is a rule: an object whose only key is an operator's name."""
    return isinstance(value, dict) and len(value) == 1 and next(iter(value)) in OPERATORS


def counter_of(source: Any) -> tuple[tuple[str, ...], int] | None:
    """The path and step of `{"+": [{"var": path}, step]}`: a rule so common that callers may add by themselves."""
    match source:
        case {"+": [{"var": str(path)}, int(step)]} if (
            len(source) == 1 and path and not isinstance(step, bool)
        ):
            return tuple(path.split(".")), step
    return None


def check_rule(source: Any) -> list[RuleFailed]:
    """Everything that keeps `source` from being used as a rule; empty when it compiles."""
    try:
        _refuse(source)
    except RuleFailed as failure:
        return [failure]
    found = [
        RuleFailed(_check_reason(d["code"]), d["message"], d["pointer"])
        for d in _ENGINE.check(_text_safe(source))
        if d["severity"] == "error"
    ]
    if not found:
        try:
            Rule(source)
        except RuleFailed as failure:
            found.append(failure)
    return found


def truthy(value: Any) -> bool:
    """The engine's truthiness of a JSON value."""
    return bool(value) if isinstance(value, str) else _ENGINE.truthy(value)


def _check_reason(code: str) -> str:
    return "unknown_operator" if code == "UnknownOperator" else "bad_rule"


def _compile(source: Any) -> Compiled:
    try:
        return _ENGINE.compile_strict(_text_safe(source))
    except DataLogicError as error:
        raise _failure(error) from error


def _text_safe(source: Any) -> Any:
    # The engine takes a Python str for JSON text; a literal string has to be spelled as a rule.
    return {"cat": [source]} if isinstance(source, str) else source


def _failure(error: DataLogicError) -> RuleFailed:
    return RuleFailed(_REASONS.get(error.error_type, "failed"), str(error)[:300])


def _refuse(source: Any) -> None:
    _measure(source)
    _bound_growth(source, iterators=0, in_reduce=False)


def _measure(source: Any) -> None:
    nodes = chars = 0
    todo: list[tuple[Any, int]] = [(source, 0)]
    while todo:
        value, depth = todo.pop()
        if depth > NESTING_MAX:
            raise RuleFailed("too_deep", f"the rule is nested deeper than {NESTING_MAX} levels")
        nodes += 1
        children: Iterable[Any] = ()
        if isinstance(value, dict):
            chars += sum(map(len, value))
            children = value.values()
        elif isinstance(value, list):
            children = value
        elif isinstance(value, str):
            chars += len(value)
        if nodes > RULE_NODES_MAX or chars > RULE_CHARS_MAX:
            raise RuleFailed(
                "too_large", f"a rule holds at most {RULE_NODES_MAX} nodes, {RULE_CHARS_MAX} characters"
            )
        todo.extend((child, depth + 1) for child in children)


def _bound_growth(source: Any, *, iterators: int, in_reduce: bool) -> None:
    """Refuses what can double a value at each step: the engine's budget counts steps, not copies of references."""
    if isinstance(source, list):  # only lists that stand for a value come here, not argument lists
        if in_reduce and _reads_accumulator(source):
            raise RuleFailed(
                "too_large", "a reduce may not put its accumulator into a list; join lists with merge"
            )
        for item in source:
            _bound_growth(item, iterators=iterators, in_reduce=in_reduce)
    elif isinstance(source, dict):
        for operator, arguments in source.items():
            below = iterators + (operator in _ITERATORS)
            if below > ITERATORS_NESTED_MAX or (in_reduce and operator in _ITERATORS):
                raise RuleFailed(
                    "too_large",
                    f"{operator} is nested too deeply: at most {ITERATORS_NESTED_MAX} of map, reduce and group_by "
                    "inside each other, none inside a reduce",
                )
            for index, argument in enumerate(arguments if isinstance(arguments, list) else (arguments,)):
                body = operator == "reduce" and index == 1
                _bound_growth(argument, iterators=below, in_reduce=in_reduce or body)


def _reads_accumulator(source: Any) -> bool:
    if isinstance(source, list):
        return any(map(_reads_accumulator, source))
    if not isinstance(source, dict):
        return False
    for operator, arguments in source.items():
        if operator in {"var", "val"}:
            path = arguments[0] if isinstance(arguments, list) and arguments else arguments
            if not isinstance(path, str) or not path or path.split(".")[0] == "accumulator":
                return True  # computed paths, the whole scope and outer scopes count as well
        elif _reads_accumulator(arguments):
            return True
    return False


def _builds_lists(source: Any) -> bool:
    if isinstance(source, list):
        return True
    if not isinstance(source, dict):
        return False
    return any(
        any(map(_builds_lists, arguments if isinstance(arguments, list) else (arguments,)))
        for arguments in source.values()
    )


def _size(value: Any, left: int) -> int:
    """What is left of `left` characters after `value`; negative when it doesn't fit."""
    if isinstance(value, str):
        return left - len(value) - 2
    if isinstance(value, dict):
        for key, child in value.items():
            left = _size(child, left - len(key) - 4)
            if left < 0:
                return left
        return left
    if isinstance(value, list):
        for child in value:
            left = _size(child, left - 1)
            if left < 0:
                return left
        return left
    return left - 8
