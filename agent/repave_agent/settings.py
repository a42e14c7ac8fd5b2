"""The settings of a region's agent: /etc/repave/agent.toml, REPAVE_AGENT_* and their defaults."""

import ipaddress
import shlex
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from repave_protos.daemon.logs import LogFormat
from repave_protos.daemon.settings import Address, Settings, named_in_environment


def _loopback_range(text: str) -> str:
    network = ipaddress.ip_network(text)
    if not network.is_loopback or network.version != 4:
        raise ValueError("write a part of 127.0.0.0/8, such as 127.80.0.0/16")
    return text


def _words(given: object) -> object:
    """A command may be a list of words, or a line that is split as a shell does; no shell ever runs it."""
    return tuple(shlex.split(given)) if isinstance(given, str) else given


Command = Annotated[tuple[str, ...], BeforeValidator(_words)]


def _pairs(given: object) -> object:
    """Pairs may be a table, or a line such as "team=shop tier=web"."""
    if not isinstance(given, str):
        return given
    words = [word.partition("=") for word in shlex.split(given)]
    if not all(sign for _, sign, _ in words):
        raise ValueError("write pairs such as team=shop tier=web")
    return {name: value for name, _, value in words}


Pairs = Annotated[dict[str, str], BeforeValidator(_pairs)]


class LocalSettings(Settings):
    """The provider whose hosts are processes of this machine."""

    addresses: Annotated[str, AfterValidator(_loopback_range)] = "127.80.0.0/16"
    isolation: Literal["auto", "bwrap", "none"] = "auto"
    stop_grace_seconds: Annotated[float, Field(ge=0, le=3600)] = 2.0


class ResetSettings(Settings):
    """How a machine of the pool is made anew, and what proves it."""

    command: Command = ()
    remote: Command = ()
    proof: Literal["boot-id", "host-key", "marker"] = "boot-id"
    marker: str = ""
    seconds: Annotated[float, Field(ge=1, le=1500)] = 900.0

    @model_validator(mode="after")
    def _has_a_marker(self) -> "ResetSettings":
        if self.proof == "marker" and not self.marker.startswith("/"):
            raise ValueError("with proof: marker, name the file in marker, such as /run/repave-reset")
        return self


class SshPoolSettings(Settings):
    """The provider whose hosts are machines that are there already, reached over SSH."""

    inventory: Path = Path("/etc/repave/pool.yaml")
    user: str = "root"
    key: Path = Path("/etc/repave/pool-key")
    port: Annotated[int, Field(ge=1, le=65535)] = 22
    host_keys: Literal["pinned", "first-use"] = "pinned"
    known_hosts: Path | None = None
    root: Annotated[str, Field(pattern=r"^/[A-Za-z0-9._/-]*[A-Za-z0-9]$")] = "/var/lib/repave/host"
    parallel: Annotated[int, Field(ge=1, le=200)] = 10
    unreachable_seconds: Annotated[float, Field(ge=1, le=3600)] = 60.0
    stop_grace_seconds: Annotated[float, Field(ge=0, le=3600)] = 5.0
    reset: ResetSettings = ResetSettings()


class OpenstackSettings(Settings):
    """The provider whose hosts are servers of an OpenStack project."""

    cloud: str = ""
    flavor: str = ""
    image: str = ""
    image_hash: str = ""
    network: str = ""
    security_groups: Command = ()
    availability_zones: Command = ()
    key_name: str = ""
    metadata: Pairs = Field(default_factory=dict)
    prepare: str = ""
    spreads: bool = True
    config_drive: bool = True


class PackagesSettings(Settings):
    """Where hosts of a cloud fetch their packages from their agent."""

    listen: Address = "127.0.0.1:7480"
    url: str = ""


class HaproxySettings(Settings):
    """The balancer that the agent runs. `traffic_address` is where clients connect."""

    program: str = "haproxy"
    traffic_address: str = "127.0.0.1"
    redispatch: bool = True


class HaproxyRuntimeSettings(Settings):
    """The balancer that is an operator's own HAProxy. `sockets`: paths, host:port, ssh://user@host/path.
    An empty `map`: there is none, and groups share by weights."""

    sockets: Command = ()
    map: str = "/etc/haproxy/repave.map"
    traffic_address: str = "127.0.0.1"
    key: Path = Path("/etc/repave/haproxy-key")
    known_hosts: Path = Path("/etc/repave/known_hosts")


class OctaviaSettings(Settings):
    """The balancer that is a load balancer of OpenStack. `cloud`: as in [openstack] when it is not set."""

    load_balancer: str = ""
    cloud: str = ""
    subnet: str = ""
    traffic_address: str = ""


class LimitSettings(Settings):
    """Bounds of what the agent does at once."""

    launches_in_flight: Annotated[int, Field(ge=1, le=1000)] = 20
    launches_per_minute: Annotated[int, Field(ge=1, le=10_000)] = 1000
    orphan_grace_seconds: Annotated[float, Field(ge=1, le=86_400)] = 10.0
    inspect_seconds: Annotated[float, Field(ge=0.1, le=86_400)] = 300.0


class AgentSettings(Settings):
    """`state` holds all that the agent knows and makes: journal, packages, hosts, the balancer's files."""

    region: Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=48)]
    controller: Address = "127.0.0.1:7443"
    state: Path = Field(
        Path("/var/lib/repave/agent"), json_schema_extra=named_in_environment("STATE_DIRECTORY")
    )
    provider: Literal["local", "ssh_pool", "openstack"] = "local"
    local: LocalSettings = LocalSettings()
    ssh_pool: SshPoolSettings = SshPoolSettings()
    openstack: OpenstackSettings = OpenstackSettings()
    packages: PackagesSettings = PackagesSettings()
    balancer: Literal["haproxy", "haproxy_runtime", "octavia"] = "haproxy"
    haproxy: HaproxySettings = HaproxySettings()
    haproxy_runtime: HaproxyRuntimeSettings = HaproxyRuntimeSettings()
    octavia: OctaviaSettings = OctaviaSettings()
    limits: LimitSettings = LimitSettings()
    log: LogFormat = "json"
