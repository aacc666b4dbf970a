import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.core import keys
from orchestrator.core.keys import ENTRY_BYTES, KeyLog

# Few byte values, so that hashes overlap each other's entries and versions.
_HASH = st.lists(st.sampled_from([0, 1, 255]), min_size=8, max_size=8).map(bytes) | st.binary(
    min_size=8, max_size=8
)


def _added(hashes: list[bytes]) -> tuple[KeyLog, dict[bytes, int]]:
    log, oracle = KeyLog(), dict[bytes, int]()
    for version, key in enumerate(hashes, start=1):
        if key not in oracle:
            log.add(key, version)
            oracle[key] = version
    return log, oracle


@given(st.lists(_HASH, max_size=300), st.lists(_HASH, max_size=50))
@settings(max_examples=200)
def test_a_key_log_finds_what_a_dictionary_finds(hashes: list[bytes], others: list[bytes]) -> None:
    """No key is ever forgotten, taken for another, or found before it came."""
    log, oracle = _added(hashes)
    for key in [*hashes, *others]:
        assert log.find(key) == oracle.get(key)
    assert len(log) == len(oracle)


@given(st.lists(_HASH, max_size=300))
def test_a_packed_key_log_reads_back_the_same(hashes: list[bytes]) -> None:
    """Keys restored beside a snapshot answer as they did before."""
    log, oracle = _added(hashes)
    restored = KeyLog(bytes(log.packed))
    assert len(log.packed) == ENTRY_BYTES * len(oracle)
    assert {key: restored.find(key) for key in oracle} == oracle


def test_growing_through_every_size_of_the_filter_loses_nothing() -> None:
    """The filter is rebuilt as the stream grows; each key is found at every size."""
    log = KeyLog()
    keys = [(n * 2654435761 % 2**64).to_bytes(8, "big") for n in range(1, 5000)]
    for version, key in enumerate(keys, start=1):
        assert log.find(key) is None
        log.add(key, version)
        assert log.find(key) == version
    assert all(log.find(key) == version for version, key in enumerate(keys, start=1))


@given(st.lists(_HASH, min_size=2, max_size=50, unique=True))
def test_bytes_that_lie_across_two_entries_are_no_key(hashes: list[bytes]) -> None:
    """The end of one entry and the beginning of the next never pass for a key."""
    log, oracle = _added(hashes)
    packed = bytes(log.packed)
    for at in range(len(packed) - 8):
        assert log.find(packed[at : at + 8]) == oracle.get(packed[at : at + 8])


@given(st.lists(_HASH, max_size=200), st.integers(0, 220))
def test_keys_of_later_versions_can_be_cut_off(hashes: list[bytes], version: int) -> None:
    """Keys read a moment after their snapshot are cut to it: those up to its version stay, the rest are unknown again."""
    log, oracle = _added(hashes)
    log.cut(version)
    assert {key: log.find(key) for key in oracle} == {
        k: v if v <= version else None for k, v in oracle.items()
    }
    for key, at in oracle.items():
        if at > version:
            log.add(key, at)
    assert {key: log.find(key) for key in oracle} == oracle


def test_a_log_of_several_segments_forgets_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream with more keys than one filter holds still knows each, in memory and read back, and no other."""
    monkeypatch.setattr(keys, "_SEGMENT_ENTRIES", 1_000)
    monkeypatch.setattr(keys, "_SEGMENT_BYTES", 1_000 * ENTRY_BYTES)
    count = 2 * keys._SEGMENT_ENTRIES + 500
    log = KeyLog()
    hashes = [(n * 2654435761 % 2**64).to_bytes(8, "big") for n in range(1, count + 1)]
    for version, key in enumerate(hashes, start=1):
        log.add(key, version)
    log.cut(count - 600)  # across the border of a segment, and on again with others
    again = [(n * 2654435761 % 2**64).to_bytes(8, "big") for n in range(count + 1, count + 601)]
    for version, key in enumerate(again, start=count - 599):
        log.add(key, version)
    known = [*hashes[: count - 600], *again]
    for one in (log, KeyLog(bytes(log.packed))):
        assert all(one.find(key) == version for version, key in enumerate(known, start=1))
        assert all(one.find(key) is None for key in hashes[count - 600 :])
