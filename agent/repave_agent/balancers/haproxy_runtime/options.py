"""What settings say of an operator's own HAProxy."""

from pathlib import Path

from repave_agent.settings import Words
from repave_protos.daemon.settings import Settings

COMMAND_USAGE = "snippet APP:PORT... | check"


class HaproxyRuntimeOptions(Settings):
    """`sockets`: paths, host:port, ssh://user@host/path. An empty `map`: there is none, and groups share by
    weights."""

    sockets: Words = ()
    map: str = "/etc/haproxy/repave.map"
    traffic_address: str = "127.0.0.1"
    key: Path = Path("/etc/repave/haproxy-key")
    known_hosts: Path = Path("/etc/repave/known_hosts")
