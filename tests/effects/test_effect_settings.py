"""Settings of the effect runner: wrong ones are told with place and cure, secrets never shown."""

import msgspec
import pytest

from orchestrator.core.errors import ConfigurationError
from orchestrator.effect_settings import EffectSettings, EffectTopics, secrets_from
from tests.effects.calling import new_secret


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"allowed_networks": ("localhost",)}, "effects.allowed_networks"),
        ({"allowed_networks": ("127.0.0.1/8",)}, "effects.allowed_networks"),
        ({"concurrency": 0}, "effects.concurrency"),
        ({"stall_timeout_s": -1.0}, "effects.stall_timeout_s"),
    ],
)
def test_wrong_settings_are_named(changes: dict[str, object], place: str) -> None:
    """A setting that can't work is refused at start, by its name."""
    with pytest.raises(ConfigurationError, match=place):
        EffectSettings(**changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("value", ["plaincanary", "whsec_", "whsec_?canary", "", " ", "whsec_canar"])
def test_wrong_secrets_are_named_without_their_value(value: str) -> None:
    """A secret that can't sign is refused by its name alone."""
    with pytest.raises(ConfigurationError, match="'shop'") as caught:
        EffectSettings(secrets={"shop": value})
    assert "canar" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_settings_come_from_plain_data() -> None:
    """TOML and environment values convert straight into the settings, checks included."""
    settings = msgspec.convert(
        {"allowed_networks": ["127.0.0.1/32"], "publish_topics": ["a"]}, EffectSettings
    )
    assert settings.publish_topics == ("a",)


def test_secrets_come_from_the_environment_by_name() -> None:
    """`<prefix>SHOP` is the secret `shop`; other variables aren't touched."""
    secret = new_secret()
    found = secrets_from(
        {"APP_SECRET_SHOP": secret, "APP_SECRET_": "x", "OTHER": "y", "APP_SECRET_EMPTY": ""}, "APP_SECRET_"
    )
    assert found == {"shop": secret}
    assert EffectSettings(secrets=found).secrets["shop"] == secret


def test_every_topic_of_the_engine_is_internal() -> None:
    """The topics that actions must not write to include renamed ones."""
    assert {"a", "b", "user-interactions"} <= EffectTopics(effects="a", commands="b").internal
