"""What an operator can set about the region's records in DNS: at which service, under which names, with which
addresses."""

import ipaddress
import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from repave_agent.clients.aws import AmazonOptions
from repave_agent.clients.openstack import CloudOptions
from repave_protos.daemon.settings import Pairs, Settings, Words
from repave_protos.protocol.capabilities import RecordAbilities

_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
NAME_LENGTH_MAX = 200
APPLICATION = "{application}"
ANY = "*"
WEIGHTED = ("route53", "cloud_dns")
"""Services whose records may have weights."""
CLOUD_DNS_ENDPOINT = "https://dns.googleapis.com"


class Rfc2136Options(Settings):
    """`server`: the zone's primary, HOST or HOST:PORT. `key_file`: a TSIG key, as tsig-keygen prints it."""

    server: str = ""
    key_file: Path | None = None
    timeout_seconds: Annotated[float, Field(gt=0, le=60)] = 5.0


class CloudDnsOptions(Settings):
    """As of [gcp]. `project`: that of the zone."""

    project: str = ""
    credentials: Path | None = None
    endpoint: str = CLOUD_DNS_ENDPOINT
    calls_per_second: Annotated[float, Field(ge=0.0, le=1000.0)] = 10.0


class DnsOptions(Settings):
    """`kind` "": this region keeps no records. `zone`: its name; of route53 the id of the hosted zone, of
    cloud_dns the name of the managed zone. `names`: of applications; that of `*` holds for the others.
    `addresses`: of this region; its balancer's when empty. `weight`: this region's share beside the others;
    0: each has the same."""

    kind: Literal["", "rfc2136", "route53", "cloud_dns", "designate"] = ""
    zone: str = ""
    names: Pairs = Field(default_factory=dict)
    addresses: Words = ()
    ttl_seconds: Annotated[int, Field(ge=1, le=86_400)] = 60
    weight: Annotated[int, Field(ge=0, le=255)] = 0
    rfc2136: Rfc2136Options = Rfc2136Options()
    route53: AmazonOptions = AmazonOptions()
    cloud_dns: CloudDnsOptions = CloudDnsOptions()
    designate: CloudOptions = CloudOptions()

    @model_validator(mode="after")
    def _fits(self) -> "DnsOptions":
        if self.kind and (wrong := self._wrong()):
            raise ValueError("; ".join(wrong))
        return self

    def _wrong(self) -> list[str]:
        wrong = [] if self.zone else ["zone is not set"]
        wrong += (
            [] if self.names else [f"names is not set: write names = {{ '*' = '{APPLICATION}.example.com' }}"]
        )
        for application, name in self.names.items():
            shown = self._name(application, name, "a")
            if not is_name(shown):
                wrong.append(f"names.{application}: {name!r} is no name such as shop.example.com")
            elif self.kind in ("rfc2136", "designate") and not is_below(shown, self.zone):
                wrong.append(f"names.{application}: {name} is not in the zone {self.zone}")
            elif application == ANY and APPLICATION not in name:
                wrong.append(
                    f"names.{ANY}: {name} would be that of every application: write {APPLICATION} in it"
                )
        for address in self.addresses:
            wrong += [f"addresses: {why}" for why in self._wrong_address(address)]
        if self.weight and self.kind not in WEIGHTED:
            wrong.append(f"weight: {self.kind} has no weights: each region has the same share")
        if self.kind == "rfc2136":
            wrong += [] if self.rfc2136.server else ["rfc2136.server is not set"]
            wrong += [] if self.rfc2136.key_file else ["rfc2136.key_file is not set: tsig-keygen makes a key"]
        return wrong

    def _wrong_address(self, address: str) -> list[str]:
        try:
            found = ipaddress.ip_address(address)
        except ValueError:
            if self.kind != "route53":
                return [f"{address!r} is no IP address; a name can stand there with route53 only"]
            if len(self.addresses) > 1:
                return [f"{address}: a name stands alone"]
            return [] if is_name(address) else [f"{address!r} is neither an IP address nor a name"]
        return [f"{address} is nowhere"] if found.is_unspecified or found.is_multicast else []

    @staticmethod
    def _name(key: str, name: str, application: str) -> str:
        return name.replace(APPLICATION, application if key == ANY else key).rstrip(".").lower()

    def name_of(self, application: str) -> str:
        """What clients of it look up; "": it has no record."""
        key = application if application in self.names else ANY
        name = self._name(key, self.names.get(key, ""), application)
        return name if is_name(name) else ""

    @property
    def abilities(self) -> RecordAbilities | None:
        """None: no records are kept."""
        is_weighted = self.kind == "route53" or bool(self.weight)
        return RecordAbilities(self.kind, self.ttl_seconds, is_weighted) if self.kind else None

    @property
    def private(self) -> tuple[Path, ...]:
        """Files of the agent's own that no host may see."""
        named = (self.rfc2136.key_file, self.cloud_dns.credentials)
        return tuple(path for path in named if path is not None)


def public_address(traffic_address: str) -> tuple[str, ...]:
    """What a balancer says of where clients reach it, where that can stand in DNS."""
    try:
        found = ipaddress.ip_address(traffic_address)
    except ValueError:
        return ()
    return () if found.is_unspecified else (traffic_address,)


def is_name(text: str) -> bool:
    labels = text.split(".")
    return len(text) <= NAME_LENGTH_MAX and len(labels) > 1 and all(map(_LABEL.fullmatch, labels))


def is_below(name: str, zone: str) -> bool:
    zone = zone.rstrip(".").lower()
    return name == zone or name.endswith(f".{zone}")
