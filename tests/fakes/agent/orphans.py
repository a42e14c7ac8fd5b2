"""A host that nobody wants, as its region tells of it."""

from repave_protos.protocol.values import ApplicationName, Digest, GroupName, HostDetail, HostName, HostPhase


def an_orphan(number: int = 1, unclaimed_seconds: float = 6.0) -> HostDetail:
    return HostDetail(
        HostName(f"ghost-v001-{number}"),
        GroupName("ghost-v001"),
        ApplicationName("ghost"),
        HostPhase.STARTING,
        "127.81.0.9",
        8080,
        Digest("d" * 64),
        7_200.04,
        0.0,
        orphan="seen once, looked at again in 4 s",
        unclaimed_seconds=unclaimed_seconds,
    )
