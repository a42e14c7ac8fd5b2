"""What sessions need of a scheduler, for tests of sessions alone."""

from collections.abc import Sequence

from repave_protos.protocol.values import ApplicationName, DesiredState, Hello, Notice, RegionName


class QuietListener:
    """Takes everything and wants nothing anywhere; a test overrides what it is about."""

    async def before_greeting(self) -> None:
        pass

    def greet(self, hello: Hello, *, is_elsewhere: bool = False) -> None:
        pass

    def desired_for(self, region: RegionName) -> Sequence[DesiredState]:
        return ()

    def applications_in(self, region: RegionName) -> tuple[ApplicationName, ...] | None:
        return None

    def region_changed(self, region: RegionName, applications: set[ApplicationName]) -> None:
        pass

    def notices(self, region: RegionName, notices: Sequence[Notice]) -> None:
        pass
