"""Encryption keys of subjects, cached; a new subject's key is drawn here and made durable before its first use."""

import os
from collections import OrderedDict

from orchestrator.engine.store import LaneStore

_KEY_BYTES = 32
_CACHE_SUBJECTS = 20_000


class KeyRing:
    """Not thread-safe: used by one lane between its transactions."""

    def __init__(self, store: LaneStore) -> None:
        self._store = store
        self._known: OrderedDict[str, bytes] = OrderedDict()
        self._drawn: dict[str, bytes] = {}

    @property
    def drawn(self) -> bool:
        """Whether there are keys to be made durable."""
        return bool(self._drawn)

    def key_for_writing(self, subject: str) -> bytes:
        """The subject's key; a fresh one when none is known yet (see `make_durable`)."""
        key = self._known.get(subject) or self._drawn.get(subject)
        if key is None:
            key = self._drawn[subject] = os.urandom(_KEY_BYTES)
        return key

    def make_durable(self) -> bool:
        """Store drawn keys; False when another owner had made one already and the batch must be decided again."""
        if not self._drawn:
            return True
        drawn, self._drawn = self._drawn, {}
        stored = self._store.subject_keys(list(drawn), create=drawn)
        self._remember(stored)
        return stored == drawn

    def fetch(self, subjects: set[str]) -> dict[str, bytes]:
        """The keys of these subjects, where they exist; the answer stays whole whatever happens to the cache."""
        found: dict[str, bytes] = {}
        for subject in subjects:
            key = self._known.get(subject) or self._drawn.get(subject)
            if key is not None:
                found[subject] = key
        missing = [s for s in subjects if s not in found]
        if missing:
            stored = self._store.subject_keys(missing)
            self._remember(stored)
            found |= stored
        return found

    def forget(self, beginning: str) -> None:
        """Drop cached keys of subjects whose names begin so: some of them are erased."""
        for subject in [s for s in self._known if s.startswith(beginning)]:
            del self._known[subject]

    def clear(self) -> None:
        self._known.clear()
        self._drawn.clear()

    def _remember(self, keys: dict[str, bytes]) -> None:
        self._known.update(keys)
        while len(self._known) > _CACHE_SUBJECTS:
            self._known.popitem(last=False)
