"""docs/callbacks.md says what is so: settings, events, labels and the example of a batch."""

import re
from pathlib import Path

import orjson

from consumers.callbacks import CallbackSettings
from consumers.callbacks.registry import ADAPTERS
from consumers.callbacks.relay import Relay
from consumers.callbacks.reports import What
from consumers.callbacks.settings import PREFIX
from tests.callbacks.stand import stand

PAGE = (Path(__file__).parents[2] / "docs" / "callbacks.md").read_text()
ELSEWHERE = {"host", "port", "record"}


def test_every_setting_is_on_the_page() -> None:
    """Each variable stands there with its default, and none that doesn't exist."""
    rows = re.findall(rf"^\| `{PREFIX}(\w+)` \| ([^|]+) \|", PAGE, re.MULTILINE)
    table = {name.lower(): default.strip() for name, default in rows}
    defaults = CallbackSettings()
    assert table == {
        name: str(getattr(defaults, name) or "\N{EN DASH}")
        for name in CallbackSettings.__struct_fields__
        if name not in ELSEWHERE
    }


def test_every_event_is_on_the_page() -> None:
    """Whatever a flow may hear can be looked up, and what stands there can be heard."""
    told = set(re.findall(r"`((?:EMAIL|SMS)_[A-Z_]+)`", PAGE))
    assert {name.partition("_")[2].lower() for name in told} == {what.value for what in What}


def test_every_provider_is_on_the_page() -> None:
    """Each adapter's path stands there."""
    for adapter in ADAPTERS:
        assert f"/callbacks/{adapter.name}" in PAGE


async def test_the_example_of_a_batch_is_taken() -> None:
    """The JSON of the page, with a reference of ours in it, is a batch that is understood."""
    (example,) = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    async with stand() as one:
        batch = orjson.loads(example.replace("…", one.token()))
        assert (await one.relay(batch)).status == 204
        assert [name for name, _ in one.bus.events] == ["EMAIL_BOUNCED", "EMAIL_CLICKED"]
        assert Relay.name == "email"
