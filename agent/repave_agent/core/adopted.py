"""Says which hosts of an adopted group this agent takes in. Pure.

They were there before repave. None is made, and none is ended: they are probed, put behind the balancer, and
let go. What became of them otherwise is known to no provider.
"""

from collections.abc import Collection, Iterator

from repave_agent.core.host_records import Record
from repave_agent.core.ports import Structure
from repave_protos.protocol.values import ApplicationName, DesiredGroup, HostName


def taken_in(
    group: DesiredGroup,
    application: ApplicationName,
    there: Collection[HostName],
    verified: Collection[HostName],
    structure: Structure | None,
    now: float,
) -> Iterator[Record]:
    """The records of hosts that are to be taken in beside those that are `there`: up to `count`, and at the
    first look of an agent's life (with a `structure`) also those that the balancer has: they are let go in
    order, not forgotten. `verified`: those that the journal names."""
    backend = structure.backend(group.name) if structure is not None else None
    behind = {server.host for server in backend.servers} if backend is not None else set()
    missing = group.count - len(there)
    for ordinal, given in enumerate(group.given, start=1):
        name = HostName(f"{group.name}-{ordinal}")
        if name in there or not (name in behind or missing > 0):
            continue
        missing -= 1
        record = Record(name, group.name, application, group.digest, given.port, now, now)
        record.address, record.is_adopted = given.address, True
        record.was_verified = name in verified
        yield record
