"""A controller from its start to its end: its parts put together, served until a signal comes."""

import asyncio
import os
import secrets
import signal
import socket
from collections.abc import AsyncIterator, Coroutine
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from repave_controller.api.app import make_app
from repave_controller.api.door import make_door
from repave_controller.api.resources.agents import Agents
from repave_controller.api.web.access import Guarded
from repave_controller.api.web.server import connections_within, serve
from repave_controller.core.domain.application import Event
from repave_controller.core.ports import Loaded, Store
from repave_controller.fleet.holder_records import HolderRecords
from repave_controller.fleet.listening import start_server, stop_server
from repave_controller.fleet.packages import ImageDirectory
from repave_controller.fleet.sessions import Sessions
from repave_controller.gitops.watching import GitOps
from repave_controller.hooks import deliveries
from repave_controller.hooks.hooks import Hooks
from repave_controller.metrics.metrics import Metrics
from repave_controller.metrics.traces import RolloutTraces
from repave_controller.notices.outbox import Outbox
from repave_controller.operations.analysis.runner import Analyses
from repave_controller.operations.artifacts import Artifacts, artifacts_of
from repave_controller.operations.disk import Disk
from repave_controller.operations.prices import PriceFile
from repave_controller.operations.promotion import Promotions
from repave_controller.operations.reach import Reach
from repave_controller.operations.retention import Retention, reason_to_hold
from repave_controller.operations.scaling.runner import ScalingRunner
from repave_controller.peers.company import Company
from repave_controller.peers.ports import Member
from repave_controller.peers.shards import is_present
from repave_controller.runtime.clock import SteadyClock
from repave_controller.runtime.scheduler import Scheduler
from repave_controller.security.agreement import agree
from repave_controller.security.authority import Authority, OperatorsAuthority, OwnAuthority, Source
from repave_controller.security.enrolment import Enrolment
from repave_controller.security.provenance import Provenance
from repave_controller.serving.addresses import (
    address_of,
    agents_url,
    authority_of,
    expiries_of,
    renewing,
    tls_of,
    url_of,
)
from repave_controller.serving.admission import guarded_by
from repave_controller.serving.analyses import analyses_of, scaling_of, sources_for
from repave_controller.serving.hooks import gitops_of, hooks_of, promotions_of
from repave_controller.serving.notices import outbox_of
from repave_controller.serving.opening import Opened, open_store
from repave_controller.serving.packages import images_of
from repave_controller.settings import ControllerSettings
from repave_protos import __version__
from repave_protos.daemon.logs import log_faults_of
from repave_protos.daemon.metrics import new_registry
from repave_protos.daemon.resources import descriptors
from repave_protos.daemon.supervisor import READY, STOPPING, Supervisor, supervisor_of
from repave_protos.daemon.tracing import spans_from
from repave_protos.package.signing import signing_of
from repave_protos.protocol.certificates import trust_domain_of
from repave_protos.protocol.channel import (
    BEAT_SECONDS,
    split_address,
)
from repave_protos.protocol.values import Welcome

if TYPE_CHECKING:
    from repave_controller.serving.sharing import Sharing

log = structlog.get_logger()


async def run(settings: ControllerSettings, is_new: bool = False) -> None:
    """Serves until SIGTERM or SIGINT. Raises StoreError, ValueError (an address), OSError (a port taken)."""
    supervisor = supervisor_of()
    log_faults_of(asyncio.get_running_loop())
    address_of(settings)
    opened = await open_store(settings, is_new)
    clock = SteadyClock(opened.loaded.last_event_at)
    metrics = Metrics(new_registry(__version__), clock, settings.state)
    store = metrics.measured(opened.store)
    try:
        sharing = _sharing(settings, opened, clock)
        images = images_of(settings, opened.store, clock)
        parts = await _put_together(settings, store, images, opened.loaded, clock, metrics, sharing)
        images.know(each.digest for each in await store.images())
        async with _shared(sharing, parts), _served(settings, parts, sharing):
            _tell_start(settings, parts)
            recalling = metrics.recall(opened.store, parts.scheduler.applications())
            beside: tuple[Coroutine[None, None, None], ...] = (
                metrics.lag.run(),
                recalling,
                parts.retention.run(),
                images.share(),
                parts.outbox.run(),
                parts.hooks.run(),
                parts.gitops.run(),
                parts.promotions.run(),
                parts.analyses.run(),
                parts.scaling.run(),
            )
            if sharing is not None:
                beside = (*beside, *sharing.work())
            try:
                await _run_until_signal(parts.scheduler, supervisor, *beside)
            finally:  # first of all: others go on while this one takes leave of its clients
                if sharing is not None:
                    await sharing.stop()
    finally:
        await store.close()
        if metrics.traces is not None:
            await asyncio.to_thread(metrics.traces.close)


