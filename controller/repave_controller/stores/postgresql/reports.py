"""What agents report, in tables that are not logged: PostgreSQL empties them when it crashes, and then
controllers write all of it anew."""

from collections.abc import Collection, Sequence

from repave_controller.peers.ports import RegionRow, Reported, ReportRow
from repave_controller.stores.postgresql.connection import Database, Row
from repave_protos.protocol.values import ApplicationName, RegionName

_REPORT = "SELECT * FROM repave.report_1($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)"
_COUNTER = """SELECT c.change, l.begun_at FROM repave.report_counter c
    LEFT JOIN repave.report_life l ON l.one = c.one"""


class ReportTables:
    """Implements peers.ports.ReportLog."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def next_session(self) -> int:
        (row,) = await self._database.fetch("SELECT repave.next_session_1() AS session")
        return int(row["session"])

    async def report(
        self, regions: Sequence[RegionRow], reports: Sequence[ReportRow]
    ) -> Collection[RegionName]:
        found = await self._database.fetch(
            _REPORT,
            [each.region for each in regions],
            [each.controller for each in regions],
            [each.session for each in regions],
            [each.is_connected for each in regions],
            [each.since for each in regions],
            [each.body for each in regions],
            [each.region for each in reports],
            [each.application for each in reports],
            [each.session for each in reports],
            [each.body for each in reports],
        )
        return {RegionName(row["report_1"]) for row in found}

    async def reported(self, after: int) -> Reported:
        """Reports are read before regions: one of a session whose region was not read comes once more."""
        until, begun_at = await self._counter()
        if until == after:
            return Reported(until)
        reports = await self._database.fetch(
            "SELECT region, application, session, body FROM repave.reports WHERE change > $1", after
        )
        regions = await self._database.fetch(
            "SELECT region, controller, session, is_connected, since, body FROM repave.regions "
            "WHERE change > $1",
            after,
        )
        return Reported(
            until,
            tuple(map(_region, regions)),
            tuple(map(_report, reports)),
            is_whole=after < begun_at,
        )

    async def _counter(self) -> tuple[int, int]:
        """The newest change, and the first one that is there."""
        while True:
            (row,) = await self._database.fetch(_COUNTER)
            if row["begun_at"] is not None:
                return int(row["change"]), int(row["begun_at"])
            await self.report((), ())  # PostgreSQL has crashed, or is new


def _region(row: Row) -> RegionRow:
    return RegionRow(
        RegionName(row["region"]),
        row["controller"],
        row["session"],
        row["is_connected"],
        row["since"],
        row["body"],
    )


def _report(row: Row) -> ReportRow:
    return ReportRow(
        RegionName(row["region"]), ApplicationName(row["application"]), row["session"], row["body"]
    )
