"""docs/operating-flows.md says what is true."""

import re
from pathlib import Path

import jsonschema_rs
import yaml
from typer.main import get_command

from consumers.actions import find_runs
from orchestrator.cli.program import app
from orchestrator.journeys.bulk import BULK, commands, decide
from orchestrator.journeys.bulk import state as states
from orchestrator.journeys.bulk.model import PAGE_MAX
from orchestrator.journeys.bulk.query import COMMANDS, STATES, Query

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "operating-flows.md").read_text()


def source(module: object) -> str:
    return Path(str(getattr(module, "__file__", ""))).read_text()


def test_the_document_on_the_page_is_valid() -> None:
    """Who copies it can publish it."""
    (block,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    assert jsonschema_rs.Draft202012Validator(dict(BULK.schema)).is_valid(yaml.safe_load(block))
    assert f"up to {PAGE_MAX:,}" in PAGE


def test_every_word_of_an_operation_is_on_the_page() -> None:
    """Events, states, rejections, failures, commands and fields: what the log says is explained."""
    words = {event.NAME for event in BULK.events if event.NAME.startswith("bulk.")}
    words |= {states.RUNNING, states.PAUSED, states.FAILED, states.DONE, states.CANCELLED, *STATES, *COMMANDS}
    words |= set(re.findall(r"\"(bulk\.[a-z_]+)\"", source(decide)))
    words |= set(re.findall(r"(?:Failed|BulkFailed)\(\"([a-z_]+)\"", source(decide) + source(find_runs)))
    words |= set(Query.__struct_fields__) | set(commands._TYPES)
    assert len(words) > 30
    assert [word for word in sorted(words) if f"`{word}`" not in PAGE] == []


def test_every_option_is_on_the_page() -> None:
    """Whoever narrows an operation finds how; the three verbs take the same options, `resume` without a state."""
    flows = get_command(app).commands["flows"].commands  # type: ignore[attr-defined]
    options = {
        verb: {opt for param in flows[verb].params for opt in param.opts if opt.startswith("--")}
        for verb in COMMANDS
    }
    assert options["pause"] == options["cancel"] == options["resume"] | {"--state"}
    common = {"--data", "--output", "--reason", "--organization", "--yes", "--dry-run", "--detach"}
    named = {option for option in options["pause"] - common if not re.search(rf"`{option}\b", PAGE)}
    assert named == set()


def test_the_commands_on_the_page_exist() -> None:
    """Every line that is to be typed names a command there is."""
    known = get_command(app).commands  # type: ignore[attr-defined]
    typed = re.findall(r"^orchestrator ([a-z]+) ([a-z-]+)", PAGE, re.MULTILINE)
    assert len(typed) > 5
    assert [(noun, verb) for noun, verb in typed if verb not in known[noun].commands] == []
    told = {f"bulk {verb}" for verb in known["bulk"].commands}
    assert [words for words in sorted(told) if f"`{words}" not in PAGE] == []
