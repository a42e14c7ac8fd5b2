"""What people are told of one host, whether it runs, is left over or is gone."""

from typing import Protocol

from repave_protos.protocol.values import ApplicationName, Digest, GroupName, HostDetail, HostName, HostPhase


class Placed(Protocol):
    """A host as records, providers and remains know it."""

    @property
    def name(self) -> HostName: ...
    @property
    def group(self) -> GroupName: ...
    @property
    def application(self) -> ApplicationName: ...
    @property
    def address(self) -> str: ...
    @property
    def port(self) -> int: ...
    @property
    def digest(self) -> Digest: ...


def detail_of(
    host: Placed,
    phase: HostPhase,
    trouble: str,
    age_seconds: float,
    healthy_seconds: float = 0.0,
    log_tail: str = "",
    orphan: str = "",
    unclaimed_seconds: float = 0.0,
    gone_at: float = 0.0,
    public_address: str = "",
) -> HostDetail:
    return HostDetail(
        host=host.name,
        group=host.group,
        application=host.application,
        phase=phase,
        address=host.address,
        port=host.port,
        digest=host.digest,
        age_seconds=age_seconds,
        healthy_seconds=healthy_seconds,
        trouble=trouble,
        log_tail=log_tail,
        orphan=orphan,
        unclaimed_seconds=unclaimed_seconds,
        gone_at=gone_at,
        public_address=public_address,
    )
