"""Where a webhook may connect to: every address is unwrapped and judged, and the judged one is connected to."""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any

from aiohttp.abc import AbstractResolver, ResolveResult

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
AddressInfo = tuple[Any, Any, Any, Any, Any]
Lookup = Callable[[str, int, socket.AddressFamily], Awaitable[list[AddressInfo]]]

LOOKUP_THREADS = 8
_NUMERIC = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
# What `ipaddress` calls global although nobody's public service lives there.
_REFUSED = tuple(
    ip_network(block)
    for block in (
        "100.64.0.0/10",  # carrier-grade NAT; holds a cloud's metadata service (100.100.100.200)
        "168.63.129.16/32",  # a cloud's host agent on a public-looking address
        "192.0.0.0/24",  # protocol assignments; holds a cloud's metadata service (192.0.0.192)
        "192.31.196.0/24",  # AS112
        "192.52.193.0/24",  # AMT
        "192.88.99.0/24",  # 6to4 relays
        "192.175.48.0/24",  # AS112
        "2001::/23",  # protocol assignments, Teredo included
        "2001:db8::/32",
        "2620:4f:8000::/48",  # AS112
        "3fff::/20",  # documentation
    )
)
_GLOBAL_UNICAST = IPv6Network("2000::/3")  # all IPv6 anybody was ever given
_NAT64 = IPv6Network("64:ff9b::/96")
_SIXTOFOUR = IPv6Network("2002::/16")
_TEREDO = IPv6Network("2001::/32")
_LOW_32_BITS = (
    _NAT64,
    IPv6Network("::/96"),  # IPv4-compatible
    IPv6Network("::ffff:0:0:0/96"),  # IPv4-translated
)
_ISATAP = (0x00005EFE, 0x02005EFE)


class AddressRefused(OSError):
    """The host is, or resolves to, an address that webhooks may not reach."""

    def __init__(self) -> None:
        super().__init__("address refused")


def allows(address: Address, allowed: Sequence[Network] = ()) -> bool:
    """Whether a webhook may connect to `address`: it and every IPv4 address inside it is public, or allowed."""
    if isinstance(address, IPv6Address):
        if address.scope_id:
            return False  # a link's own address; a scope can't be compared with a network
        address = address.ipv4_mapped or address  # the same address to the socket
    if any(address in network for network in allowed if network.version == address.version):
        return True
    return _is_public(address) and all(_is_public(inner) for inner in _embedded(address))


def literal(host: str) -> Address | None:
    """The address a host is written as, None for a name. Raises AddressRefused for odd notations (0x7f.1, 017.1)."""
    if ":" in host:
        try:
            return ip_address(host)
        except ValueError:
            raise AddressRefused from None
    last = host.rstrip(".").rpartition(".")[2].lower()
    if not (last.isdigit() or last.startswith("0x")):
        return None  # ends in a letter: no parser takes it for an address
    try:
        return IPv4Address(host)
    except ValueError:
        raise AddressRefused from None


class GuardedResolver(AbstractResolver):
    """Resolves names for aiohttp and refuses a name if any of its addresses is refused.

    aiohttp connects to exactly what is returned here, so a name can't answer otherwise a second time.
    """

    def __init__(self, allowed: Sequence[str] = (), lookup: Lookup | None = None) -> None:
        self.allowed = tuple(ip_network(block) for block in allowed)
        self._threads = ThreadPoolExecutor(LOOKUP_THREADS, "webhook-dns")
        self._lookup = lookup or self._system_lookup

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """The addresses of a name, all judged. Raises AddressRefused, or OSError if there are none."""
        found = await self._lookup(host, port, family)
        results = []
        for kind, _type, proto, _name, place in found:
            if not allows(ip_address(place[0]), self.allowed):
                raise AddressRefused
            results.append(
                ResolveResult(
                    hostname=host, host=place[0], port=place[1], family=kind, proto=proto, flags=_NUMERIC
                )
            )
        if not results:
            raise OSError(None, "the name has no address")
        return results

    def open_socket(self, info: AddressInfo) -> socket.socket:
        """A socket for one address aiohttp is about to connect to; judged once more, literals included."""
        kind, type_, proto, _name, place = info
        if not allows(ip_address(place[0]), self.allowed):
            raise AddressRefused
        return socket.socket(kind, type_, proto)

    async def close(self) -> None:
        """Stops the look-ups that haven't begun."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _system_lookup(self, host: str, port: int, family: socket.AddressFamily) -> list[AddressInfo]:
        # Own threads: a slow name server must not take the event loop's default executor with it.
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(
            self._threads, lambda: socket.getaddrinfo(host, port, family, socket.SOCK_STREAM)
        )


def _is_public(address: Address) -> bool:
    if any(address in network for network in _REFUSED if network.version == address.version):
        return False
    if address.is_multicast or address.is_unspecified or address.is_loopback or address.is_link_local:
        return False
    if isinstance(address, IPv6Address):
        if (
            address in _NAT64 or address in _SIXTOFOUR
        ):  # Python's releases disagree; the address within decides
            return True
        return address in _GLOBAL_UNICAST and address.is_global
    return address.is_global and not address.is_reserved


def _embedded(address: Address) -> Iterator[IPv4Address]:
    """Every IPv4 address that a gateway or tunnel would read out of an IPv6 address."""
    if isinstance(address, IPv4Address):
        return
    bits = int(address)
    if any(address in network for network in _LOW_32_BITS) or (bits >> 32) & 0xFFFFFFFF in _ISATAP:
        yield IPv4Address(bits & 0xFFFFFFFF)
    if address in _SIXTOFOUR:
        yield IPv4Address((bits >> 80) & 0xFFFFFFFF)
    if address in _TEREDO:
        yield IPv4Address((bits >> 64) & 0xFFFFFFFF)
        yield IPv4Address(~bits & 0xFFFFFFFF)
