"""A customer's record that wasn't brought into memory: who looks at it stops, and decides again once it was.

Most decisions don't look: which ones do is in the documents' rules, and is learned from the first that does.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NoReturn


class RecordNeeded(BaseException):
    """A decision looked at a record that isn't there. No Exception: no decider may take it for a failure of its own."""


class Unread(Mapping[str, Any]):
    """Stands for the record; any look at it raises RecordNeeded."""

    def __getitem__(self, name: str) -> NoReturn:
        raise RecordNeeded

    def __iter__(self) -> Iterator[str]:
        raise RecordNeeded

    def __len__(self) -> NoReturn:
        raise RecordNeeded

    def __contains__(self, name: object) -> NoReturn:
        raise RecordNeeded


UNREAD = Unread()
