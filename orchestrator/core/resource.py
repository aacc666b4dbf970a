"""Resources: aggregates many customers share, which may be too large to copy at every event."""

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from orchestrator.core.decider import JourneyKind

NO_SNAPSHOT = 0
"""The fold version of a row that no kind can be restored from."""


class Summary(Struct, frozen=True):
    """What is shown of a resource at one version, kept while its state moves on."""

    label: str
    view: dict[str, Any]


class ResourceKind:
    """Base of kinds whose `evolve` changes the state in place and which are rebuilt from the log alone.

    Their `decide` must not touch the state. `label` and `view` are asked with what `capture` gave.
    An `evolve` that fails has spoilt the state: the lane stops, nothing is dead-lettered.
    """

    documents: str = ""  # the kind of the published document that defines them

    def capture(self, state: Any) -> Summary:
        """A small picture of the state that stays as it is."""
        raise NotImplementedError

    def presence_timeout_ms(self, state: Any) -> int:  # noqa: ARG002
        """How long somebody may give no sign of life and still count as present; 0: nobody has to give any."""
        return 0

    def awaited(self, state: Any) -> Sequence[str]:  # noqa: ARG002
        """Participants who have to give signs of life and aren't noted as absent."""
        return ()

    def noted_absent(self, state: Any) -> Sequence[str]:  # noqa: ARG002
        """Participants who are noted as absent and could still come back."""
        return ()

    def dump(self, state: Any) -> dict[str, Any]:  # noqa: ARG002
        """Nothing: no snapshot is kept."""
        return {}

    def load(self, data: Any) -> Any:
        """Never called: no snapshot of this format was ever kept."""
        raise NotImplementedError


def documents_by_kind(kinds: Mapping[str, JourneyKind]) -> dict[str, str]:
    """The kind of document each kind of stream is defined by: its own, or its experience's for a resource."""
    return {n: kind.documents if isinstance(kind, ResourceKind) else n for n, kind in kinds.items()}


def kept_fold_version(kind: JourneyKind) -> int:
    """What a row of the journeys table says of its snapshot's format."""
    return NO_SNAPSHOT if isinstance(kind, ResourceKind) else kind.fold_version
