"""How large a value from outside may be to stay in a journey's state."""

from typing import Any, Final

EVENT_CHARS_MAX: Final = 16_384
CONTEXT_CHARS_MAX: Final = 16_384
NESTING_MAX: Final = 16


def fits(value: Any, chars_max: int) -> bool:
    """Whether a JSON value has at most so many characters and NESTING_MAX levels."""
    chars = 0
    todo: list[tuple[Any, int]] = [(value, 0)]
    while todo:
        current, depth = todo.pop()
        if isinstance(current, dict):
            chars += sum(map(len, current))
            todo.extend((child, depth + 1) for child in current.values())
        elif isinstance(current, list):
            todo.extend((child, depth + 1) for child in current)
        chars += len(current) if isinstance(current, str) else 8
        if chars > chars_max or depth > NESTING_MAX:
            return False
    return True
