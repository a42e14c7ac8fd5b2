"""A controller in a thread: the real API, scheduler and packages over a store in memory, and regions that do
at once what they are asked. Nothing but its HTTP port is real, so a whole release takes milliseconds."""

import asyncio
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import structlog

from repave_controller.api.app import make_app
from repave_controller.api.resources.agents import Agents
from repave_controller.api.web.access import Bounds, Guarded
from repave_controller.api.web.server import CONNECTIONS_MAX, serve
from repave_controller.core.domain.application import Instant
from repave_controller.core.rules.retention import Rules
from repave_controller.fleet.packages import ImageDirectory
from repave_controller.fleet.questions import AnswerContent, RegionUnreachable
from repave_controller.fleet.regions import KnownRegion, Rival
from repave_controller.fleet.sessions import Sessions
from repave_controller.metrics.metrics import Metrics
from repave_controller.operations.artifacts import artifacts_of
from repave_controller.operations.disk import Disk
from repave_controller.operations.disk import Room as DiskRoom
from repave_controller.operations.prices import PriceFile
from repave_controller.operations.retention import Retention, reason_to_hold
from repave_controller.peers.company import Company
from repave_controller.runtime.clock import SteadyClock
from repave_controller.runtime.scheduler import Scheduler
from repave_controller.security.accounts import Accounts
from repave_controller.security.audit import audit_of
from repave_controller.security.authority import Authority, OwnAuthority
from repave_controller.security.enrolment import Enrolment
from repave_controller.security.issuers import Issuers
from repave_controller.security.provenance import Provenance
from repave_controller.security.records import load_accounts
from repave_controller.security.tickets import Tickets
from repave_controller.security.under_way import UnderWay
from repave_controller.serving.admission import logins_of
from repave_controller.settings import ArtifactsSettings, OidcSettings
from repave_protos import __version__
from repave_protos.daemon.metrics import new_registry
from repave_protos.package.signing import Signing
from repave_protos.protocol.queries import Bakes, Content, Done, Machines, Question, Room
from repave_protos.protocol.values import (
    PROTOCOL_VERSION,
    ApplicationName,
    ApplicationReport,
    Applied,
    DesiredGroup,
    DesiredState,
    Digest,
    GroupName,
    GroupReport,
    Hello,
    HostDetail,
    HostName,
    HostPhase,
    JobState,
    ProbeSample,
    RecordReport,
    RegionName,
    Welcome,
    Worn,
    fingerprint_of_state,
)
from repave_simulation.tiers.store import MemoryStore, Shelf
from tests.fakes.controller.described import Described
from tests.fakes.controller.stepping import job_report

START_SECONDS = 20.0
LAUNCHED_AT = 1_700_000_000.0
TTL_SECONDS = 60
Desired = dict[RegionName, dict[ApplicationName, DesiredState]]
_DIGEST = Digest("d" * 64)
_PROBES = (
    ProbeSample(1.0, 0.003, True, "answered 200"),
    ProbeSample(6.0, 2.0, False, "GET /health: no answer within 2 s"),
)
Result = TypeVar("Result")


