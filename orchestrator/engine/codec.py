"""Events to stored bytes and back, by their stable names; private fields pass through the encryption slot."""

import base64
import os
from collections.abc import Callable, Iterable
from hashlib import blake2b
from typing import Any

import msgspec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from orchestrator.core.errors import OrchestratorError
from orchestrator.core.events import SHARED_EVENTS, Event
from orchestrator.core.lane_events import LANE_EVENTS
from orchestrator.engine.envelope import Envelope
from orchestrator.engine.frame import Snapshot

_SEALED = "$sealed"
SEALED_MARK = b'"$sealed"'
_MARK_BYTES = 4
_NONCE_BYTES = 12
KeyOf = Callable[[str], bytes]


class UnknownEvent(OrchestratorError):
    """A log holds an event this release can't read; the lane needs a newer worker."""


class Codec:
    """Event types by name, and the two directions. `key_of(subject)` gives the AES key of a subject.

    It may raise KeyError for a subject whose key is gone; private fields then read as empty.
    """

    def __init__(self, kind_events: Iterable[type[Event]]) -> None:
        types = (*SHARED_EVENTS, *LANE_EVENTS, *kind_events)
        self._decoders = {t.NAME: msgspec.json.Decoder(t) for t in types}
        self._envelope = msgspec.json.Decoder(_Stored)
        self._encoder = msgspec.json.Encoder()

    def encode(self, envelope: Envelope, key_of: KeyOf) -> bytes:
        """The stored form; raises TypeError or ValueError for an event that would not read back as it is."""
        event = envelope.data
        private = getattr(event, "private", None)
        if private:
            plain = self._encoder.encode(private)
            if msgspec.json.decode(plain) != private:
                raise ValueError("its private fields would read back as others")
            sealed = {_SEALED: seal(plain, key_of(envelope.subject), envelope.subject)}
            event = msgspec.structs.replace(event, private=sealed)
        data = self._encoder.encode(event)
        # A slip of a decider is found here, where it costs one command, and not in the log, where it stops a lane.
        try:
            same = self._decoders[event.NAME].decode(data) == event
        except (KeyError, msgspec.MsgspecError) as error:
            raise ValueError(f"it could not be read back: {error}") from error
        if not same:
            raise ValueError("it would read back as another")
        return self._encoder.encode(msgspec.structs.replace(envelope, data=msgspec.Raw(data)))

    def decode(self, name: str, stored: bytes, key_of: KeyOf) -> Envelope:
        """The envelope with its typed event. Raises UnknownEvent for a name of a later release."""
        decoder = self._decoders.get(name)
        if decoder is None:
            raise UnknownEvent(f"event {name!r} is not known to this release: upgrade this worker first")
        raw = self._envelope.decode(stored)
        event = decoder.decode(raw.data)
        envelope = Envelope(
            raw.stream, raw.source, raw.id, raw.digest, raw.at_ms, event, raw.type, raw.index, raw.count,
            raw.occurred_ms, raw.reply_to, raw.traceparent, raw.tracestate, raw.backfill,
        )  # fmt: skip
        private = getattr(event, "private", None)
        if private and _SEALED in private:
            opened = unseal(private[_SEALED], key_of, envelope.subject)
            envelope = msgspec.structs.replace(envelope, data=msgspec.structs.replace(event, private=opened))
        return envelope

    def subject_of(self, stored: bytes) -> str:
        """Whose key a stored event needs, without opening it."""
        raw = _decode_owner(stored)
        return Envelope(raw.stream, "", "", "", raw.at_ms, None).subject

    def subject_of_snapshot(self, snapshot: Snapshot) -> str:
        """Whose key seals the snapshot's private part."""
        return Envelope(snapshot.stream, "", "", "", snapshot.at_ms, None).subject

    def encode_snapshot(self, snapshot: Snapshot, key_of: KeyOf) -> bytes:
        """The stored form of a snapshot, the state's `private` part sealed like an event's; left out without a key."""
        if snapshot.state and snapshot.state.get("private"):
            subject = self.subject_of_snapshot(snapshot)
            try:
                key = key_of(subject)
            except KeyError:
                private: dict[str, Any] = {}
            else:
                private = {_SEALED: seal(self._encoder.encode(snapshot.state["private"]), key, subject)}
            snapshot = msgspec.structs.replace(snapshot, state=snapshot.state | {"private": private})
        return self._encoder.encode(snapshot)

    def decode_snapshot(self, stored: bytes, key_of: KeyOf) -> Snapshot:
        """The snapshot with its private part opened."""
        snapshot = _decode_snapshot(stored)
        private = (snapshot.state or {}).get("private")
        if private and _SEALED in private:
            subject = self.subject_of_snapshot(snapshot)
            opened = unseal(private[_SEALED], key_of, subject)
            snapshot = msgspec.structs.replace(snapshot, state=(snapshot.state or {}) | {"private": opened})
        return snapshot


class _Owned(msgspec.Struct, gc=False):
    stream: str
    at_ms: int


_decode_owner = msgspec.json.Decoder(_Owned).decode
_decode_snapshot = msgspec.json.Decoder(Snapshot).decode


class _Stored(msgspec.Struct, gc=False):
    stream: str
    source: str
    id: str
    digest: str
    at_ms: int
    data: msgspec.Raw
    type: str = ""
    index: int = 0
    count: int = 1
    occurred_ms: int | None = None
    reply_to: str | None = None
    traceparent: str | None = None
    tracestate: str | None = None
    backfill: bool = False


def seal(plain: bytes, key: bytes, subject: str) -> str:
    """AES-GCM under the subject's key, the subject as associated data; base64 of the key's mark, nonce and ciphertext."""
    nonce = os.urandom(_NONCE_BYTES)
    return base64.b64encode(_mark(key) + nonce + AESGCM(key).encrypt(nonce, plain, subject.encode())).decode()


def unseal(sealed: str, key_of: KeyOf, subject: str) -> dict[str, Any]:
    """The private fields; empty when the key that sealed them has been erased, even if the subject has another since."""
    try:
        key = key_of(subject)
    except KeyError:
        return {}
    raw = base64.b64decode(sealed)
    if raw[:_MARK_BYTES] != _mark(key):
        return {}
    nonce, ciphertext = raw[_MARK_BYTES : _MARK_BYTES + _NONCE_BYTES], raw[_MARK_BYTES + _NONCE_BYTES :]
    opened: dict[str, Any] = msgspec.json.decode(AESGCM(key).decrypt(nonce, ciphertext, subject.encode()))
    return opened


def _mark(key: bytes) -> bytes:
    """Tells a subject's keys apart: one drawn after an erasure doesn't open what was sealed before."""
    return blake2b(key, digest_size=_MARK_BYTES, person=b"key mark").digest()
