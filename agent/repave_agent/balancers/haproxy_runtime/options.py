"""What settings say of an operator's own HAProxy."""

from pathlib import Path

from repave_agent.settings import Words
from repave_protos.daemon.settings import Settings

COMMAND_USAGE = "snippet APP[.FRONT]:PORT[:tcp|:grpc][:else=BACKEND]... | check"
PROTOCOLS = ("http", "grpc", "tcp")
FRONTS = (*PROTOCOLS, "several", "to")
"""What fronts may need; all else of them is in the operator's configuration."""


class HaproxyRuntimeOptions(Settings):
    """`sockets`: paths, host:port, ssh://user@host/path. An empty `map`: there is none, and groups share by
    weights. `backends`: the file of its configuration with the backends for repave; what they have is kept
    there, and the routes in the map's file, for the next reload."""

    sockets: Words = ()
    map: str = "/etc/haproxy/repave.map"
    backends: str = "/etc/haproxy/repave.cfg"
    traffic_address: str = "127.0.0.1"
    key: Path = Path("/etc/repave/haproxy-key")
    known_hosts: Path = Path("/etc/repave/known_hosts")