class ObedientSessions(Sessions):
    """Sessions without agents: each region reports at once what it was asked to be.

    `sick` groups never get healthy, `broken` ones are given up at once. While `is_held`, regions do nothing;
    `let_go` makes them catch up.
    """

    def __init__(self, clock: SteadyClock, regions: tuple[str, ...], desired: Desired) -> None:
        super().__init__(Welcome("0", "fake", ""), clock)
        self.scheduler: Scheduler | None = None
        self.desired = desired
        self.sick: set[str] = set()
        self.broken: set[str] = set()
        self.unwanted: dict[str, list[HostDetail]] = {}  # what a region says of its orphans
        self.gone: dict[str, list[HostDetail]] = {}  # what it has kept of hosts that failed
        self.tells: dict[tuple[str, type[Question]], Any] = {}  # what a region's provider answers
        self.questions: list[tuple[str, Question]] = []
        self.worn: dict[str, tuple[Worn, ...]] = {}  # by group; reported when the region obeys next
        self.others: dict[RegionName, Rival] = {}
        self.taken_over: list[RegionName] = []
        self.keeps_records = False  # in DNS
        self.ends_jobs: JobState = "succeeded"
        self.is_held = False
        self.waiting: list[tuple[RegionName, DesiredState]] = []
        self.known = {
            RegionName(name): KnownRegion(RegionName(name), True, clock(), self._hello(name, number))
            for number, name in enumerate(regions, start=1)
        }

    def _hello(self, region: str, number: int) -> Hello:
        known = self.desired.get(RegionName(region), {}).values()
        return Hello(
            RegionName(region),
            PROTOCOL_VERSION,
            __version__,
            "local",
            "haproxy",
            ("signatures", "bundles", "jobs"),
            applied=tuple(
                Applied(each.application, each.epoch, fingerprint_of_state(each)) for each in known
            ),
            traffic_address=f"127.0.{number}.1",
        )

    async def accepted(
        self, region: RegionName, application: ApplicationName, timeout_seconds: float = 5.0
    ) -> DesiredState | None:
        if not self.known[region].is_connected:
            raise RegionUnreachable(f"the agent of {region} is not connected; is repave-agent running there?")
        return self.desired.get(region, {}).get(application)

    async def ask_all(
        self,
        questions: Mapping[RegionName, Question],
        kind: type[AnswerContent],
        timeout_seconds: float = 5.0,
    ) -> dict[RegionName, AnswerContent | RegionUnreachable]:
        found: dict[RegionName, AnswerContent | RegionUnreachable] = {}
        for region, question in questions.items():
            try:
                found[region] = await self.ask(region, question, kind, timeout_seconds)
            except RegionUnreachable as unreachable:
                found[region] = unreachable
        return found

    async def ask(
        self, region: RegionName, question: Question, kind: type[AnswerContent], timeout_seconds: float = 5.0
    ) -> AnswerContent:
        """An exception in `tells` is raised; a function is called with the question."""
        if not self.known[region].is_connected:
            raise RegionUnreachable(f"the agent of {region} is not connected; is repave-agent running there?")
        self.questions.append((region, question))
        nothing: dict[type, Content] = {Bakes: Bakes(), Done: Done("it is done"), Machines: Machines()}
        none = nothing.get(kind, Room(""))
        answer = self.tells.get((region, type(question)), none)
        if isinstance(answer, Exception):
            raise answer
        content = answer(question) if callable(answer) else answer
        assert isinstance(content, kind)
        return content

    def views(self) -> Mapping[RegionName, KnownRegion]:
        return self.known

    def unused(self) -> list[RegionName]:
        assert self.scheduler is not None
        return [region for region in self.known if self.scheduler.applications_in(region) == ()]

    def rivals(self) -> Mapping[RegionName, Rival]:
        return self.others

    def forget_unused(self) -> None:
        pass

    def forget(self, region: RegionName) -> bool:
        if region in self.known and self.known[region].is_connected:
            return False
        self.known.pop(region, None)
        return True

    def let_take_over(self, region: RegionName) -> None:
        self.taken_over.append(region)

    def publish(self, region: RegionName, desired: DesiredState) -> None:
        if self.is_held or not self.known[region].is_connected:
            self.waiting.append((region, desired))
        else:
            asyncio.get_running_loop().call_soon(self._obey, region, desired)

    def let_go(self) -> None:
        self.is_held = False
        waiting, self.waiting = self.waiting, []
        for region, desired in waiting:
            self.publish(region, desired)

    def connect(self, region: str, is_connected: bool) -> None:
        self.known[RegionName(region)].is_connected = is_connected
        if is_connected:
            self.let_go()
        self._tell(RegionName(region), set())

    def _obey(self, region: RegionName, desired: DesiredState) -> None:
        self.desired.setdefault(region, {})[desired.application] = desired
        groups = tuple(self._report(group) for group in desired.groups)
        record = self._record(desired) if self.keeps_records else None
        jobs = tuple(job_report(job, self.ends_jobs) for job in desired.jobs)
        report = ApplicationReport(desired.application, desired.epoch, groups, record=record, jobs=jobs)
        self.known[region].observations.applications[desired.application] = report
        self._tell(region, {desired.application})

    def _record(self, desired: DesiredState) -> RecordReport:
        is_in = desired.is_serving and desired.drain == "none"
        name, left_at = f"{desired.application}.example.com", 0.0 if is_in else time.time()
        return RecordReport(name, "in" if is_in else "out", TTL_SECONDS, left_at)

    def _report(self, group: DesiredGroup) -> GroupReport:
        if group.name in self.broken:
            has_hosts = group.count > 0
            return GroupReport(
                group.name, failed=group.count, has_given_up=has_hosts, trouble="exited with code 1"
            )
        if group.name in self.sick:
            return GroupReport(
                group.name, starting=group.count, weight_bp=group.weight_bp, trouble="answered 500"
            )
        return GroupReport(
            group.name,
            verified=group.count,
            balancer_up=group.count,
            weight_bp=group.weight_bp,
            launched_total=group.count,
            worn=self.worn.get(group.name, ()),
            aged=sum(each.why == "age" for each in self.worn.get(group.name, ())),
            oldest_at=LAUNCHED_AT if group.count else 0.0,
        )

    def _tell(self, region: RegionName, applications: set[ApplicationName]) -> None:
        assert self.scheduler is not None
        self.scheduler.region_changed(region, applications)

    async def query(
        self,
        region: RegionName,
        application: ApplicationName,
        group: str = "",
        log_lines: int = 0,
        timeout_seconds: float = 5.0,
        *,
        with_gone: bool = False,
        host: str = "",
        probes: int = 0,
    ) -> tuple[HostDetail, ...]:
        if not self.known[region].is_connected:
            raise RegionUnreachable(f"the agent of {region} is not connected; is repave-agent running there?")
        report = self.known[region].observations.applications.get(application)
        reports = report.groups if report is not None else ()
        there = tuple(
            _host(each.group, number, application, log_lines, probes)
            for each in reports
            if group in ("", each.group)
            for number in range(1, each.verified + 1)
        )
        gone = self.gone.get(region, ()) if with_gone else ()
        told = (*there, *(each for each in gone if group in ("", each.group)))
        return tuple(each for each in told if host in ("", each.host))

    async def orphans(self, region: RegionName, timeout_seconds: float = 5.0) -> tuple[HostDetail, ...]:
        view = self.known.get(region)
        if view is None or not view.is_connected:
            raise RegionUnreachable(f"the agent of {region} is not connected; is repave-agent running there?")
        return tuple(self.unwanted.get(region, ()))


