"""The balancer that is a load balancer of OpenStack: what it is called, takes and can do."""

from collections.abc import Sequence
from typing import Annotated

from pydantic import BeforeValidator, Field, field_validator, model_validator

from repave_agent.clients.openstack import CloudOptions
from repave_agent.kinds import BalancerKind, OwnedBalancer, Site
from repave_agent.settings import Words, words_of
from repave_protos.protocol.capabilities import BalancerAbilities
from repave_protos.protocol.values import GivenHost

ABILITIES = BalancerAbilities(
    share_step_bp=100,
    supports_sticky_split=False,
    has_tunnel_timeout=False,
    can_be_taken_over=True,
    fronts=("http", "tcp", "several", "to"),
)


Port = Annotated[int, Field(ge=1, le=65_535)]
Ports = Annotated[tuple[Port, ...], BeforeValidator(words_of)]


class OctaviaOptions(CloudOptions):
    """An empty `cloud`: that of [openstack]. `default_tls_container_ref`: Barbican's reference of the
    certificate of listeners at `tls_ports`; `sni_container_refs`: those of others, by the name asked for."""

    load_balancer: str = ""
    subnet: str = ""
    traffic_address: str = ""
    default_tls_container_ref: str = ""
    sni_container_refs: Words = ()
    tls_ports: Ports = (443,)

    @field_validator("default_tls_container_ref", "sni_container_refs")
    @classmethod
    def _refers(cls, given: str | tuple[str, ...]) -> str | tuple[str, ...]:
        for each in (given,) if isinstance(given, str) else given:
            if each and not each.startswith(("https://", "http://")):
                raise ValueError(
                    "write Barbican's reference: https://HOST/v1/secrets/ID or .../containers/ID"
                )
        return given

    @model_validator(mode="after")
    def _has_default(self) -> "OctaviaOptions":
        if self.sni_container_refs and not self.default_tls_container_ref:
            raise ValueError("octavia.sni_container_refs needs octavia.default_tls_container_ref beside it")
        return self


def _build(options: OctaviaOptions, site: Site) -> OwnedBalancer:
    # Only where it is used: aiohttp takes a tenth of a second to import.
    from repave_agent.balancers.by_front import BalancerByFront
    from repave_agent.balancers.cloud.balancer import CloudBalancer
    from repave_agent.balancers.octavia.load_balancer import OctaviaLoadBalancer
    from repave_agent.balancers.octavia.model import Tls
    from repave_agent.clients.openstack.api import Api
    from repave_agent.clients.openstack.login import cloud_of

    cloud = cloud_of(options if options.cloud else _as_openstack(options, site))
    api = Api(cloud, site.clock, site.tenancy.check)
    reference, others = options.default_tls_container_ref, options.sni_container_refs
    tls = dict.fromkeys(options.tls_ports, Tls(reference, others)) if reference else {}
    return BalancerByFront(
        CloudBalancer(
            site.settings.state / "octavia",
            OctaviaLoadBalancer(api, options.load_balancer, clock=site.clock, subnet=options.subnet, tls=tls),
            site.region,
            clock=site.clock,
            traffic_address=options.traffic_address,
            has_lease=lambda: site.tenancy.has_lease,
            takes=ABILITIES.fronts,
        )
    )


def _as_openstack(options: OctaviaOptions, site: Site) -> CloudOptions:
    """What [openstack] says of the cloud, but for what is said here."""
    usual = site.settings.section("openstack", CloudOptions)
    said = {name: getattr(options, name) for name in CloudOptions.model_fields}
    return usual.model_copy(update={name: value for name, value in said.items() if value})


async def _pool(options: OctaviaOptions, site: Site, name: str) -> Sequence[GivenHost]:
    from repave_agent.clients.openstack.api import Api
    from repave_agent.clients.openstack.fleets import members_of
    from repave_agent.clients.openstack.login import cloud_of

    api = Api(cloud_of(options if options.cloud else _as_openstack(options, site)), site.clock)
    try:
        return await members_of(api, name)
    finally:
        await api.close()


BALANCER = BalancerKind("octavia", OctaviaOptions, _build, lambda _: ABILITIES, fleets={"octavia": _pool})
