"""What the message providers may use beside a runner's Context: accounts, templates, sessions, tokens."""

import logging
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from aiohttp import ClientSession, DummyCookieJar, TCPConnector
from msgspec import Struct

from consumers.actions.access_tokens import AccessTokens
from consumers.actions.address_book import AddressBook
from consumers.actions.base import Context
from consumers.actions.delivery_settings import DeliverySettings
from consumers.actions.refusals import refuse
from consumers.actions.smtp_pool import SmtpPool
from consumers.actions.templates import Templates
from orchestrator import __version__
from orchestrator.core.errors import ConfigurationError

if TYPE_CHECKING:
    import httpx

MAX_HTTP2_CONNECTIONS = 4
_TALKATIVE = (
    "httpx",
    "httpcore",
    "hpack",
)  # below warnings they log paths and headers: device tokens and keys


class Delivery(Struct):
    """Opened by `opened_delivery`; one a runner."""

    settings: DeliverySettings
    templates: Templates
    http: ClientSession  # for configured hosts: their addresses aren't judged, redirects aren't followed
    tls: ssl.SSLContext
    tokens: AccessTokens
    smtp: SmtpPool
    addresses: AddressBook | None = None  # None: nobody will ask whose number it was
    _http2: "httpx.AsyncClient | None" = None

    def http2(self) -> "httpx.AsyncClient":
        """The HTTP/2 client, made when the first notification to an Apple device is sent."""
        import httpx  # noqa: PLC0415  few runners need it

        if self._http2 is None:
            for name in _TALKATIVE:
                logging.getLogger(name).setLevel(logging.WARNING)
            self._http2 = httpx.AsyncClient(
                http1=False,
                http2=True,
                verify=self.tls,
                trust_env=False,
                follow_redirects=False,
                limits=httpx.Limits(max_connections=MAX_HTTP2_CONNECTIONS),
            )
        return self._http2

    async def close(self) -> None:
        """Ends the sessions."""
        await self.smtp.close()
        if self._http2 is not None:
            await self._http2.aclose()


class DeliveryContext(Context, frozen=True, kw_only=True):
    """The Context of a runner that has message providers."""

    delivery: Delivery


@asynccontextmanager
async def opened_delivery(
    settings: DeliverySettings, templates: Templates, addresses: AddressBook | None = None
) -> AsyncIterator[Delivery]:
    """The sessions of a runner, until the block ends. Raises ConfigurationError if `ca_file` can't be read."""
    tls = _authorities(settings.ca_file)
    connector = TCPConnector(ssl=tls, limit=0)  # the runner bounds the calls
    async with ClientSession(
        connector=connector,
        trust_env=False,
        cookie_jar=DummyCookieJar(),
        auto_decompress=False,
        headers={"User-Agent": f"journey-orchestrator/{__version__}"},
    ) as http:
        delivery = Delivery(
            settings=settings,
            templates=templates,
            http=http,
            tls=tls,
            tokens=AccessTokens(),
            smtp=SmtpPool(settings.smtp, tls),
            addresses=addresses,
        )
        try:
            yield delivery
        finally:
            await delivery.close()


def delivery_of(context: Context) -> Delivery:
    """The message tools of a runner. Raises Refused where it has none."""
    if not isinstance(context, DeliveryContext):
        raise refuse("not_configured", "this runner has no message settings")
    return context.delivery


def _authorities(ca_file: str) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if ca_file:
        try:
            context.load_verify_locations(cafile=ca_file)
        except (OSError, ssl.SSLError) as error:
            raise ConfigurationError(
                f"delivery.ca_file (ORCHESTRATOR_DELIVERY_CA_FILE): {ca_file} can't be read as PEM certificates"
                f" ({error}); correct or empty it"
            ) from error
    return context