def _sharing(settings: ControllerSettings, opened: Opened, clock: SteadyClock) -> "Sharing | None":
    """None: this controller has its store alone."""
    if opened.shared is None:
        return None
    from repave_controller.serving.sharing import Sharing  # asyncpg is there only where it is used

    return Sharing(opened.shared, _member(settings, clock(), opened.shared.store.writer_name))


@asynccontextmanager
async def _shared(sharing: "Sharing | None", parts: "Parts") -> AsyncIterator[None]:
    """Among the controllers that share its store while the block lasts. Raises StoreError, AuthorityError."""
    if sharing is None:
        yield
        return
    standing = await sharing.membership.join()
    try:
        there = {each.member.id for each in standing.members if is_present(each)}
        authority = parts.enrolment.authority if parts.enrolment is not None else None
        await agree(parts.store, parts.company.me.id, authority, there)
        yield
    finally:
        await sharing.stop()


@dataclass(slots=True)
class Parts:
    """Of one controller."""

    store: Store
    clock: SteadyClock
    metrics: Metrics
    images: ImageDirectory
    sessions: Sessions
    scheduler: Scheduler
    guarded: Guarded | None
    enrolment: Enrolment | None
    provenance: Provenance
    reach: Reach
    artifacts: Artifacts
    retention: Retention
    company: Company
    outbox: Outbox
    hooks: Hooks
    gitops: GitOps
    promotions: Promotions
    analyses: Analyses
    scaling: ScalingRunner


def _trace(metrics: Metrics, scheduler: Scheduler, sessions: Sessions, loaded: Loaded) -> None:
    """Where the environment asks for traces."""
    spans = spans_from(os.environ, "repave-controller", __version__)
    if spans is not None:
        known = scheduler.applications
        metrics.traces = RolloutTraces(spans, loaded.installation, scheduler.clock, known)
        metrics.traces.know(loaded.applications)
        sessions.traces = metrics.traces.traceparent


async def _put_together(
    settings: ControllerSettings,
    store: Store,
    images: ImageDirectory,
    loaded: Loaded,
    clock: SteadyClock,
    metrics: Metrics,
    sharing: "Sharing | None",
) -> Parts:
    """Raises StoreError, AuthorityError, ValueError."""
    metrics.ledger.know(loaded.applications)
    url = url_of(settings)
    guarded = await guarded_by(settings, store, loaded.installation, url, clock)
    sessions = Sessions(
        Welcome(
            __version__,
            loaded.installation,
            f"{url}/v1/images",
            beat_seconds=BEAT_SECONDS,
            takes_sums=True,
        ),
        clock,
        ticket_of=guarded.tickets.of if guarded is not None else None,
    )
    ownership = sharing.membership if sharing is not None else None
    scheduler = Scheduler(store, images, loaded, clock, sessions, settings.limits.in_force, ownership)
    sessions.report_to(scheduler)
    _trace(metrics, scheduler, sessions, loaded)
    holders = HolderRecords(store, clock, scheduler.event_log.tell)
    await holders.load(sessions)
    if sharing is not None:
        sharing.connect(scheduler, sessions, holders, loaded)
    provenance = Provenance(store)
    artifacts = artifacts_of(settings.artifacts, images, store, provenance, scheduler, clock)
    enrolment = await _enrolment(settings, loaded.installation, store, scheduler, sessions)
    hooks = hooks_of(settings, store, scheduler)
    if sharing is not None:
        sharing.hear(guarded, enrolment, provenance)
        sharing.mirror.hear(deliveries.KIND, hooks.take_in)
    metrics.read(
        scheduler,
        sessions,
        lambda: expiries_of(settings, enrolment),
        enrolment.expiries if enrolment is not None else dict,
    )
    company = (
        sharing.company if sharing is not None else Company(_member(settings, clock(), secrets.token_hex(8)))
    )
    metrics.read_company(company)
    reach = Reach(scheduler.applications, provenance)
    retention = Retention(
        store,
        images,
        scheduler,
        settings.retention.rules,
        clock,
        audit=guarded.audit if guarded is not None else None,
        holds=lambda: reason_to_hold(scheduler),
        is_mine=lambda: scheduler.leads,
        forget=provenance.forget,
    )
    sources = sources_for(settings, scheduler, sessions)
    scaling = scaling_of(scheduler, sources)
    metrics.read_scaling(scheduler, scaling.needed)
    return Parts(
        store,
        clock,
        metrics,
        images,
        sessions,
        scheduler,
        guarded,
        enrolment,
        provenance,
        reach,
        artifacts,
        retention,
        company,
        outbox_of(settings, store, loaded.installation, scheduler),
        hooks,
        gitops_of(settings, store, scheduler),
        promotions_of(settings, store, scheduler),
        analyses_of(settings, scheduler, sources, metrics.looked),
        scaling,
    )


