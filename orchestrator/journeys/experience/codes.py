"""Access codes: recognized by a keyed hash, so that no document, event or topic holds one in clear.

The hash keeps a code out of logs and screens. It doesn't make a short code strong: whoever reads the document can
try words against it, which is why guesses are throttled and codes should be long or limited in use.
"""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Any, Final

from orchestrator.journeys.experience.model import Code, Codes

CODE_CHARS_MAX: Final = 200
_SALT: Final = re.compile(r"([0-9a-f]{2}){16,64}")


def code_hash(text: str, salt: bytes, *, ignore_case: bool = True) -> str:
    """The hex form under which a code is stored: blake2b keyed with the document's salt, spaces around it ignored."""
    normal = unicodedata.normalize("NFKC", text).strip()
    if ignore_case:
        normal = normal.casefold()
    return blake2b(normal.encode(), key=salt, digest_size=32).hexdigest()


def find(codes: Codes, text: str) -> Code | None:
    """The code that was typed."""
    return codes.by_hash.get(code_hash(text, codes.salt, ignore_case=codes.ignore_case))


def prepare(document: Mapping[str, Any], salt: str) -> dict[str, Any]:
    """The document as it may be stored: each `code` in clear replaced by its `hash`.

    `salt` (hex, 16 random bytes) is used where the document brings none. Preparing twice changes nothing. What is out
    of shape stays as it is: the schema says so.
    """
    part = document.get("access_codes")
    if not isinstance(part, dict) or not isinstance(part.get("codes"), list):
        return dict(document)
    own = part.get("salt", salt)
    if not any(map(_in_clear, part["codes"])) or not isinstance(own, str) or not _SALT.fullmatch(own):
        return dict(document)
    key = bytes.fromhex(own)
    ignore_case = part.get("ignore_case", True) is True
    codes = [_hashed(code, key, ignore_case=ignore_case) for code in part["codes"]]
    return {**document, "access_codes": {**part, "salt": own, "codes": codes}}


def recent(guesses: Sequence[int], now_ms: int, within_ms: int) -> tuple[int, ...]:
    """The wrong guesses that still count."""
    return tuple(at_ms for at_ms in guesses if at_ms > now_ms - within_ms)


def retry_after_ms(guesses: Sequence[int], limit: int, within_ms: int, now_ms: int) -> int:
    """How long until one may guess again; 0: now."""
    counted = recent(guesses, now_ms, within_ms)
    return 0 if len(counted) < limit else counted[-limit] + within_ms - now_ms


def _in_clear(code: Any) -> bool:
    text = code.get("code") if isinstance(code, dict) else None
    return isinstance(text, str) and 0 < len(text.strip()) <= CODE_CHARS_MAX


def _hashed(code: Any, key: bytes, *, ignore_case: bool) -> Any:
    if not _in_clear(code):
        return code
    kept = {name: value for name, value in code.items() if name != "code"}
    return {**kept, "hash": code_hash(code["code"], key, ignore_case=ignore_case)}
