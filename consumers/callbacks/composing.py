"""Makes the callbacks' server and the address book of a worker from its settings."""

from collections.abc import Mapping
from concurrent.futures import Executor

from consumers.actions.address_book import AddressBook
from consumers.actions.delivery_environment import delivery_from
from consumers.callbacks.address_store import PostgresAddressBook
from consumers.callbacks.server import CallbackServer
from consumers.callbacks.settings import callbacks_from
from consumers.effects.metrics import EffectMetrics
from consumers.effects.sender import Sender
from orchestrator.core.errors import ConfigurationError
from orchestrator.engine.database import Database
from orchestrator.settings import Settings

RETRY_BACKOFF_S = 0.5


def composed(
    settings: Settings,
    environ: Mapping[str, str],
    database: Database,
    executor: Executor,
    metrics: EffectMetrics,
) -> tuple[CallbackServer | None, AddressBook | None]:
    """Both, or neither where no port is set. Raises ConfigurationError, naming what is missing."""
    if settings.callbacks_port < 0:
        return None, None
    chosen = callbacks_from(
        environ, host=settings.callbacks_host, port=settings.callbacks_port, record=settings.customer_record
    )
    delivery = delivery_from(environ)
    if not delivery.links.base_url:
        raise ConfigurationError(
            "callbacks_port is set, but ORCHESTRATOR_LINKS_BASE_URL isn't: write the address under which the public"
            " reaches that port, such as https://links.example.com"
        )
    book = PostgresAddressBook(database, executor, delivery.links.keys)
    sender = Sender(
        settings.kafka(), timeout_s=chosen.produce_timeout_s, backoff_s=RETRY_BACKOFF_S, metrics=metrics
    )
    topic = settings.topic("commands")
    return CallbackServer(chosen, delivery, commands_topic=topic, addresses=book, sender=sender), book
