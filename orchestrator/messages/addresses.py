"""Senders and reply addresses as documents and settings write them: `news@example.com`, `Shop <news@example.com>`."""

import re
from typing import Final

_BARE: Final = r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9](?:[A-Za-z0-9.-]{0,188}[A-Za-z0-9])?"
_NAME: Final = r'(?:"[^"\\<>@]{0,100}"|[^"\\<>@,;:()\[\]]{0,100})'
_ADDRESS: Final = re.compile(rf"{_BARE}|{_NAME}\s*<{_BARE}>")


def is_address(text: str) -> bool:
    """Whether a text is one address, with or without a name; a name with a comma stands in quotes."""
    return text.isprintable() and bool(_ADDRESS.fullmatch(text)) and ".." not in text.rpartition("<")[2]
