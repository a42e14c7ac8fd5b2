"""Which addresses the controller may fetch from: public ones, and those that its settings allow.

A deployer says what is fetched, and the controller stands where a deployer does not: beside databases, with a
cloud's metadata service at hand. Decides only; fetching.py looks names up, and connects to what was judged.
"""

import ipaddress
from dataclasses import dataclass
from fnmatch import fnmatchcase

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_METADATA = (ipaddress.ip_address("169.254.169.254"), ipaddress.ip_address("fd00:ec2::254"))
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_LINK_LOCAL = tuple(map(ipaddress.ip_network, ("169.254.0.0/16", "fe80::/10")))


@dataclass(frozen=True, slots=True)
class Allowed:
    """Hosts, by globs, and networks that may be fetched from though they are private. A host that is named
    may have any address but one of a link, where a cloud's metadata is; that takes its network."""

    hosts: tuple[str, ...] = ()
    networks: tuple[Network, ...] = ()


def allowed_of(words: str) -> Allowed:
    """Of settings: names, globs such as `*.corp.example`, addresses and networks. Raises ValueError."""
    hosts, networks = [], []
    for word in words.split():
        try:
            networks.append(ipaddress.ip_network(word))
        except ValueError:
            if not word.strip("*.") or any(sign in word for sign in "/:@"):
                raise ValueError(f"{word}: name a host, *.domain, an address or a network") from None
            hosts.append(word.lower())
    return Allowed(tuple(hosts), tuple(networks))


def objection(host: str, address: str, allowed: Allowed) -> str:
    """Why nothing may be fetched from this address of `host`; "": it may."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return f"{address} is no address"
    reached = _reached(found)
    if any(each in network for each in (found, reached) for network in allowed.networks):
        return ""
    if is_public(reached) and is_public(found):
        return ""
    is_named = any(fnmatchcase(host.lower().rstrip("."), glob) for glob in allowed.hosts)
    if is_named and not _is_of_link(reached):
        return ""
    return f"{host} is {address}, which is private"


def is_public(address: Address) -> bool:
    """Whether anyone on the internet could be meant, and no group of machines."""
    reached = _reached(address)
    if reached != address:
        return is_public(reached)
    is_local = isinstance(address, ipaddress.IPv6Address) and address.is_site_local
    return address.is_global and not (
        address.is_multicast or address.is_reserved or address.is_unspecified or is_local
    )


def _is_of_link(address: Address) -> bool:
    return address in _METADATA or any(address in network for network in _LINK_LOCAL)


def _reached(address: Address) -> Address:
    """Where packets go in the end: IPv4 inside IPv6 is IPv4."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    inner = address.ipv4_mapped or address.sixtofour
    if inner is not None:
        return inner
    if address.teredo is not None:
        return address.teredo[1]
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address
