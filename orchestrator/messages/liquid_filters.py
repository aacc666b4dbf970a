"""The filters templates may use, each under a budget of work; and the two written here: `date`, `number`.

Left out on purpose: `safe` (would put unescaped text into HTML) and everything that reads clocks or files.
"""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from liquid.exceptions import FilterArgumentError, ResourceLimitError, UndefinedError
from liquid.undefined import Undefined

FILTERS: Final = frozenset({
    # texts
    "append", "capitalize", "default", "downcase", "escape", "escape_once", "lstrip", "newline_to_br", "prepend",
    "remove", "remove_first", "remove_last", "replace", "replace_first", "replace_last", "rstrip", "size", "slice",
    "split", "squish", "strip", "strip_html", "strip_newlines", "truncate", "truncatewords", "upcase", "url_decode",
    "url_encode",
    # lists
    "compact", "concat", "find", "first", "join", "last", "map", "reject", "reverse", "sort", "sort_natural", "sum",
    "uniq", "where",
    # numbers and dates
    "abs", "at_least", "at_most", "ceil", "date", "divided_by", "floor", "minus", "modulo", "number", "plus", "round",
    "times",
})  # fmt: skip
ITEMS_MAX: Final = 1_000  # of a list or range that a filter touches
WORK_MAX: Final = 1_000_000  # characters and items that all filters of one part may touch
NUMBER_BITS_MAX: Final = 256
_DATE_FORMAT = re.compile(r"(?:[^%]|%-?[aAbBdeHIjmMpSyYzZ%])*")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_WORK = "journeys.work"


def limited(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """A filter that refuses missing values (`default` aside) and counts its work against WORK_MAX."""

    def apply(value: Any, *args: Any, context: Any, **named: Any) -> Any:
        for given in (value, *args, *named.values()):
            if name != "default":
                _present(name, given)
            _spend(context, _size(given))
        if name == "join":
            _spend(context, _joined(value, args))
        elif name.startswith("replace"):
            _spend(context, _replaced(value, args))
        if getattr(function, "with_environment", False):
            named["environment"] = context.env
        result = function(value, *args, **named)
        _spend(context, _size(result))
        return result

    apply.with_context = True  # type: ignore[attr-defined]  # the library hands the context to such filters
    return apply


def own_filters() -> Mapping[str, Callable[..., Any]]:
    """The filters that aren't the library's."""
    return {"date": _date, "number": _number}


def _present(name: str, value: Any) -> None:
    if isinstance(value, Undefined):
        str(value)  # raises, naming the variable
    if value is None or (name == "join" and isinstance(value, list) and None in value):
        raise UndefinedError(f"input of the filter {name}", token=None)


def _spend(context: Any, amount: int) -> None:
    spent = context.tag_namespace.get(_WORK, 0) + amount
    context.tag_namespace[_WORK] = spent
    if spent > WORK_MAX:
        raise ResourceLimitError("the filters have more to do than is allowed", token=None)


def _size(value: Any) -> int:
    match value:
        case str():
            return len(value)
        case list() | tuple() | range():
            if len(value) > ITEMS_MAX:
                raise ResourceLimitError(f"a list has more than {ITEMS_MAX} items", token=None)
            return len(value)
        case bool() | None:
            return 1
        case int() if value.bit_length() > NUMBER_BITS_MAX:
            raise ResourceLimitError("a number is too large", token=None)
    return 1


def _joined(value: Any, args: tuple[Any, ...]) -> int:
    """The length a join comes to, before it is made."""
    if not isinstance(value, list | tuple):
        return 0
    separator = len(str(args[0])) if args else 1
    return sum(len(item) if isinstance(item, str) else 20 for item in value) + separator * len(value)


def _replaced(value: Any, args: tuple[Any, ...]) -> int:
    """The length a replacement comes to at most, before it is made."""
    if len(args) < 2:
        return 0
    text, old = str(value), str(args[0])
    times = text.count(old) if old else len(text) + 1
    return times * len(str(args[1]))


def _date(value: Any, layout: Any, zone: Any = None) -> str:
    """A time as `layout` (strftime) shows it. `value`: ISO 8601 text, or ms since 1970; `zone`: an IANA name.

    Never the current time: a message rendered twice is the same message.
    """
    if not isinstance(layout, str) or not _DATE_FORMAT.fullmatch(layout):
        raise FilterArgumentError("date: use the directives a A b B d e H I j m M p S y Y z Z", token=None)
    try:
        time = _time(value)
        if zone is not None:
            aware = time if time.tzinfo is not None else time.replace(tzinfo=UTC)
            time = aware.astimezone(ZoneInfo(str(zone)))
        return time.strftime(layout)
    except (ZoneInfoNotFoundError, ValueError, OverflowError, OSError) as error:
        message = "date: neither an ISO 8601 time nor milliseconds since 1970, or no such zone"
        raise FilterArgumentError(message, token=None) from error


def _time(value: Any) -> datetime:
    match value:
        case bool():
            raise ValueError
        case int() | float() | Decimal():
            return _EPOCH + timedelta(milliseconds=float(value))
        case str():
            return datetime.fromisoformat(value)
    raise ValueError


def _number(value: Any, places: Any = None, group: Any = ",", point: Any = ".") -> str:
    """A number with grouped thousands: `1234.5 | number: 2` is 1,234.50; `number: 2, ".", ","` is 1.234,50."""
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise FilterArgumentError("number: the value is no number", token=None)
    if places is not None and (not isinstance(places, int) or not 0 <= places <= 10):
        raise FilterArgumentError("number: the places are a whole number from 0 to 10", token=None)
    shown = f"{value:,}" if places is None else f"{value:,.{places}f}"
    whole, _, rest = shown.partition(".")
    return whole.replace(",", str(group)) + (f"{point}{rest}" if rest else "")
