"""What an operator can set about the balancer that the agent runs."""

from typing import Annotated, Literal

from pydantic import Field

from repave_protos.daemon.settings import Settings


class HaproxyOptions(Settings):
    """`traffic_address` is where clients connect. `processes` share it; while one is down the other serves.

    After a reload, and each new group costs one, an old worker lives until its last connection has ended, or
    `old_connections_hours` at most.

    `connections` of clients are taken by each process, 0: as many as the limit of open files allows;
    `connections_per_application` of them, 0: three quarters, so that one does not starve the others;
    `connections_per_client` from one address, 0: without limit.
    """

    program: str = "haproxy"
    traffic_address: str = "127.0.0.1"
    redispatch: bool = True
    processes: Literal[1, 2] = 2
    old_connections_hours: Annotated[float, Field(gt=0, le=24 * 30)] = 24.0
    connections: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    connections_per_application: Annotated[int, Field(ge=0)] = 0
    connections_per_client: Annotated[int, Field(ge=0)] = 0
    header_seconds: Annotated[float, Field(gt=0, le=3600)] = 10.0
