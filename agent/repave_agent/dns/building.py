"""Makes what keeps the region's records at the service that the agent's settings name."""

import random
from collections.abc import Callable

from repave_agent.core.ports import Clock, Records, RefusedError
from repave_agent.dns.options import DnsOptions


def make_records(
    options: DnsOptions,
    region: str,
    installation: Callable[[], str],
    clock: Clock,
    check: Callable[[], None],
) -> Records | None:
    """None: this region keeps none. `check` raises NotActingError, before each call that changes something.
    Raises ProviderError: what the service needs is not installed, or its credentials can't be read."""
    # Each only where it is used: an agent may lack its extra.
    match options.kind:
        case "rfc2136":
            from repave_agent.dns.rfc2136 import Rfc2136Records

            return Rfc2136Records(region, installation, options.rfc2136, options.zone, options.ttl_seconds)
        case "route53":
            from repave_agent.clients.aws.service import Route53
            from repave_agent.dns.route53 import Route53Records

            route53 = Route53(options.route53, check=check)
            zone, ttl_seconds = options.zone, options.ttl_seconds
            return Route53Records(region, installation, route53, zone, ttl_seconds, options.weight)
        case "cloud_dns":
            return _cloud_dns(options, region, installation, clock, check)
        case "designate":
            from repave_agent.clients.openstack.api import Api
            from repave_agent.clients.openstack.login import cloud_of
            from repave_agent.dns.designate import DesignateRecords

            api = Api(cloud_of(options.designate), clock, check)
            return DesignateRecords(region, installation, api, options.zone, options.ttl_seconds)
        case "":
            return None


def _cloud_dns(
    options: DnsOptions,
    region: str,
    installation: Callable[[], str],
    clock: Clock,
    check: Callable[[], None],
) -> Records:
    from repave_agent.clients.gcp.login import fetch_of, find_credentials
    from repave_agent.clients.rest import Pace, Rest, SharedToken
    from repave_agent.dns.cloud_dns import CloudDnsRecords, fault_of

    google = options.cloud_dns
    found = find_credentials(google.credentials)
    project = google.project or found.project
    if not project:
        raise RefusedError("dns.cloud_dns.project is not set, and the credentials name none")
    rest = Rest(
        SharedToken(fetch_of(found, clock), clock),
        fault_of,
        clock,
        Pace(google.calls_per_second, clock),
        chance=random.Random(),  # noqa: S311  # spreads retries
        service="Google",
        check=check,
    )
    url = f"{google.endpoint.rstrip('/')}/dns/v1/projects/{project}/managedZones/{options.zone}"
    return CloudDnsRecords(region, installation, rest, url, options.ttl_seconds, options.weight)
