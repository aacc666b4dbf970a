"""A compiled experience: what decisions look up, made once at publishing."""

from collections.abc import Mapping
from typing import Any, Final, Literal

from msgspec import Struct

from orchestrator.core.rules import Rule
from orchestrator.core.templates import Template
from orchestrator.journeys.effects import EffectPolicy

OnExpired = Literal["reenter", "waitlist", "end"]

PROOF_POLICY: Final = EffectPolicy(
    attempts=3, initial_ms=1_000, max_ms=10_000, timeout_ms=10_000, answer_within_ms=60_000, unknown="retry"
)
"""Of the effects that check a proof. Repeating one is harmless."""


class Gate(Struct, frozen=True):
    """Something the customer has to show. `codes`: the ids of the access codes that pass it; empty: any code."""

    type: str
    required: bool = True
    reason: str = ""
    metadata: dict[str, Any] = {}
    provider: str = (
        ""  # whose proof is checked: the name of a provider in the settings of the effects process
    )
    codes: frozenset[str] = frozenset()


class Code(Struct, frozen=True):
    """An access code as far as it is known here: its id and limits, never its text."""

    id: str
    expires_ms: int | None = None
    uses: int | None = None  # over all customers: counted by a resource


class Codes(Struct, frozen=True):
    """How access codes are recognized, and how often one may guess."""

    salt: bytes = b""
    ignore_case: bool = True
    by_hash: Mapping[str, Code] = {}
    by_id: Mapping[str, Code] = {}
    guesses: int = 5
    within_ms: int = 900_000


class Sequence(Struct, frozen=True):
    """One way through the experience."""

    id: str
    name: str
    pointer: str  # of its rule in the document
    distribution: str
    mechanism: str
    when: Rule | None = None
    gates: tuple[Gate, ...] = ()
    waitlist: str = ""
    opens_ms: int | None = None
    closes_ms: int | None = None
    on_expired: OnExpired = "end"
    attributes: Template | None = None  # what entering tells the distribution, such as a draw's weight


class Placed(Struct, frozen=True):
    """A distribution of the experience; `config` is its mechanism's own."""

    mechanism: str
    config: Any


class Compiled(Struct, frozen=True):
    """An experience, its sequences in the order of priority."""

    id: str
    name: str
    sequences: tuple[Sequence, ...]
    distributions: Mapping[str, Placed]
    gates: tuple[Gate, ...] = ()
    codes: Codes = Codes()
    trusted: frozenset[str] = frozenset()
    opens_ms: int | None = None
    closes_ms: int | None = None
    issuer: str = ""
    audience: str = ""
    answer_within_ms: int = 30_000

    def gate(self, type: str) -> Gate:
        """The first gate of a type, of the experience or else of a sequence."""
        of_sequences = (gate for sequence in self.sequences for gate in sequence.gates)
        return next((gate for gate in (*self.gates, *of_sequences) if gate.type == type), Gate(type))
