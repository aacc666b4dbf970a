from orchestrator.engine import keyring
from tests.support.memory import MemoryStore, key_ring


def test_a_drawn_key_is_durable_before_anything_sealed_with_it_is() -> None:
    """A key is stored before the transaction that needs it, and read back equal."""
    store = MemoryStore()
    keys = key_ring(store)
    drawn = keys.key_for_writing("acme/c/1")
    assert keys.make_durable()
    assert store.keys == {"acme/c/1": drawn}
    assert key_ring(store).fetch({"acme/c/1"}) == {"acme/c/1": drawn}


def test_the_first_drawn_key_wins() -> None:
    """When another owner drew a key first, the batch is decided again with that one."""
    store = MemoryStore()
    slow, quick = key_ring(store), key_ring(store)
    slow.key_for_writing("acme/c/1")
    first = quick.key_for_writing("acme/c/1")
    assert quick.make_durable()
    assert not slow.make_durable()
    assert slow.key_for_writing("acme/c/1") == first
    assert slow.make_durable()


def test_keys_asked_for_are_given_however_small_the_cache() -> None:
    """With more customers than the cache holds, no private field reads as erased by mistake."""
    store = MemoryStore()
    store.keys = {f"acme/c/{n}": bytes([n]) * 32 for n in range(20)}
    keys = key_ring(store)
    keyring_cache = keyring._CACHE_SUBJECTS
    try:
        keyring._CACHE_SUBJECTS = 5
        assert keys.fetch({"acme/c/0"}) == {"acme/c/0": store.keys["acme/c/0"]}
        for n in range(1, 20):
            asked = {"acme/c/0", f"acme/c/{n}"}
            assert keys.fetch(asked) == {s: store.keys[s] for s in asked}
        assert keys.fetch(set(store.keys)) == store.keys
    finally:
        keyring._CACHE_SUBJECTS = keyring_cache


def test_keys_being_read_survive_a_reopening_beside_them() -> None:
    """A lane that opens again forgets its keys; what a follower is just reading stays readable."""
    store = MemoryStore()
    store.keys = {"acme/c/1": bytes(32)}
    keys = key_ring(store)
    found = keys.fetch({"acme/c/1"})
    keys.clear()
    assert found == {"acme/c/1": bytes(32)}


def test_an_erased_or_unknown_key_is_absent() -> None:
    """A key that no longer exists isn't drawn anew by reading."""
    store = MemoryStore()
    keys = key_ring(store)
    assert keys.fetch({"acme/c/1"}) == {}
    assert store.keys == {}
