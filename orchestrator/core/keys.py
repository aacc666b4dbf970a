"""The keys a stream has decided: 12 bytes each (8-byte keyed hash, 4-byte version), scanned behind a small filter."""

ENTRY_BYTES = 12
_HASH_BYTES = 8
_VERSION_BYTES = 4
_PLAIN_ENTRIES = 64  # below this a bare scan beats the filter
_BITS_PER_KEY = 16


class KeyLog:
    """Append-only map from key hash to the version of the first event that key left. Entries are in version order."""

    __slots__ = ("_filter", "_mask", "packed")

    def __init__(self, packed: bytes | bytearray = b"") -> None:
        self.packed = bytearray(packed)
        self._filter: bytearray | None = None
        self._mask = 0
        if len(self) >= _PLAIN_ENTRIES:
            self._rebuild_filter()

    def __len__(self) -> int:
        return len(self.packed) // ENTRY_BYTES

    def cut(self, version: int) -> None:
        """Forget the keys of later versions; the filter may keep their bits: it only ever says perhaps."""
        packed = self.packed
        while packed and int.from_bytes(packed[-_VERSION_BYTES:], "big") > version:
            del packed[-ENTRY_BYTES:]

    def find(self, key_hash: bytes) -> int | None:
        """The version of the first event of that key, or None when the key is new."""
        if self._filter is not None and not self._may_contain(key_hash):
            return None
        packed = self.packed
        at = packed.find(key_hash)
        while at >= 0:
            if at % ENTRY_BYTES == 0:
                return int.from_bytes(packed[at + _HASH_BYTES : at + ENTRY_BYTES], "big")
            at = packed.find(key_hash, at + 1)
        return None

    def add(self, key_hash: bytes, version: int) -> None:
        self.packed += key_hash + version.to_bytes(4, "big")
        if self._filter is None:
            if len(self) >= _PLAIN_ENTRIES:
                self._rebuild_filter()
        elif len(self) * _BITS_PER_KEY > self._mask + 1:
            self._rebuild_filter()
        else:
            self._mark(self._filter, key_hash)

    def _rebuild_filter(self) -> None:
        bits = 1 << (2 * len(self) * _BITS_PER_KEY - 1).bit_length()
        self._mask = bits - 1
        fresh = bytearray(bits // 8)
        packed = bytes(self.packed)
        for at in range(0, len(packed), ENTRY_BYTES):
            self._mark(fresh, packed[at : at + _HASH_BYTES])
        self._filter = fresh

    def _mark(self, bits: bytearray, key_hash: bytes) -> None:
        for half in (key_hash[:4], key_hash[4:]):
            bit = int.from_bytes(half, "big") & self._mask
            bits[bit >> 3] |= 1 << (bit & 7)

    def _may_contain(self, key_hash: bytes) -> bool:
        bits = self._filter
        assert bits is not None
        for half in (key_hash[:4], key_hash[4:]):
            bit = int.from_bytes(half, "big") & self._mask
            if not bits[bit >> 3] & (1 << (bit & 7)):
                return False
        return True
