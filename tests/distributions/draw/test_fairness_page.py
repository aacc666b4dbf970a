"""docs/fairness.md says what is true."""

import json
import re
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, get_args

import yaml

from orchestrator.distributions.draw import DRAW
from orchestrator.distributions.draw import config as draw_config
from orchestrator.distributions.draw import ranks as draw_ranks
from orchestrator.distributions.draw import steps as draw_steps
from orchestrator.distributions.draw.mechanism import ENTRANTS_MAX
from orchestrator.distributions.draw.proof import proof_of
from orchestrator.distributions.fairness.entries import WEIGHT_MAX
from orchestrator.distributions.fairness.proof import Reason, write
from orchestrator.distributions.fairness.receipts import Statement
from tests.distributions.draw.drawing import Drawing
from tests.support.room import Rejected

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "fairness.md").read_text()
SOURCES = "".join(p.read_text() for p in (ROOT / "orchestrator" / "distributions" / "draw").glob("*.py"))


def test_the_verifier_on_the_page_agrees(tmp_path: Path) -> None:
    """Its few lines, run alone, find the winners of a real draw; and nothing where an entry was changed."""
    draw = Drawing(winners=7).opened().enter(**{f"cus-{i}": 1 + i % 10 for i in range(37)})
    draw.ask("cus-5", "leave")
    draw.drawn()
    (script,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    program, proof = tmp_path / "verifier.py", tmp_path / "proof.json"
    program.write_text(script)
    data = b"".join(write(proof_of(draw.state)))
    proof.write_bytes(data)
    found = subprocess.run(
        [sys.executable, "-I", program, proof], capture_output=True, text=True, check=True, timeout=60
    )
    assert [int(ticket) for ticket in found.stdout.split()] == list(draw.state.order[:7])
    proof.write_bytes(data.replace(b",2,false]", b",9,false]"))
    assert subprocess.run([sys.executable, "-I", program, proof], capture_output=True, check=False).returncode


def test_the_document_on_the_page_is_valid() -> None:
    """Whoever copies it can publish it, and every field is explained."""
    (block,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    part: dict[str, Any] = yaml.load(block, yaml.BaseLoader)
    for name in ("winners", "reserves", "weight_max"):
        part[name] = int(part[name])
    part["beacon"]["round"] = int(part["beacon"]["round"])
    assert not list(DRAW.check(part))
    assert DRAW.compile_config(part).beacon is not None
    for name in set(draw_config.SCHEMA["properties"]) - {"mechanism"}:
        assert f"`{name}`" in PAGE or f"`{name}." in PAGE


def test_every_rule_command_and_reason_is_on_the_page() -> None:
    """Exactly those that the code knows."""
    rules = set(re.findall(r'"(draw\.[a-z_]+)"', SOURCES))
    events = {rule for rule in rules if rule.endswith(".v1")}
    assert set(re.findall(r"`(draw\.[a-z_]+)`", PAGE)) == rules - events
    table = PAGE.split("## Commands")[1].split("Journeys ask")[0]
    named = {
        w for row in re.findall(r"^\| (`[^|]*) \|", table, re.MULTILINE) for w in re.findall(r"`(\w+)`", row)
    }
    assert named - {"ce_type"} == set(DRAW.operations)
    for reason in filter(None, get_args(Reason)):
        assert f"| `{reason}` |" in PAGE
    for field in Statement.__struct_fields__:
        assert f'"{field}"' in PAGE


def test_the_commands_on_the_page_are_read() -> None:
    """Each has the shape that is asked."""
    for word, data in re.findall(r"^\| `(\w+)` \| `(\{.*?\})` \|", PAGE, re.MULTILINE):
        given = json.loads(data.replace("…64 digits", "ab" * 32).replace("…", "ab" * 32))
        with suppress(Rejected):  # out of order, and of the right shape
            Drawing().operate(word, **given)


def test_the_numbers_on_the_page_are_the_codes() -> None:
    """Limits in the text are those in force."""
    text = " ".join(PAGE.split())
    assert f"up to {WEIGHT_MAX}; 1 if unsaid" in text
    assert f"{draw_steps.AT_ONCE:,} participants" in text
    assert f"{draw_ranks.BALLS_AT_ONCE:,} balls" in text
    assert f"up to {ENTRANTS_MAX:,} entries" in text
    assert draw_config.VALID_MS == 24 * 3_600_000
