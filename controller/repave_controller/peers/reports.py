"""Tells other controllers what the agents of this one report, and hears what theirs do, through the store.

The first change is written at once, what follows within a window together: one row for a region, and one for
each application of it that changed. A row that is lost or late costs a look, never a wrong decision: owners
decide on what is reported, and what agents do is bounded by epochs.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import structlog
from pydantic import TypeAdapter, ValidationError

from repave_controller.core.ports import StoreError
from repave_controller.peers.ports import ControllerId, RegionRow, Reported, ReportLog, ReportRow
from repave_protos.protocol import wire
from repave_protos.protocol.certificates import AgentIdentity
from repave_protos.protocol.values import (
    ApplicationName,
    ApplicationReport,
    Hello,
    Observations,
    RegionName,
    Report,
)

WINDOW_SECONDS = 0.075
"""So long changes are gathered after others were written."""
POLL_SECONDS = 1.0
RETRY_SECONDS = 1.0
ROWS_MAX = 1000
"""That are written at once."""
_NOTHING = Observations().digest()
_IDENTITY = TypeAdapter(AgentIdentity | None)

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Standing:
    """How a region stands with its agent, as the controller tells that has its stream. `process` is another
    one each time that controller starts."""

    region: RegionName
    controller: ControllerId
    process: str
    session: int
    is_connected: bool
    since: float
    hello: Hello
    troubles: tuple[str, ...] = ()
    is_starting: bool = False
    clock_offset_seconds: float | None = None
    identity: AgentIdentity | None = None


@dataclass(frozen=True, slots=True)
class Gone:
    """The region was forgotten."""

    region: RegionName
    session: int


@dataclass(frozen=True, slots=True)
class Said:
    """What a region reports of an application; None: nothing any more."""

    region: RegionName
    session: int
    application: ApplicationName
    report: ApplicationReport | None


@dataclass(frozen=True, slots=True)
class Local:
    """A region of this controller as it is to be told."""

    session: int
    is_connected: bool
    since: float
    hello: Hello
    troubles: tuple[str, ...]
    is_starting: bool
    clock_offset_seconds: float | None
    identity: AgentIdentity | None
    applications: Mapping[ApplicationName, ApplicationReport]


class Fleet(Protocol):
    """The regions as this controller knows them; the sessions are one."""

    def local(self, region: RegionName) -> Local | None:
        """None: its agent is, or was, connected to another controller, or the region is not known."""

    def locals(self) -> Collection[RegionName]:
        """Those whose agents are, or were, connected here."""

    async def before_hearing(self) -> None:
        """To be awaited before news of a new session. Raises StoreError."""

    def hear(self, standings: Sequence[Standing | Gone], said: Sequence[Said]) -> None:
        """What controllers tell, this one among them."""


class Reports:
    """One for a controller. `run` must be running; `wake` follows each hint of the store."""

    def __init__(
        self,
        log: ReportLog,
        me: ControllerId,
        process: str,
        fleet: Fleet,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._log = log
        self._me = me
        self._process = process
        self._fleet = fleet
        self._sleep = sleep
        self._due: dict[RegionName, set[ApplicationName]] = {}
        self._gone: dict[RegionName, int] = {}  # forgotten, with its session
        self._written: dict[RegionName, RegionRow] = {}
        self._named: dict[RegionName, tuple[int, set[ApplicationName]]] = {}  # written of a session
        self._is_due = asyncio.Event()
        self._is_hinted = asyncio.Event()
        self._after = 0

    async def next_session(self) -> int:
        """Above all that any controller was given. Raises StoreError."""
        return await self._log.next_session()

    def tell(self, region: RegionName, applications: Collection[ApplicationName]) -> None:
        """Something of a region of this controller has changed: these applications, or the region itself."""
        self._due.setdefault(region, set()).update(applications)
        self._gone.pop(region, None)
        self._is_due.set()

    def forget(self, region: RegionName, session: int) -> None:
        """No controller shall know the region any longer."""
        self._due.pop(region, None)
        self._gone[region] = session
        self._is_due.set()

    def wake(self) -> None:
        self._is_hinted.set()

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._write_all(), name="reports written")
            tasks.create_task(self._read_all(), name="reports read")

    # ------------------------------------------------------------------------------------------ written

    async def _write_all(self) -> None:
        while True:
            await self._is_due.wait()
            try:
                await self.write()
            except StoreError as error:
                log.warning("reports.not_written", why=str(error))
                await self._sleep(RETRY_SECONDS)
            else:
                await self._sleep(WINDOW_SECONDS)

    async def write(self) -> None:
        """What is due. Raises StoreError; it is then due still."""
        self._is_due.clear()
        due, gone = self._due, self._gone
        self._due, self._gone = {}, {}
        regions, reports = self._rows(due, gone)
        try:
            refused = await self._log.report(regions, reports) if regions or reports else ()
        except StoreError:
            for region, names in due.items():
                if region not in self._gone:  # meanwhile
                    self.tell(region, names)
            self._gone |= {each: gone[each] for each in gone.keys() - self._gone.keys() - self._due.keys()}
            self._is_due.set()
            raise
        self._written.update({row.region: row for row in regions})
        for region in {*refused, *gone}:
            self._written.pop(region, None)
            self._named.pop(region, None)
        if refused:
            self.wake()

    def _rows(
        self, due: dict[RegionName, set[ApplicationName]], gone: Mapping[RegionName, int]
    ) -> tuple[list[RegionRow], list[ReportRow]]:
        """What is beyond the bound is due again."""
        regions = [RegionRow(name, self._me, session, False, 0.0, b"") for name, session in gone.items()]
        reports: list[ReportRow] = []
        for region in list(due):
            local = self._fleet.local(region)
            if local is None:
                due.pop(region)
                continue
            if len(regions) + len(reports) >= ROWS_MAX:
                self.tell(region, due.pop(region))
                continue
            row = self._row(region, local)
            if row != self._written.get(region):
                regions.append(row)
            named = self._names_of(region, local.session)
            for name in sorted(due[region]):
                report = local.applications.get(name)
                if report is not None or name in named:
                    reports.append(ReportRow(region, name, local.session, body_of(report)))
                    named.add(name)
        return regions, reports

    def _names_of(self, region: RegionName, session: int) -> set[ApplicationName]:
        """That were written: what a region reports no longer is written once more."""
        named = self._named.get(region)
        if named is None or named[0] != session:
            named = self._named[region] = (session, set())
        return named[1]

    def _row(self, region: RegionName, local: Local) -> RegionRow:
        head = {
            "process": self._process,
            "troubles": local.troubles,
            "is_starting": local.is_starting,
            "clock_offset_seconds": local.clock_offset_seconds,
            "identity": asdict(local.identity) if local.identity is not None else None,
        }
        body = json.dumps(head).encode() + b"\n" + wire.encode_from_agent(local.hello)
        return RegionRow(region, self._me, local.session, local.is_connected, local.since, body)

    # --------------------------------------------------------------------------------------------- read

    async def _read_all(self) -> None:
        while True:
            self._is_hinted.clear()
            try:
                await self.read()
            except StoreError as error:
                log.warning("reports.not_read", why=str(error))
                await self._sleep(RETRY_SECONDS)
                continue
            try:
                async with asyncio.timeout(POLL_SECONDS):
                    await self._is_hinted.wait()
            except TimeoutError:
                pass

    async def read(self) -> None:
        """What has come. Raises StoreError; it is then read again."""
        reported = await self._log.reported(self._after)
        standings, said = heard_in(reported)
        if standings:
            await self._fleet.before_hearing()
        if reported.is_whole:
            self._tell_all()
        self._after = reported.until
        if standings or said:
            self._fleet.hear(standings, said)

    def _tell_all(self) -> None:
        """The store has lost what it had, if it had anything."""
        self._written.clear()
        for region in self._fleet.locals():
            local = self._fleet.local(region)
            if local is not None:
                self.tell(region, {*local.applications, *self._names_of(region, local.session)})


def body_of(report: ApplicationReport | None) -> bytes | None:
    """As a row has it."""
    if report is None:
        return None
    return wire.encode_from_agent(Report(0, is_full=False, applications=(report,), digest=_NOTHING))


def heard_in(reported: Reported) -> tuple[list[Standing | Gone], list[Said]]:
    """What rows say. One that can't be read, as of another version, is left out and logged."""
    standings: list[Standing | Gone] = []
    said: list[Said] = []
    for row in reported.regions:
        try:
            standings.append(_standing(row))
        except (ValueError, KeyError, wire.WireError) as error:
            log.error("reports.unreadable", region=row.region, controller=row.controller, error=str(error))
    for each in reported.reports:
        try:
            said.append(Said(each.region, each.session, each.application, _report(each.body)))
        except (ValueError, wire.WireError) as error:
            log.error(
                "reports.unreadable", region=each.region, application=each.application, error=str(error)
            )
    return standings, said


def _standing(row: RegionRow) -> Standing | Gone:
    """Raises ValueError, KeyError, WireError."""
    if not row.body:
        return Gone(row.region, row.session)
    text, _, message = row.body.partition(b"\n")
    head: dict[str, Any] = json.loads(text)
    hello = wire.decode_from_agent(message)
    if not isinstance(hello, Hello):
        raise ValueError(f"{type(hello).__name__} in place of a Hello")
    return Standing(
        row.region,
        row.controller,
        str(head["process"]),
        row.session,
        row.is_connected,
        row.since,
        hello,
        tuple(map(str, head.get("troubles", ()))),
        bool(head.get("is_starting")),
        head.get("clock_offset_seconds"),
        _identity(head.get("identity")),
    )


def _identity(plain: object) -> AgentIdentity | None:
    try:
        return _IDENTITY.validate_python(plain)
    except ValidationError as error:
        raise ValueError(f"the certificate's identity: {error}") from error


def _report(body: bytes | None) -> ApplicationReport | None:
    """Raises ValueError, WireError."""
    if body is None:
        return None
    report = wire.decode_from_agent(body)
    if not isinstance(report, Report) or len(report.applications) != 1:
        raise ValueError("no report of one application")
    return report.applications[0]
