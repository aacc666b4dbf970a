"""Whether a value may be an attribute's. What is refused is named, its value never: it may be personal."""

import re
from functools import lru_cache
from typing import Any, Final
from zoneinfo import ZoneInfo

from msgspec.json import encode

from orchestrator.core.errors import Rejected
from orchestrator.customers.record.compile import JSON_BYTES
from orchestrator.customers.record.model import Attribute, Compiled
from orchestrator.customers.record.schema import NAME

KEPT_MAX: Final = 100  # undeclared attributes of one record, deleted ones included
RECORD_BYTES_MAX: Final = 65_536  # JSON of all attributes of one record
_CHECKS: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
}


def check_value(compiled: Compiled, name: str, value: Any) -> None:
    """Raises Rejected for a value that the document's attribute can't have."""
    attribute = compiled.attributes.get(name)
    if attribute is None:
        if len(encode(value)) > JSON_BYTES:
            raise Rejected("customer.invalid_attribute", expected=f"JSON of at most {JSON_BYTES} bytes")
        return
    expected = _misfit(attribute, value)
    if not expected and name in compiled.addresses.values() and not (value.isprintable() and value.strip()):
        expected = "an address without line ends or control characters"
    if expected:
        raise Rejected("customer.invalid_attribute", attribute=name, expected=expected)
    if name == compiled.zone and not is_zone(value):
        raise Rejected("customer.unknown_zone", attribute=name)


def check_unknown(compiled: Compiled, name: str) -> None:
    """Raises Rejected for an undeclared attribute that isn't kept; names that may be personal aren't repeated."""
    fits = re.fullmatch(NAME, name) is not None
    if not compiled.keeps_unknown:
        said = name if fits else "(not a name)"
        raise Rejected("customer.unknown_attribute", attribute=said, attributes=sorted(compiled.attributes))
    if not fits:
        raise Rejected(
            "customer.invalid_name", expected="a letter or _, then up to 63 letters, digits, - or _"
        )


def _misfit(attribute: Attribute, value: Any) -> str:
    """What was expected, if the value is something else."""
    fits = isinstance(value, _CHECKS[attribute.type])
    if not fits or (isinstance(value, bool) and attribute.type != "boolean"):
        return f"a value of type {attribute.type}"
    if attribute.type == "string" and len(value) > attribute.max_length:
        return f"a text of at most {attribute.max_length} characters"
    if attribute.type in {"array", "object"} and len(encode(value)) > attribute.max_length:
        return f"JSON of at most {attribute.max_length} bytes"
    return ""


@lru_cache(maxsize=1_024)
def is_zone(name: str) -> bool:
    """Whether the time zone database knows it."""
    try:
        ZoneInfo(name)
    except (
        KeyError,
        ValueError,
        OSError,
    ):  # OSError: a folder of the database, or a name too long for a file
        return False
    return True
