"""docs/messages.md says what is true."""

import re
from pathlib import Path
from typing import Any

import jsonschema_rs
import msgspec
import pytest
import yaml

from consumers.actions.delivery_environment import CA_FILE_VARIABLE, ENVIRONMENT, delivery_from
from consumers.actions.delivery_settings import DeliverySettings
from consumers.actions.push_devices import DEVICES_MAX
from consumers.actions.send_email import EmailParams
from consumers.actions.send_push import PushParams
from consumers.actions.send_sms import SmsParams
from orchestrator.core.errors import ConfigurationError
from orchestrator.messages import TEMPLATE, check
from orchestrator.messages.liquid_filters import FILTERS, ITEMS_MAX, WORK_MAX
from orchestrator.messages.liquid_language import DEPTH_MAX, LOCALS_BYTES_MAX, OUTPUT_BYTES_MAX, TAGS
from orchestrator.messages.render import PUSH_BYTES_MAX, SMS_CHARS_MAX, SUBJECT_CHARS_MAX

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "messages.md").read_text()
SENDERS = (
    "apns", "contents", "delivery", "fcm", "mail", "provider_calls", "push_devices", "send_email", "send_push", "send_sms",
    "smtp",
)  # fmt: skip
DOCUMENTS = [
    block for block in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL) if block.startswith("kind:")
]


@pytest.mark.parametrize("block", DOCUMENTS, ids=lambda block: block.split("id: ")[1].split("\n")[0])
def test_every_template_on_the_page_is_valid(block: str) -> None:
    """Each example fits the schema and has no problem."""
    document = yaml.safe_load(block)
    assert jsonschema_rs.Draft202012Validator(dict(TEMPLATE.schema)).is_valid(document)
    assert check(document) == []


def test_the_parameters_on_the_page_are_the_actions() -> None:
    """The example of an action's parameters is one."""
    (block,) = (found for found in re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL) if '"template"' in found)
    params = msgspec.json.decode(block, type=EmailParams)
    assert (params.to, params.template) == ("anna@example.com", "points_reminder")


def test_the_language_on_the_page_is_the_codes() -> None:
    """Every tag and filter there is stands on the page, and no other."""
    tags = PAGE.split("Tags: ")[1].split("There is no")[0]
    assert set(re.findall(r"`([a-z#]+)`", tags)) == TAGS | {"raw"}
    table = PAGE.split("| filters | |")[1].split("\n\n")[0]
    assert set(re.findall(r"`([a-z_]+)`", table)) == FILTERS


def test_the_numbers_on_the_page_are_the_codes() -> None:
    """Limits in the text are those in force."""
    for number in (SMS_CHARS_MAX, PUSH_BYTES_MAX, WORK_MAX):
        assert f"{number:,}" in PAGE
    assert f"{ITEMS_MAX:,} turns of a loop" in PAGE
    assert f"{ITEMS_MAX:,} items" in PAGE
    assert f"{SUBJECT_CHARS_MAX} characters" in PAGE
    assert f"{OUTPUT_BYTES_MAX // 1024} KiB" in PAGE
    assert f"{LOCALS_BYTES_MAX // 1024} KiB of own variables" in PAGE
    assert f"{DEPTH_MAX} levels" in PAGE
    assert f"up to {DEVICES_MAX} devices" in PAGE


def test_every_field_of_the_format_is_on_the_page() -> None:
    """A field or parameter somebody adds has to be explained."""
    fields = {
        f"{c}.{name}"
        for c in ("email", "sms", "push")
        for name in TEMPLATE.schema["properties"][c]["properties"]
    }
    missing = [field for field in fields if f"`{field}`" not in PAGE]
    assert missing == []
    for params in (EmailParams, SmsParams, PushParams):
        for name in params.__struct_encode_fields__:
            assert f"`{name}`" in PAGE or name == "at_most_once", name


def test_every_setting_is_on_the_page() -> None:
    """Each variable that is read is in the table with its default, and no other."""
    table = dict(re.findall(r"\| `(ORCHESTRATOR_[A-Z_]+)` \| ([^|]+) \|", PAGE))
    assert set(table) == {*ENVIRONMENT, CA_FILE_VARIABLE}
    plain = DeliverySettings()
    for variable, (section, field) in ENVIRONMENT.items():
        default: Any = getattr(getattr(plain, section), field)
        if default and isinstance(default, str):
            assert table[variable] == f"`{default}`"


def test_settings_come_from_the_environment() -> None:
    """Variables arrive in their place and type, and a wrong one is named."""
    found = delivery_from(
        {
            "ORCHESTRATOR_SMTP_HOST": "mail.example.com",
            "ORCHESTRATOR_SMTP_PORT": "2525",
            "ORCHESTRATOR_SMTP_CONNECT_TIMEOUT_S": "2.5",
            "ORCHESTRATOR_APNS_KEY": "a\\nb",
            "ORCHESTRATOR_DELIVERY_CA_FILE": "/ca.pem",
            "UNRELATED": "x",
        }
    )
    assert (found.smtp.host, found.smtp.port, found.smtp.connect_timeout_s) == ("mail.example.com", 2525, 2.5)
    assert (found.apns.key, found.ca_file) == ("a\nb", "/ca.pem")
    assert delivery_from({}) == DeliverySettings()
    for variable, value in (("ORCHESTRATOR_SMTP_PORT", "x"), ("ORCHESTRATOR_SMTP_SECURITY", "ssl")):
        with pytest.raises(ConfigurationError, match=variable):
            delivery_from({variable: value})


def test_every_error_word_is_on_the_page() -> None:
    """Whoever sees a word on a journey's timeline finds it in the table."""
    actions = ROOT / "consumers" / "actions"
    sources = [actions / f"{name}.py" for name in SENDERS] + [
        *(ROOT / "orchestrator" / "messages").glob("*.py")
    ]
    text = "\n".join(path.read_text() for path in sources)
    words = set(re.findall(r"\b(?:Failed|refuse|Undeliverable|RenderFailed)\(\s*\"([a-z_]+)\"", text))
    assert len(words) > 20
    assert [word for word in sorted(words) if f"`{word}`" not in PAGE] == []
