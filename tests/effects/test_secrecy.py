"""Secrets and personal data stay where they belong, and the runner works over SASL_SSL."""

import io
import logging
from typing import Any

import pytest
import structlog

from orchestrator.embedded import Servers
from tests.effects.bus import Bus, effect
from tests.effects.calling import new_secret
from tests.effects.receiver import receiver, status

CANARY = "ada.canary@example.test"


async def test_nothing_secret_reaches_logs_or_topics(bus: Bus, caplog: pytest.LogCaptureFixture) -> None:
    """Signing secrets appear nowhere; private values of a request appear in no log, answer or dead letter."""
    secret = new_secret()
    said = io.StringIO()
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(said), cache_logger_on_first_use=False)
    caplog.set_level(logging.INFO)
    try:
        async with receiver(status(500)) as broken, receiver(status(200)) as well:
            await bus.request(
                effect(
                    1,
                    0,
                    params={"url": well.url(f"/?mail={CANARY}"), "secret": "shop", "body": {"mail": CANARY}},
                ),
                effect(1, 1, params={"url": broken.url(f"/?mail={CANARY}"), "secret": "shop"}),
                effect(1, 2, params={"url": f"https://{CANARY}/", "secret": "shop"}),
                effect(1, 3, params={"url": "http://127.0.0.1:1/" + CANARY, "secret": CANARY}),
                effect(1, 4, params={"url": well.url(), "headers": {"X": f"{CANARY}\n"}, "secret": "shop"}),
                effect(1, 5, params={"url": 1, "body": CANARY}),
                effect(1, 6, params={"message": CANARY}, kind="log"),
                effect(1, 7, params={"topic": CANARY, "value": CANARY}, kind="publish"),
                effect(1, 8, params={"mail": CANARY}, kind="pigeon"),
                effect(1, 9, params={"mail": CANARY}, timeout_ms="soon"),
            )
            async with bus.running(bus.settings(secrets={"shop": secret})):
                answers = await bus.answers(10)
            assert CANARY.encode() in well.calls[0].body
            assert "webhook-signature" in {name.lower() for name in well.calls[0].headers}
    finally:
        structlog.reset_defaults()
    shown = said.getvalue() + caplog.text + "".join(f"{a.value!r} {a.headers}" for a in answers)
    assert "effects.failed" in shown
    assert secret.removeprefix("whsec_") not in shown
    assert CANARY not in shown
    assert "ada.canary" not in shown


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-512", "SSL"])
async def test_the_runner_works_over_secured_listeners(
    servers: Servers, topic_prefix: str, mechanism: str
) -> None:
    """The same security arguments serve the runner's consumer, producer and probe."""
    secure = servers.secure
    assert secure is not None
    security: dict[str, Any] = {"ssl_context": secure.ssl_context()}
    if mechanism == "SSL":
        security |= {"bootstrap_servers": secure.ssl_bootstrap, "security_protocol": "SSL"}
    else:
        security |= {
            "bootstrap_servers": secure.sasl_bootstrap,
            "security_protocol": "SASL_SSL",
            "sasl_mechanism": mechanism,
            "sasl_plain_username": secure.scram_user,
            "sasl_plain_password": secure.scram_password,
        }
    bus = Bus(topic_prefix, servers.bootstrap, security)
    await bus.make()
    await bus.request(effect(1, kind="log"))
    async with bus.running() as runner:
        await bus.answers(1)
        assert await runner._kafka_answers()