def _host(
    group: GroupName, number: int, application: ApplicationName, log_lines: int, probes: int
) -> HostDetail:
    return HostDetail(
        host=HostName(f"{group}-{number}"),
        group=group,
        application=application,
        phase=HostPhase.VERIFIED,
        address=f"127.81.0.{number}",
        port=8080,
        digest=_DIGEST,
        age_seconds=61.0,
        healthy_seconds=60.0,
        log_tail="\n".join(f"line {line}" for line in range(log_lines)),
        probes=_PROBES[:probes],
    )


@dataclass
class ServedController:
    """What a test holds of the controller in the thread."""

    directory: Path
    regions: tuple[str, ...] = ("paris", "oslo")
    store: MemoryStore = field(default_factory=MemoryStore)
    desired: Desired = field(default_factory=dict)  # what the regions have accepted
    port: int = 0
    url: str = ""
    connections_max: int = CONNECTIONS_MAX
    is_enrolling: bool = False
    enrolment: Enrolment | None = None
    has_accounts: bool = False
    bounds: Bounds = Bounds()  # noqa: RUF009  # frozen
    admin: str = ""  # the token of the first admin
    certificate: ssl.SSLContext | None = None
    authority: str = ""
    guarded: Guarded | None = None
    signing: Signing = Signing()  # noqa: RUF009  # frozen
    oidc: OidcSettings = OidcSettings()  # noqa: RUF009  # frozen
    artifacts: ArtifactsSettings = ArtifactsSettings()  # noqa: RUF009  # frozen
    prices: PriceFile = field(default_factory=lambda: PriceFile(None))
    company: Company | None = None
    disk_room: DiskRoom = DiskRoom(50 * 10**9, 100 * 10**9)  # noqa: RUF009  # frozen

    async def _agents(self, clock: SteadyClock) -> Agents:
        """As a controller with TLS has them, without the listeners."""
        if self.is_enrolling:
            directory = self.directory / "security"
            source = OwnAuthority(directory, "memory", clock())
            authority = Authority(source, "memory", (), clock, directory)
            tell = self.scheduler.event_log.tell
            self.enrolment = Enrolment(authority, self.store, clock, tell, self.sessions.recheck)
            await self.enrolment.load()
        return Agents(self.enrolment, self.sessions, clock, "https://repave.example:7444")

    def in_loop(self, call: Callable[[], Result]) -> Result:
        """Calls it in the controller's thread."""

        async def made() -> Result:
            return call()

        return asyncio.run_coroutine_threadsafe(made(), self._loop).result(START_SECONDS)

    def hold(self) -> None:
        """From now on regions do nothing."""

        def held() -> None:
            self.sessions.is_held = True

        self.in_loop(held)

    def let_go(self) -> None:
        self.in_loop(self.sessions.let_go)

    def let_go_when_watched(self) -> None:
        """As soon as a client that comes from now on has had the first status of a stream. A stream whose
        client has left may still wait for a change."""
        changed, before = self.scheduler.changed, self.in_loop(asyncio.all_tasks)

        async def first(after: int) -> int:
            if asyncio.current_task() not in before:
                self.scheduler.changed = changed  # type: ignore[method-assign]
                self.sessions.let_go()
            return await changed(after)

        self.scheduler.changed = first  # type: ignore[method-assign]

    def connect(self, region: str, is_connected: bool) -> None:
        self.in_loop(lambda: self.sessions.connect(region, is_connected))

    def end(self) -> None:
        """Stops it, as SIGTERM would; returns at once."""
        self._loop.call_soon_threadsafe(self._stop.set)

    def _disk(self, images: ImageDirectory, clock: SteadyClock) -> Disk:
        holds = partial(reason_to_hold, self.scheduler)
        retention = Retention(self.store, images, self.scheduler, Rules(), clock, holds=holds)
        applications = self.scheduler.all_applications
        return Disk(self.directory, self.store, applications, retention, lambda _: self.disk_room)

    async def serve(self, ready: threading.Event) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        loaded = await self.store.open()
        clock = SteadyClock(Instant(0.0))
        images = ImageDirectory(self.directory / "images", clock)
        self.sessions = ObedientSessions(clock, self.regions, self.desired)
        self.scheduler = Scheduler(self.store, images, loaded, clock, self.sessions)
        self.sessions.scheduler = self.scheduler
        self.agents = await self._agents(clock)
        if self.has_accounts:
            self.accounts = Accounts(self.store, await load_accounts(self.store), clock)
            audit = await audit_of(self.store, loaded.installation, clock)
            self.tickets = Tickets(b"k" * 32)
            logins = logins_of(
                self.oidc, self.accounts, UnderWay(self.store, clock), "http://127.0.0.1", clock
            )
            self.guarded = Guarded(self.accounts, audit, self.tickets, Issuers(clock), self.bounds, logins)
            self.admin = self.admin or await self.accounts.make_admin()
        provenance = Provenance(self.store)
        app = make_app(
            scheduler=self.scheduler,
            store=self.store,
            images=images,
            sessions=self.sessions,
            clock=clock,
            agents=self.agents,
            guarded=self.guarded,
            authority=lambda: self.authority,
            signing=self.signing,
            metrics=Metrics(new_registry("0.1.0"), clock, self.directory),
            artifacts=artifacts_of(self.artifacts, images, self.store, provenance, self.scheduler, clock),
            provenance=provenance,
            prices=self.prices,
            company=self.company,
            disk=self._disk(images, clock),
        )
        self.described = Described(app)
        async with serve(app, "127.0.0.1", self.port, self.connections_max, self.certificate) as self.port:
            self.url = f"{'https' if self.certificate else 'http'}://127.0.0.1:{self.port}"
            for region, view in self.sessions.known.items():
                self.scheduler.greet(view.hello)
                for desired in self.scheduler.desired_for(region):
                    self.sessions.publish(region, desired)
            work = asyncio.ensure_future(self.scheduler.run())
            ready.set()
            await self._stop.wait()
            work.cancel()
            await asyncio.wait({work})


@contextmanager
def served(
    directory: Path,
    regions: tuple[str, ...] = ("paris", "oslo"),
    former: ServedController | None = None,
    backup: Shelf | None = None,
    connections_max: int = CONNECTIONS_MAX,
    **settings: Any,
) -> Iterator[ServedController]:
    """A controller that serves until the block is left; with `former`, that one restarted after its end, with
    its store or the `backup` of it."""
    controller = ServedController(directory, regions, connections_max=connections_max, **settings)
    if former is not None:
        controller.store, controller.port = MemoryStore(backup or former.store.shelf), former.port
        controller.desired = former.desired
        controller.admin = former.admin
    ready = threading.Event()
    thread = threading.Thread(target=lambda: asyncio.run(controller.serve(ready)), name="controller")
    thread.start()
    try:
        assert ready.wait(START_SECONDS), "the controller did not start"
        with structlog.testing.capture_logs():  # standard output is for what tests look at
            yield controller
    finally:
        if thread.is_alive() and ready.is_set():
            controller.end()
        thread.join(START_SECONDS)
        assert not thread.is_alive(), "the controller did not stop"
    assert not controller.described.faults, controller.described.faults
