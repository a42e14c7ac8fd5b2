"""What is due is written once the store is there, as it is by then: over a log that fails meanwhile."""

from collections.abc import Callable, Collection, Sequence

import pytest

from repave_controller.core.ports import StoreError
from repave_controller.peers.ports import RegionRow, Reported, ReportRow
from repave_controller.peers.reports import Gone, Local, Reports, Said, Standing
from repave_protos.protocol.values import Hello, RegionName

OSLO = RegionName("oslo")


class FailingOnce:
    """Implements ReportLog. Before it fails, `meanwhile` happens."""

    def __init__(self, meanwhile: Callable[[], None]) -> None:
        self.meanwhile: Callable[[], None] | None = meanwhile
        self.written: list[RegionRow] = []

    async def next_session(self) -> int:
        return 1

    async def report(
        self, regions: Sequence[RegionRow], reports: Sequence[ReportRow]
    ) -> Collection[RegionName]:
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile is not None:
            meanwhile()
            raise StoreError("away")
        self.written = list(regions)
        return ()

    async def reported(self, after: int) -> Reported:
        return Reported(after)


class OneRegion:
    """Implements Fleet."""

    def __init__(self) -> None:
        self.session: int | None = 1

    def local(self, region: RegionName) -> Local | None:
        if self.session is None:
            return None
        return Local(
            self.session, True, 0.0, Hello(region, 2, "0", "command", "haproxy"), (), False, None, None, {}
        )

    def locals(self) -> Collection[RegionName]:
        return () if self.session is None else (OSLO,)

    async def before_hearing(self) -> None: ...

    def hear(self, standings: Sequence[Standing | Gone], said: Sequence[Said]) -> None: ...


@pytest.mark.parametrize(
    ("is_forgotten_first", "session", "is_there"),
    [
        pytest.param(False, 1, False, id="told, and forgotten while the store failed"),
        pytest.param(True, 2, True, id="forgotten, and back while the store failed"),
    ],
)
async def test_a_region_that_goes_or_returns_while_the_store_fails_is_written_as_it_is(
    *, is_forgotten_first: bool, session: int, is_there: bool
) -> None:
    fleet = OneRegion()

    def forget() -> None:
        fleet.session = None
        reports.forget(OSLO, 1)

    def tell() -> None:
        fleet.session = session
        reports.tell(OSLO, ())

    first, then = (forget, tell) if is_forgotten_first else (tell, forget)
    log = FailingOnce(then)
    reports = Reports(log, "ann", "ann-1", fleet)
    first()
    with pytest.raises(StoreError):
        await reports.write()
    await reports.write()
    assert [(row.session, bool(row.body)) for row in log.written] == [(session, is_there)]
