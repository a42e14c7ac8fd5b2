"""Who is at the other end of a connection, for bounds that one peer alone must not use up."""

import ipaddress

PREFIX_OF_ONE = 64
"""So many bits of an address of IPv6 are one network, whose addresses one machine can take at will."""


def peer_of(address: str) -> str:
    """The address, or its network of IPv6; "" for this machine, which is never one peer alone: tunnels and
    proxies end here."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:  # a Unix socket
        return ""
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    found = mapped or found
    if found.is_loopback:
        return ""
    if isinstance(found, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((found, PREFIX_OF_ONE), strict=False))
    return str(found)
