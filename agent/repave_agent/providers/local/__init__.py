"""The provider whose hosts are processes of this machine: what it is called and takes."""

import ipaddress
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from repave_agent.kinds import OwnedProvider, ProviderKind, Site
from repave_protos.daemon.settings import Settings
from repave_protos.protocol.capabilities import ProviderAbilities


def _loopback_range(text: str) -> str:
    network = ipaddress.ip_network(text)
    if not network.is_loopback or network.version != 4:
        raise ValueError("write a part of 127.0.0.0/8, such as 127.80.0.0/16")
    return text


def _private_range(text: str) -> str:
    network = ipaddress.ip_network(text)
    if network.is_loopback or not network.is_private or network.version != 4:
        raise ValueError("write a private range that no other machine has, such as 10.83.0.0/16")
    return text


class LocalOptions(Settings):
    addresses: Annotated[str, AfterValidator(_loopback_range)] = "127.80.0.0/16"
    network: Literal["machine", "own"] = "machine"
    own_addresses: Annotated[str, AfterValidator(_private_range)] = "10.83.0.0/16"
    isolation: Literal["auto", "bwrap", "none"] = "auto"
    stop_grace_seconds: Annotated[float, Field(ge=0, le=3600)] = 2.0


def _build(options: LocalOptions, site: Site) -> OwnedProvider:
    from repave_agent.providers.local.provider import LocalProvider  # only where hosts are local

    return LocalProvider(
        site.settings.state,
        region=site.region,
        installation=site.installation,
        clock=site.clock,
        address_range=options.addresses if options.network == "machine" else options.own_addresses,
        has_networks=options.network == "own",
        isolation=options.isolation,
        stop_grace_seconds=options.stop_grace_seconds,
        private=(
            *site.settings.secrets.private,
            *site.settings.dns.private,
            *site.settings.certificates.private,
        ),
    )


PROVIDER = ProviderKind(
    "local", LocalOptions, _build, abilities=ProviderAbilities(takes_secrets=True, runs_jobs=True)
)