def _member(settings: ControllerSettings, now: float, instance: str) -> Member:
    name, url = settings.name or socket.gethostname(), url_of(settings)
    return Member(name, instance, url, settings.grpc.listen, __version__, now)


@asynccontextmanager
async def _served(
    settings: ControllerSettings, parts: Parts, sharing: "Sharing | None"
) -> AsyncIterator[None]:
    """Listens for people and agents while the block lasts. Raises OSError, ValueError."""
    enrolment, tls = parts.enrolment, tls_of(settings, parts.enrolment)
    app = make_app(
        scheduler=parts.scheduler,
        store=parts.store,
        images=parts.images,
        sessions=parts.sessions,
        clock=parts.clock,
        agents=Agents(
            enrolment,
            parts.sessions,
            parts.clock,
            agents_url(settings),
            sharing.turned_away() if sharing is not None else None,
        ),
        guarded=parts.guarded,
        authority=authority_of(settings, enrolment),
        signing=signing_of(settings.signatures),
        metrics=parts.metrics,
        artifacts=parts.artifacts,
        provenance=parts.provenance,
        reach=parts.reach,
        prices=PriceFile(settings.prices),
        company=parts.company,
        outbox=parts.outbox,
        hooks=parts.hooks,
        gitops=parts.gitops,
        promotions=parts.promotions,
        analyses=parts.analyses,
        scaling=parts.scaling,
        relay=sharing.relay if sharing is not None else None,
        drafts=sharing.drafts() if sharing is not None else None,
        disk=Disk(settings.state, parts.store, parts.scheduler.all_applications, parts.retention),
    )
    shown = enrolment.authority.shown if enrolment is not None else None
    server, grpc_port = await start_server(parts.sessions, settings.grpc.listen, shown=shown)
    try:
        async with AsyncExitStack() as serving:
            most = connections_within(descriptors())
            await serving.enter_async_context(serve(app, *address_of(settings), most, tls))
            await serving.enter_async_context(renewing(settings, tls))
            if enrolment is not None:
                await serving.enter_async_context(_door(settings, parts, enrolment, grpc_port))
            yield
    finally:
        await stop_server(parts.sessions, server)
        await parts.images.close()


def _tell_start(settings: ControllerSettings, parts: Parts) -> None:
    enrolment = parts.enrolment
    if parts.clock.warning:
        log.warning("clock.set_back", text=parts.clock.warning)
        parts.scheduler.note(Event("clock.set_back", parts.clock.warning))
    log.info(
        "controller.started",
        http=settings.http.listen,
        grpc=settings.grpc.listen,
        agents=settings.agents.listen if enrolment is not None else "",
        version=__version__,
        accounts=settings.accounts,
        tls=tls_of(settings, enrolment) is not None,
        pin=enrolment.authority.pin if enrolment is not None else "",
    )


async def _enrolment(
    settings: ControllerSettings,
    installation: str,
    store: Store,
    scheduler: Scheduler,
    sessions: Sessions,
) -> Enrolment | None:
    """None over plaintext. Raises AuthorityError, StoreError."""
    tls, clock, directory = settings.tls, scheduler.clock, settings.state / "security"
    if not tls.enabled:
        return None
    domain = trust_domain_of(installation)
    source: Source = (
        OperatorsAuthority(Path(tls.ca), Path(tls.ca_key))
        if tls.ca
        else OwnAuthority(directory, domain, clock())
    )
    names = (*tls.names.split(), "localhost", "127.0.0.1", "::1", socket.gethostname())
    authority = Authority(source, domain, names, clock, directory)
    tell = scheduler.event_log.tell
    enrolment = Enrolment(authority, store, clock, tell, sessions.recheck, scheduler.others)
    await enrolment.load()
    sessions.guard_with(enrolment)
    return enrolment


def _door(
    settings: ControllerSettings, parts: Parts, enrolment: Enrolment, grpc_port: int
) -> AbstractAsyncContextManager[int]:
    """Where agents join, renew and fetch packages."""
    host, port = split_address(settings.agents.listen, "agents.listen")
    door = make_door(
        enrolment,
        parts.images,
        lambda: grpc_port,
        parts.clock,
        parts.reach.is_of_region,
        direct=parts.artifacts.direct,
    )
    most, tls = connections_within(descriptors()), enrolment.authority.http_context()
    return serve(door, host, port, most, tls, "agents.listen")


async def _run_until_signal(
    scheduler: Scheduler, supervisor: Supervisor, *beside: Coroutine[None, None, None]
) -> None:
    supervisor.tell(READY)
    work = asyncio.gather(scheduler.run(), supervisor.keep_alive(), *beside)
    loop = asyncio.get_running_loop()
    for each in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(each, work.cancel)
    try:
        await work
    except asyncio.CancelledError:
        supervisor.tell(STOPPING)
        log.info("controller.stopped")
