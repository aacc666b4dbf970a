"""The keys a stream has decided: 12 bytes each (8-byte keyed hash, 4-byte version), scanned behind small filters.

Entries stand in one stretch of bytes; every so many of them share a filter, so that neither a new key nor a look-up
ever has to go through all keys of a stream with millions.
"""

ENTRY_BYTES = 12
_HASH_BYTES = 8
_VERSION_BYTES = 4
_PLAIN_ENTRIES = 64  # below this a bare scan beats the filter
_BITS_PER_KEY = 16
_SEGMENT_ENTRIES = 32_768
_SEGMENT_BYTES = _SEGMENT_ENTRIES * ENTRY_BYTES


class KeyLog:
    """Append-only map from key hash to the version of the first event that key left. Entries are in version order."""

    __slots__ = ("_filters", "packed")

    def __init__(self, packed: bytes | bytearray = b"") -> None:
        self.packed = bytearray(packed)
        self._filters: list[_Filter] = []  # one a segment; none while a bare scan is quicker
        if len(self) >= _PLAIN_ENTRIES:
            for start in range(0, len(self.packed), _SEGMENT_BYTES):
                self._filters.append(_Filter(self.packed[start : start + _SEGMENT_BYTES]))

    def __len__(self) -> int:
        return len(self.packed) // ENTRY_BYTES

    def cut(self, version: int) -> None:
        """Forget the keys of later versions; filters may keep their bits: they only ever say perhaps."""
        packed = self.packed
        while packed and int.from_bytes(packed[-_VERSION_BYTES:], "big") > version:
            del packed[-ENTRY_BYTES:]

    def cut_to(self, size_bytes: int) -> None:
        """Forget the newest keys, down to so many bytes."""
        del self.packed[size_bytes:]

    def find(self, key_hash: bytes) -> int | None:
        """The version of the first event of that key, or None when the key is new."""
        if not self._filters:
            return self._scan(key_hash, 0, len(self.packed))
        for segment, one in enumerate(self._filters):
            if one.may_contain(key_hash):
                start = segment * _SEGMENT_BYTES
                found = self._scan(key_hash, start, start + _SEGMENT_BYTES)
                if found is not None:
                    return found
        return None

    def add(self, key_hash: bytes, version: int) -> None:
        entries = len(self)
        self.packed += key_hash + version.to_bytes(_VERSION_BYTES, "big")
        if entries + 1 < _PLAIN_ENTRIES and not self._filters:
            return
        segment = entries // _SEGMENT_ENTRIES
        if segment < len(self._filters) and self._filters[segment].add(key_hash):
            return
        start = segment * _SEGMENT_BYTES
        fresh = _Filter(self.packed[start : start + _SEGMENT_BYTES])
        # What stands after it is of a longer log that was cut: of keys that are no more.
        self._filters[segment:] = [fresh]

    def _scan(self, key_hash: bytes, start: int, end: int) -> int | None:
        packed = self.packed
        at = packed.find(key_hash, start, end)
        while at >= 0:
            if at % ENTRY_BYTES == 0:
                return int.from_bytes(packed[at + _HASH_BYTES : at + ENTRY_BYTES], "big")
            at = packed.find(key_hash, at + 1, end)
        return None


class _Filter:
    """Says no, or perhaps. Sized for twice the keys it begins with."""

    __slots__ = ("_bits", "_mask", "_room")

    def __init__(self, packed: bytes | bytearray) -> None:
        keys = len(packed) // ENTRY_BYTES
        size = 1 << (2 * keys * _BITS_PER_KEY - 1).bit_length()
        self._mask = size - 1
        self._room = size // _BITS_PER_KEY
        self._bits = bytearray(size // 8)
        for at in range(0, len(packed), ENTRY_BYTES):
            self.add(bytes(packed[at : at + _HASH_BYTES]))

    def add(self, key_hash: bytes) -> bool:
        """False when there is no room for another: then a larger one has to be made."""
        if self._room == 0:
            return False
        self._room -= 1
        bits, mask = self._bits, self._mask
        for half in (key_hash[:4], key_hash[4:]):
            bit = int.from_bytes(half, "big") & mask
            bits[bit >> 3] |= 1 << (bit & 7)
        return True

    def may_contain(self, key_hash: bytes) -> bool:
        bits, mask = self._bits, self._mask
        bit = int.from_bytes(key_hash[:4], "big") & mask
        if not bits[bit >> 3] & (1 << (bit & 7)):
            return False
        bit = int.from_bytes(key_hash[4:], "big") & mask
        return bool(bits[bit >> 3] & (1 << (bit & 7)))
