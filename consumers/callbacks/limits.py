"""How many requests one address may make: a bucket of tokens for each, a bounded number of buckets."""

from collections import OrderedDict
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

BUCKETS_MAX: Final = 10_000
_UNKNOWN: Final = "unknown"


class Rates:
    """Buckets fill at `per_s` up to `burst`. The address unheard of for longest is forgotten first."""

    def __init__(self, per_s: float, burst: int) -> None:
        self._per_s = per_s
        self._burst = burst
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # tokens left, and when that was

    def __len__(self) -> int:
        return len(self._buckets)

    def allows(self, address: str, now_s: float) -> bool:
        """Takes a token if there is one. `now_s` is a clock that never goes back."""
        left, since_s = self._buckets.pop(address, (float(self._burst), now_s))
        left = min(self._burst, left + (now_s - since_s) * self._per_s)
        allowed = left >= 1
        self._buckets[address] = (left - 1 if allowed else left, now_s)
        if len(self._buckets) > BUCKETS_MAX:
            self._buckets.popitem(last=False)
        return allowed


class Remote:
    """Who is calling, through proxies that are trusted."""

    def __init__(self, trusted_proxies: Sequence[str]) -> None:
        self._trusted = tuple(ip_network(block) for block in trusted_proxies)

    def address(self, peer: str | None, forwarded_for: str) -> str:
        """The last address that isn't a trusted proxy's; an IPv6 network of 64 bits counts as one."""
        found = _parsed(peer or "")
        if found is None:
            return _UNKNOWN
        hops = forwarded_for.split(",") if forwarded_for else []
        while hops and self._is_proxy(found):
            hop = _parsed(hops.pop().strip())
            if hop is None:
                break
            found = hop
        return (
            str(IPv6Network((int(found), 64), strict=False)) if isinstance(found, IPv6Address) else str(found)
        )

    def _is_proxy(self, address: IPv4Address | IPv6Address) -> bool:
        return any(address in network for network in self._trusted if network.version == address.version)


def _parsed(text: str) -> IPv4Address | IPv6Address | None:
    try:
        found = ip_address(text)
    except ValueError:
        return None
    return found.ipv4_mapped or found if isinstance(found, IPv6Address) else found
