"""The balancer that is a load balancer of OpenStack: what it is called, takes and can do."""

from repave_agent.clients.openstack import CloudOptions
from repave_agent.kinds import BalancerKind, OwnedBalancer, Site
from repave_protos.protocol.capabilities import BalancerAbilities

ABILITIES = BalancerAbilities(
    share_step_bp=100, supports_sticky_split=False, has_tunnel_timeout=False, can_be_taken_over=True
)


class OctaviaOptions(CloudOptions):
    """An empty `cloud`: that of [openstack]."""

    load_balancer: str = ""
    subnet: str = ""
    traffic_address: str = ""


def _build(options: OctaviaOptions, site: Site) -> OwnedBalancer:
    # Only where it is used: aiohttp takes a tenth of a second to import.
    from repave_agent.balancers.cloud.balancer import CloudBalancer
    from repave_agent.balancers.octavia.load_balancer import OctaviaLoadBalancer
    from repave_agent.clients.openstack.api import Api
    from repave_agent.clients.openstack.login import cloud_of

    cloud = cloud_of(options if options.cloud else _as_openstack(options, site))
    api = Api(cloud, site.clock, site.tenancy.check)
    return CloudBalancer(
        site.settings.state / "octavia",
        OctaviaLoadBalancer(api, options.load_balancer, clock=site.clock, subnet=options.subnet),
        site.region,
        clock=site.clock,
        traffic_address=options.traffic_address,
        has_lease=lambda: site.tenancy.has_lease,
    )


def _as_openstack(options: OctaviaOptions, site: Site) -> CloudOptions:
    """What [openstack] says of the cloud, but for what is said here."""
    usual = site.settings.section("openstack", CloudOptions)
    said = {name: getattr(options, name) for name in CloudOptions.model_fields}
    return usual.model_copy(update={name: value for name, value in said.items() if value})


BALANCER = BalancerKind("octavia", OctaviaOptions, _build, lambda _: ABILITIES)
