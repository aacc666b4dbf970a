"""docs/distributions.md says what is true."""

import re
from pathlib import Path

from orchestrator import definitions
from orchestrator.distributions.auction import AUCTION
from orchestrator.distributions.base import ASKS
from orchestrator.distributions.queue import QUEUE
from orchestrator.distributions.queue import flow as queue_flow
from orchestrator.distributions.queue import state as queue_state
from orchestrator.distributions.timed_release import TIMED_RELEASE
from tests.support.schemas import problems_of

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "distributions.md").read_text()
KINDS = {kind.name: kind for kind in (QUEUE, TIMED_RELEASE, AUCTION)}
SOURCES = "".join(
    path.read_text()
    for name in KINDS
    for path in sorted((ROOT / "orchestrator" / "distributions" / name).glob("*.py"))
)


def test_every_document_on_the_page_is_valid() -> None:
    """Whoever copies one can publish it."""
    blocks = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    found = []
    for block in blocks:
        document = definitions.read(block.encode()).value
        kind = KINDS[document["mechanism"]]
        assert problems_of(kind.schema, kind, document) == []
        kind.compile_config(document)
        found.append(kind.name)
    assert found == ["queue", "timed_release", "auction", "auction"]


def test_every_field_is_on_the_page() -> None:
    """No field of a document is left unexplained."""
    for kind in KINDS.values():
        for field in kind.schema["properties"]:
            assert f"{field}" in PAGE, field


def test_every_refusal_is_on_the_page_and_exists() -> None:
    """The names of rules are those in the code, all of them; those made of a command's name apart."""
    names = "|".join(KINDS)
    raised = set(re.findall(rf'Rejected\(\s*f?"((?:{names})\.\w+)"', SOURCES))
    listed = set(re.findall(rf"`((?:{names})\.\w+)`", PAGE)) - {"queue.cannot_resume"}
    assert raised == listed


def test_every_command_is_on_the_page() -> None:
    """Operators find each command, and each ask of journeys that these mechanisms take."""
    for kind in KINDS.values():
        for command in kind.operations:
            assert f"`{command}`" in PAGE, command
    assert {"enter", "leave", "complete", "bid", "refresh"} <= ASKS


def test_the_numbers_are_those_of_the_code() -> None:
    """Bounds on the page are the code's."""
    assert queue_flow.AT_ONCE_MAX == 1_000
    assert queue_flow.BURST_MS == 5_000
    assert queue_flow.TICK_MS == 1_000
    assert queue_state.BLOCKS_SHOWN_MAX == 256
    assert "at most 257 blocks" in PAGE
