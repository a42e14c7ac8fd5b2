"""What agents report, in the store in memory that several controllers share."""

from collections.abc import Collection, Sequence

from repave_controller.peers.ports import RegionRow, Reported, ReportRow
from repave_protos.protocol.values import RegionName
from repave_simulation.tiers.shared_shelf import SharedShelf
from repave_simulation.tiers.store import MemoryStore


class ReportsInMemory(MemoryStore):
    """Implements peers.ports.ReportLog."""

    shelf: SharedShelf

    async def next_session(self) -> int:
        self._check()
        self.shelf.sessions_given += 1
        return self.shelf.sessions_given

    async def report(
        self, regions: Sequence[RegionRow], reports: Sequence[ReportRow]
    ) -> Collection[RegionName]:
        self._check()
        shelf = self.shelf
        shelf.report_change += 1
        sessions = {name: row.session for name, (_, row) in shelf.regions.items()}
        told = [(row.region, row.session) for row in regions]
        told += [(report.region, report.session) for report in reports]
        refused = {region for region, session in told if session < sessions.get(region, 0)}
        for row in regions:
            if row.region not in refused:
                self._put_region(row)
        for report in reports:
            if report.region not in refused:
                shelf.reports[report.region, report.application] = (shelf.report_change, report)
        shelf.hint()
        return refused

    def _put_region(self, row: RegionRow) -> None:
        """What an older session reported is gone."""
        shelf = self.shelf
        shelf.regions[row.region] = (shelf.report_change, row)
        shelf.reports = {
            key: kept
            for key, kept in shelf.reports.items()
            if key[0] != row.region or kept[1].session >= row.session
        }

    async def reported(self, after: int) -> Reported:
        self._check()
        shelf = self.shelf
        return Reported(
            shelf.report_change,
            tuple(row for change, row in shelf.regions.values() if change > after),
            tuple(row for change, row in shelf.reports.values() if change > after),
            is_whole=after < shelf.reports_begun_at,
        )


def lose_reports(shelf: SharedShelf) -> None:
    """As a database that crashed."""
    shelf.regions.clear()
    shelf.reports.clear()
    shelf.report_change += 1
    shelf.reports_begun_at = shelf.report_change
    shelf.hint()
