"""The HTTP session of webhooks: guarded connections, no proxies, no cookies, no decompression."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import ClientSession, DummyCookieJar, TCPConnector

from consumers.actions.guard import GuardedResolver, Lookup
from orchestrator import __version__
from orchestrator.core.errors import ConfigurationError
from orchestrator.effect_settings import EffectSettings

KEEP_ALIVE_S = 30


@asynccontextmanager
async def guarded_session(
    settings: EffectSettings, lookup: Lookup | None = None
) -> AsyncIterator[ClientSession]:
    """A session that connects to judged addresses alone. `lookup` replaces the system's name service.

    Raises ConfigurationError if the authorities' file can't be read.
    """
    resolver = GuardedResolver(settings.allowed_networks, lookup)
    connector = TCPConnector(
        resolver=resolver,
        use_dns_cache=False,  # each connection is judged by the answer it connects to
        socket_factory=resolver.open_socket,
        ssl=_authorities(settings.ca_file),
        keepalive_timeout=KEEP_ALIVE_S,
        limit=0,  # the runner bounds the calls
    )
    try:
        async with ClientSession(
            connector=connector,
            trust_env=False,  # a proxy would resolve and connect in our place
            cookie_jar=DummyCookieJar(),  # journeys share nothing through a receiver's cookies
            auto_decompress=False,
            headers={"User-Agent": f"journey-orchestrator/{__version__}"},
        ) as session:
            yield session
    finally:
        await resolver.close()


def _authorities(ca_file: str) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if ca_file:
        try:
            context.load_verify_locations(cafile=ca_file)
        except (OSError, ssl.SSLError) as error:
            raise ConfigurationError(
                f"effects.ca_file (ORCHESTRATOR_WEBHOOK_CA_FILE): {ca_file} can't be read as PEM certificates ({error}); correct or empty it"
            ) from error
    return context
