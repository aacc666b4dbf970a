"""Fetches a small public page for an adapter: through the guard of webhooks, without redirects, bounded."""

from collections.abc import Awaitable, Callable
from typing import Final

from aiohttp import ClientError, ClientSession, ClientTimeout

from consumers.actions.guard import AddressRefused

BYTES_MAX: Final = 65_536
TIMEOUT: Final = ClientTimeout(total=5.0, connect=3.0)


def fetcher(session: ClientSession) -> Callable[[str], Awaitable[bytes]]:
    """A function that gets an address with a guarded session; it raises AddressRefused, OSError or TimeoutError."""

    async def fetch(url: str) -> bytes:
        try:
            async with session.get(url, timeout=TIMEOUT, allow_redirects=False) as response:
                if response.status != 200:
                    raise OSError(f"status {response.status}")
                body = await response.content.read(BYTES_MAX + 1)
                while not response.content.at_eof() and len(body) <= BYTES_MAX:
                    body += await response.content.read(BYTES_MAX)
        except ClientError as error:
            if _refused(error):
                raise AddressRefused from error
            raise OSError(type(error).__name__) from error
        if len(body) > BYTES_MAX:
            raise OSError("too long")
        return body

    return fetch


def _refused(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, AddressRefused):
            return True
        error = error.__cause__ or error.__context__
    return False
