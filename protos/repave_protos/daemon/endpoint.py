"""An address with its port in one word, as URLs, HAProxy and people write it: [2001:db8::7]:8080."""


def endpoint(address: str, port: int | str) -> str:
    """An address of IPv6 in brackets; any other as it is. Port 0: none, the address alone."""
    if port == 0:
        return address
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def host_of(listen: str) -> tuple[str, int]:
    """The address and the port of such a word; brackets are left out."""
    host, _, port = listen.rpartition(":")
    return host.removeprefix("[").removesuffix("]"), int(port)
