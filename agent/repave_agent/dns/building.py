"""Makes what keeps the region's records at the service that the agent's settings name."""

from collections.abc import Callable

from repave_agent.core.ports import Clock, Records
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
        case _:
            return None
