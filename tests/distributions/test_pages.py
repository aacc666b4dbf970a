"""The pages of waitlists and appointments against the code they describe."""

import re
from pathlib import Path

import jsonschema_rs
import pytest
import yaml

from orchestrator.distributions.appointment import APPOINTMENT
from orchestrator.distributions.base import Distribution
from orchestrator.distributions.waitlist import WAITLIST

ROOT = Path(__file__).parents[2]
PAGES = [
    pytest.param("waitlists", WAITLIST, "waitlist", id="waitlist"),
    pytest.param("appointments", APPOINTMENT, "appointment", id="appointment"),
]


@pytest.mark.parametrize(("page", "kind", "name"), PAGES)
def test_the_example_of_a_page_can_be_published(page: str, kind: Distribution, name: str) -> None:
    """What is copied from the documentation fits the schema, has no problem and compiles."""
    (example,) = re.findall(r"```yaml\n(.*?)```", (ROOT / f"docs/{page}.md").read_text(), re.DOTALL)
    document = yaml.load(example, Loader=yaml.BaseLoader)
    for part in (document, *document.get("slots", [])):
        if "capacity" in part:
            part["capacity"] = int(part["capacity"])
    assert list(jsonschema_rs.Draft202012Validator(dict(kind.schema)).iter_errors(document)) == []
    assert kind.check(document) == []
    kind.compile_config(document)


@pytest.mark.parametrize(("page", "kind", "name"), PAGES)
def test_a_page_names_every_command_field_and_refusal(page: str, kind: Distribution, name: str) -> None:
    """Nobody meets a field, a command or a refusal that the documentation doesn't know."""
    text = (ROOT / f"docs/{page}.md").read_text()
    source = (ROOT / f"orchestrator/distributions/{name}/mechanism.py").read_text()
    rules = set(re.findall(rf'Rejected\(\s*"{name}(\.\w+)"', source))
    assert rules
    missing = [rule for rule in sorted(rules) if f"`{rule}`" not in text and f"`{name}{rule}`" not in text]
    missing += [command for command in sorted(kind.operations) if f"`{command}`" not in text]
    fields = set(kind.schema["properties"]) - {"mechanism", "offer", "visit"}
    missing += [field for field in sorted(fields) if f"`{field}`" not in text]
    assert missing == []
