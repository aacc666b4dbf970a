"""An organizer who keeps every rule, and what they publish: for tests to bend."""

import secrets
from collections.abc import Sequence
from typing import Any

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec import Struct

from orchestrator.cli import draw_keys
from orchestrator.distributions.fairness import merkle, seeds
from orchestrator.distributions.fairness.checking import Keys, Report, check
from orchestrator.distributions.fairness.entries import (
    committed_leaf,
    draw_hash,
    entry_leaf,
    identity,
    salt,
)
from orchestrator.distributions.fairness.proof import Award, Entry, Inclusion, Proof, Times
from orchestrator.distributions.fairness.ranking import ranking
from orchestrator.distributions.fairness.receipts import Receipt, Statement, Terms, signed
from orchestrator.distributions.fairness.seeds import BeaconRound

DRAW = "acme/r/shoes.main/draw:shoes:main"
BEACON = BeaconRound("example beacon", 7, 5_000)
TIMES = Times(committed_ms=1_000, opened_ms=2_000, closed_ms=3_000, sealed_ms=4_000, drawn_ms=6_000)


class Signer(Struct):
    """A signing key made for one test."""

    id: str
    private: Ed25519PrivateKey

    def jwk(self) -> dict[str, Any]:
        from base64 import urlsafe_b64encode

        point = urlsafe_b64encode(self.private.public_key().public_bytes_raw()).rstrip(b"=").decode()
        return {"kty": "OKP", "crv": "Ed25519", "kid": self.id, "x": point}

    def keys(self) -> Keys:
        return draw_keys.of([self.jwk()])


def signer(id: str = "k1") -> Signer:
    return Signer(id, Ed25519PrivateKey.generate())


class Organizer:
    """Holds a draw: entrants with weights, `withdrawn` of them gone (tickets)."""

    def __init__(
        self,
        weights: Sequence[int],
        *,
        winners: int = 2,
        reserves: int = 2,
        withdrawn: Sequence[int] = (),
        beacon: BeaconRound | None = BEACON,
        secret: bytes = b"s" * 32,
        value: str = "ab" * 32,
    ) -> None:
        self.signer = signer()
        self.secret, self.value = secret, value if beacon else ""
        commitment = seeds.commitment(secret).hex()
        self.terms = Terms(DRAW, commitment, beacon, winners, reserves, 100)
        key = secrets.token_bytes(32)
        self.entries = [
            Entry(
                identity(salt(key, ticket, f"cus-{ticket}"), f"cus-{ticket}").hex(),
                weight,
                ticket in withdrawn,
            )
            for ticket, weight in enumerate(weights, 1)
        ]

    @property
    def leaves(self) -> list[bytes]:
        draw = draw_hash(DRAW)
        return [
            entry_leaf(draw, ticket, entry.weight, bytes.fromhex(entry.identity))
            for ticket, entry in enumerate(self.entries, 1)
        ]

    @property
    def committed(self) -> list[bytes]:
        pairs = zip(self.leaves, self.entries, strict=True)
        return [committed_leaf(leaf, withdrawn=entry.withdrawn) for leaf, entry in pairs]

    @property
    def seed(self) -> bytes:
        return seeds.seed(self.secret, bytes.fromhex(self.value))

    def order(self) -> list[int]:
        """Tickets by rank."""
        standing = [index for index, entry in enumerate(self.entries) if not entry.withdrawn]
        leaves = self.leaves
        found = ranking(self.seed, [leaves[i] for i in standing], [self.entries[i].weight for i in standing])
        return [standing[index] + 1 for index in found]

    def receipt(self, ticket: int, /, **changes: Any) -> Receipt:
        """The signed receipt of a ticket; changes are made before it is signed."""
        weight = self.entries[ticket - 1].weight
        statement = Statement(DRAW, ticket, weight, self.leaves[ticket - 1].hex(), 2_500, self.terms.digest())
        changed = msgspec.structs.replace(statement, **changes)
        return signed(changed, self.signer.id, self.signer.private.sign)

    def inclusion(self, ticket: int) -> Inclusion:
        hashes = merkle.path(merkle.levels(self.committed), ticket - 1)
        return Inclusion(ticket, self.committed[ticket - 1].hex(), [h.hex() for h in hashes])

    def proof(self, *, replaced: Sequence[int] = (), **changes: Any) -> Proof:
        """The proof; `replaced`: tickets that gave way, each for the next of the ranking."""
        order, places = self.order(), min(self.terms.winners, len(self.order()))
        awards = [Award(ticket, rank) for rank, ticket in enumerate(order[:places], 1)]
        for rank, gone in enumerate(replaced, places + 1):
            awards.append(Award(order[rank - 1], rank, gone, "unclaimed"))
        made = Proof(
            terms=self.terms,
            times=TIMES,
            secret=self.secret.hex(),
            beacon_value=self.value,
            seed=self.seed.hex(),
            root=merkle.root(self.committed).hex(),
            entries=self.entries,
            awards=awards,
            inclusions=[self.inclusion(1)] if self.entries else [],
            receipts=[self.receipt(1)] if self.entries else [],
        )
        return msgspec.structs.replace(made, **changes)

    def check(self, proof: Proof, *, receipts: Sequence[Receipt] = ()) -> Report:
        return check(proof, self.signer.keys(), receipts=receipts)


def failed(report: Report) -> set[str]:
    """The names of the checks that failed."""
    return {finding.check for finding in report.findings if finding.status == "failed"}
