"""Which addresses a webhook may reach, and that the judged address is the one connected to."""

import socket
from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumers.actions.guard import AddressInfo, AddressRefused, GuardedResolver, allows, literal
from tests.effects.calling import answers

PUBLIC = [
    "1.1.1.1",
    "8.8.8.8",
    "93.184.216.34",
    "172.15.255.255",
    "172.32.0.1",
    "100.63.255.255",
    "100.128.0.1",
    "192.0.1.1",
    "198.17.255.255",
    "223.255.255.254",
    "2001:4860:4860::8888",
    "2606:4700:4700::1111",
    "2a00:1450:4001::1",
    "::ffff:8.8.8.8",
    "64:ff9b::808:808",
    "2002:808:808::1",
]
REFUSED = [
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "100.64.0.1",
    "100.100.100.200",
    "100.127.255.255",
    "127.0.0.1",
    "127.255.255.254",
    "168.63.129.16",
    "169.254.0.1",
    "169.254.169.254",
    "169.254.170.2",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.1",
    "192.0.0.192",
    "192.0.2.1",
    "192.31.196.1",
    "192.52.193.1",
    "192.88.99.1",
    "192.168.0.1",
    "192.175.48.1",
    "198.18.0.1",
    "198.19.255.255",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::169.254.169.254",
    "::8.8.8.8",
    "::ffff:0.0.0.0",
    "::ffff:10.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "::ffff:0:127.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b::a00:1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b::6464:64c8",
    "64:ff9b:1::1",
    "64:ff9b:1::808:808",
    "100::1",
    "2001::1",
    "2001:0:7f00:1::",
    "2001:0:4136:e378:8000:63bf:80ff:fffe",
    "2001:2::1",
    "2001:10::1",
    "2001:20::1",
    "2001:db8::1",
    "2002:7f00:1::",
    "2002:a9fe:a9fe::1",
    "2002:a00:1::1",
    "2002:c0a8:1::1",
    "2606:4700::5efe:127.0.0.1",
    "2606:4700::200:5efe:10.0.0.1",
    "2620:4f:8000::1",
    "3fff::1",
    "4000::1",
    "5f00::1",
    "fc00::1",
    "fd00:ec2::254",
    "fd00::1",
    "fe80::1",
    "fe80::1%eth0",
    "febf::1",
    "fec0::1",
    "ff02::1",
    "ff0e::1",
]


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_may_be_called(address: str) -> None:
    """A webhook reaches the public internet without any setting."""
    assert allows(ip_address(address))


@pytest.mark.parametrize("address", REFUSED)
def test_everything_else_is_refused(address: str) -> None:
    """No notation, tunnel or translation of a non-public address gets past the guard."""
    assert not allows(ip_address(address))


@given(st.ip_addresses(v=4))
def test_translations_are_no_more_public_than_what_they_hold(address: object) -> None:
    """An IPv4 address hidden in an IPv6 one is refused whenever it would be refused itself."""
    bits = int(ip_address(str(address)))
    inner = allows(ip_address(str(address)))
    mapped = ip_address(int(ip_address("::ffff:0:0")) | bits)
    wrapped = [ip_address(int(ip_address("64:ff9b::")) | bits), ip_address(0x2002 << 112 | bits << 80)]
    assert allows(mapped) is inner
    assert all(inner or not allows(outer) for outer in wrapped)


def test_allowed_networks_open_exactly_what_they_name() -> None:
    """A setting opens its network, in plain and mapped form, and nothing that tunnels to it."""
    local = (ip_network("127.0.0.1/32"), ip_network("fd00::/8"))
    assert allows(ip_address("127.0.0.1"), local)
    assert allows(ip_address("::ffff:127.0.0.1"), local)
    assert allows(ip_address("fd00::7"), local)
    assert not allows(ip_address("127.0.0.2"), local)
    assert not allows(ip_address("64:ff9b::7f00:1"), local)
    assert not allows(ip_address("::127.0.0.1"), local)
    assert not allows(ip_address("10.0.0.1"), local)


@pytest.mark.parametrize(
    "host", ["example.test", "localhost", "a1", "1a", "0x7f.1.example", "cafe", "xn--bcher-kva.test"]
)
def test_names_are_left_to_the_resolver(host: str) -> None:
    """What no parser takes for an address is a name."""
    assert literal(host) is None


@pytest.mark.parametrize(
    "host",
    ["0x7f.1", "0x7f000001", "2130706433", "017700000001", "0177.0.0.1", "127.1", "127.0.1", "127.0.0.1.", "1.2.3.256",
     "1.2.3.4.5", "0", "::g", "[::1]", "1:2:3", "example.0x1", "example.1", "0X7F.1"],
)  # fmt: skip
def test_odd_notations_of_addresses_are_refused(host: str) -> None:
    """Decimal, octal, hexadecimal and shortened addresses never reach a resolver that would understand them."""
    with pytest.raises(AddressRefused):
        literal(host)


def info(address: str) -> AddressInfo:
    kind = socket.AF_INET6 if ":" in address else socket.AF_INET
    place = (address, 0, 0, 0) if ":" in address else (address, 0)
    return (kind, socket.SOCK_STREAM, 6, "", place)


@pytest.mark.parametrize("hidden", ["10.0.0.1", "169.254.169.254", "64:ff9b::a9fe:a9fe", "::1"])
async def test_one_refused_address_refuses_the_name(hidden: str) -> None:
    """A name whose answer mixes public and private addresses isn't called at all."""
    lookup, _ = answers([info("93.184.216.34"), info(hidden)])
    resolver = GuardedResolver((), lookup)
    with pytest.raises(AddressRefused):
        await resolver.resolve("mixed.test", 443)
    await resolver.close()


async def test_a_name_without_addresses_is_an_error() -> None:
    """An empty answer is a failed look-up, not an empty success."""
    lookup, _ = answers([])
    resolver = GuardedResolver((), lookup)
    with pytest.raises(OSError, match="no address"):
        await resolver.resolve("empty.test", 443)
    await resolver.close()


async def test_the_systems_resolver_is_judged_too() -> None:
    """`localhost` is refused by what it resolves to, without a list of names."""
    resolver = GuardedResolver()
    with pytest.raises(AddressRefused):
        await resolver.resolve("localhost", 80)
    await resolver.close()


def test_the_socket_is_the_last_judge() -> None:
    """Whatever way an address took, no socket is made for a refused one."""
    resolver = GuardedResolver()
    with pytest.raises(AddressRefused):
        resolver.open_socket(info("127.0.0.1"))
    resolver.open_socket(info("93.184.216.34")).close()
