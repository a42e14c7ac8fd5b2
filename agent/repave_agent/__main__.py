"""Wires one region's agent from its settings: `repave-agent run` (the default), `clean`, `show-config`.

The only module of the agent that reads a clock, the environment and chance.
"""

from repave_protos.daemon import loading  # before all others

# isort: split
import argparse
import asyncio
import ctypes
import os
import random
import signal
import sys
import uuid
from collections.abc import Awaitable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path

import structlog

from repave_agent.certificates.building import certificate_kinds, make_certificates
from repave_agent.clients.controller import plainly, trusting_also
from repave_agent.clock import SystemClock
from repave_agent.core.fence import foreign
from repave_agent.core.figures import Figures
from repave_agent.core.observation import Limits
from repave_agent.core.ports import (
    BalancerError,
    ProviderError,
    ShowsCertificates,
    TransientError,
    Upwards,
)
from repave_agent.core.records import Wanted
from repave_agent.dns.building import make_records
from repave_agent.dns.options import public_address
from repave_agent.health.prober import Prober
from repave_agent.identity import joining
from repave_agent.identity.identity import FILE, Identity, IdentityError, read, write
from repave_agent.identity.keeper import Keeper
from repave_agent.identity.place import Place, acting_for, place_of, service_user
from repave_agent.kinds import CommandError, CommandLine, Site
from repave_agent.metrics.address import check
from repave_agent.metrics.calls import MeasuredBalancer, MeasuredDisk, MeasuredProvider, counted_probes
from repave_agent.metrics.metrics import Metrics, Now
from repave_agent.metrics.traces import (
    AgentTraces,
    ListeningLink,
    TracedBalancer,
    TracedProvider,
    TracedUpwards,
)
from repave_agent.operations.fleets import Find, Grounds, answer_hosts
from repave_agent.operations.queries import Desk, answer_way_in
from repave_agent.packages.baking import Bakery
from repave_agent.packages.cache import PackageCache
from repave_agent.packages.proof import Proof
from repave_agent.providers.listening import listens
from repave_agent.providers.reading import reading
from repave_agent.registry import Registry, RegistryError, installed
from repave_agent.runtime.beginning import begin
from repave_agent.runtime.checkup import Checkup
from repave_agent.runtime.instance import name_of
from repave_agent.runtime.journal import Journal, JournalError
from repave_agent.runtime.journal_file import FileDisk
from repave_agent.runtime.kept_logs import KeptLogs
from repave_agent.runtime.records import RecordKeeper
from repave_agent.runtime.remains import Remains
from repave_agent.runtime.retry import Postponed
from repave_agent.runtime.session import Session
from repave_agent.runtime.standing import Standing
from repave_agent.runtime.tenancy import Tenancy
from repave_agent.runtime.timeouts import BalancerWithTimeouts, ProviderWithTimeouts
from repave_agent.runtime.turns import Turns
from repave_agent.runtime.worker import Worker
from repave_agent.secrets.building import make_sources
from repave_agent.secrets.reader import Reader
from repave_agent.settings import AgentSettings
from repave_protos import __version__
from repave_protos.daemon.files import make_directory
from repave_protos.daemon.lock import own
from repave_protos.daemon.logs import configure_logs, log_faults_of
from repave_protos.daemon.metrics import new_registry
from repave_protos.daemon.resources import require_threads
from repave_protos.daemon.settings import Origins, SettingsError, load_settings, show_settings
from repave_protos.daemon.supervisor import READY, STOPPING, supervisor_of
from repave_protos.daemon.tracing import spans_from
from repave_protos.package import bundles
from repave_protos.package.signing import signing_of
from repave_protos.protocol import channel
from repave_protos.protocol.capabilities import can_be_taken_over, capability_words
from repave_protos.protocol.queries import (
    AcceptedOf,
    Answer,
    ChangeMachine,
    Content,
    Failure,
    FindHosts,
    FindWayIn,
    HostsOf,
    ListMachines,
    Orphans,
    Query,
    ReadOutput,
    TrafficOf,
    UnknownQuestion,
)
from repave_protos.protocol.values import (
    PROTOCOL_VERSION,
    ApplicationName,
    ApplicationReport,
    DesiredState,
    Hello,
    Notice,
    RegionName,
    Welcome,
)

loading.finish()

ALWAYS_ANSWERED = (AcceptedOf, ListMachines, ChangeMachine, UnknownQuestion)
"""Questions that need neither provider nor balancer: files answer them."""
COMMANDS = ("run", "clean", "show-config", "join")
PREFIX = "REPAVE_AGENT_"
PR_SET_DUMPABLE = 4  # of prctl(2)
DEFAULT_FILE = Path("/etc/repave/agent.toml")

log = structlog.get_logger()


class Agent:
    """All parts of one region's agent, put together."""

    def __init__(
        self,
        settings: AgentSettings,
        registry: Registry,
        *,
        has_joined: bool = False,
        is_bound: bool = False,
    ) -> None:
        """`is_bound`: another agent of the region is known, whatever the journal says."""
        state, clock = settings.state, SystemClock()
        make_directory(state)
        self.settings = settings
        self.lock = own(state, f"agent of {settings.region}")
        self.instance = name_of(state, lambda: uuid.uuid4().hex)
        self.tenancy = Tenancy(clock.elapsed, clock.wall)
        if is_bound:
            self.tenancy.bind()
        self.keeper = (
            Keeper(state, clock, joining.renew, random.random, self._renewed, self._certificate_trouble)
            if has_joined
            else None
        )
        sources = make_sources(settings.secrets, os.environ, clock, self._shown)
        self.secrets = Reader(sources, settings.region)
        self.records = make_records(
            settings.dns, settings.region, self._installation, clock, self.tenancy.check
        )
        self.certificates = make_certificates(
            settings.certificates,
            settings.region,
            state / "certificates",
            sources,
            self.records,
            clock,
            self.tenancy.check,
        )
        self.site = Site(settings, clock, self._installation, self.tenancy, self.certificates)
        self.registry = registry
        provider, balancer = registry.provider(settings), registry.balancer(settings)
        self.provider = provider.build(settings.section(provider.name, provider.options), self.site)
        self.balancer = balancer.build(settings.section(balancer.name, balancer.options), self.site)
        self.capabilities = capability_words(
            provider.abilities,
            balancer.abilities(settings.section(balancer.name, balancer.options)),
            settings.secrets.sources,
            settings.dns.abilities,
            verifies_bundles=bundles.can_verify(),
            certificate_kinds=certificate_kinds(
                settings.certificates,
                settings.secrets.sources,
                has_records=self.records is not None,
            ),
        )
        self.certificate_trouble = ""
        self.troubles: tuple[tuple[str, ...], bool] = ((), False)
        self.packages = PackageCache(
            state / "images",
            connect=self.keeper.connect if self.keeper is not None else plainly,
            to_store=trusting_also(settings.packages.authority),
        )
        measures = new_registry(__version__)
        self.metrics = Metrics(measures, state, clock.monotonic)
        self.prober = Prober(
            clock.monotonic,
            self.provider.execute,
            listens=listens(self.provider),
            heard=counted_probes(measures),
        )
        measured = MeasuredProvider(self.provider, measures, clock.monotonic)
        self.figures = Figures(clock.wall())
        self.measured_balancer = MeasuredBalancer(
            self.balancer,
            measures,
            clock.monotonic,
            seen=lambda view: self.figures.note(view, clock.wall()),
        )
        upwards: Upwards = self
        spans = spans_from(os.environ, "repave-agent", __version__, **{"repave.region": settings.region})
        self.traces = (
            AgentTraces(spans, RegionName(settings.region), clock.wall) if spans is not None else None
        )
        if self.traces is not None:
            measured = TracedProvider(measured, self.traces)
            self.measured_balancer = TracedBalancer(self.measured_balancer, self.traces)
            upwards = TracedUpwards(self, self.traces)
        self.worker = Worker(
            provider=measured,
            balancer=self.measured_balancer,
            packages=self.packages,
            proof=Proof(signing_of(settings.signatures)),
            prober=self.prober,
            journal=Journal(MeasuredDisk(FileDisk(state / "journal.json"), measures, clock.monotonic)),
            upwards=upwards,
            clock=clock.monotonic,
            remains=Remains(state / "remains.json"),
            took=self.metrics.decisions.observe,
            read_log=reading(self.provider),
            kept_logs=KeptLogs(state / "logs", clock.wall),
            tenancy=self.tenancy,
            secrets=self.secrets,
            new_journal=uuid.uuid4().hex,
            limits=Limits(
                launches_in_flight=settings.limits.launches_in_flight,
                launches_per_minute=settings.limits.launches_per_minute,
                unclaimed_grace_seconds=settings.limits.orphan_grace_seconds,
                inspect_seconds=settings.limits.inspect_seconds,
            ),
        )
        self.record_keeper = self._make_record_keeper()
        self.standing = Standing(self.worker, self.tenancy, waits=can_be_taken_over(self.capabilities))
        self.bakery = Bakery(self.provider, self.packages, self.notice, clock, self.worker.packages)
        guarded = ProviderWithTimeouts(measured, self.tenancy.check)
        self.desk = Desk(self.site, guarded, self.bakery, self.notice)
        self.postponed = Postponed(self.worker.on_desired, clock.sleep)
        self.isolation, self.is_starting = "", True
        self.early: dict[ApplicationName, DesiredState] = {}  # heard while the region can't act yet
        examined = (self.provider, self.balancer, self.secrets, self.record_keeper, self.certificates)
        self.checkup = Checkup(examined, self.examined, clock.sleep)
        self.turns = Turns(settings.controller, random.random())  # noqa: S311  # spreads a fleet, no secret
        self.session = Session(
            dial=self._dial,
            hello=self.make_hello,
            handler=self,
            clock=clock.monotonic,
            sleep=clock.sleep,
            chance=random.random,
            wall=clock.wall,
            tenancy=self.tenancy,
        )
        self.metrics.read(self._now)

    def _make_record_keeper(self) -> RecordKeeper | None:
        """None: the region keeps no records in DNS."""
        options = self.settings.dns
        if self.records is None:
            return None

        def wanted() -> Mapping[ApplicationName, Wanted]:
            return self.worker.wanted_records(
                options.name_of, options.addresses or public_address(self.balancer.traffic_address)
            )

        return RecordKeeper(
            self.records,
            wanted,
            self.worker.note_record,
            self.site.clock,
            self.tenancy.check,
            options.ttl_seconds,
        )

    def _installation(self) -> str:
        """ "": the agent has not met its controller."""
        return self.worker.installation

    def _now(self) -> Now:
        troubles, is_starting = self.troubles
        return Now(
            region=self.settings.region,
            is_connected=self.session.is_connected,
            is_starting=is_starting,
            troubles=len(troubles) + bool(self.certificate_trouble),
            hosts=self.worker.hosts().items(),
            balancer=self.measured_balancer.view,
            expires_at=self.keeper.identity.says.expires_at if self.keeper is not None else None,
            certificates=self.certificates.ends(),
        )

    async def _dial(self, patience: float) -> channel.Link:
        shown = self.keeper.shown() if self.keeper is not None else None

        async def dial_one(address: str) -> channel.Link:
            link = await channel.dial(address, "controller", patience, shown)
            return ListeningLink(link, self.traces) if self.traces is not None else link

        return await self.turns.dial(dial_one, again=self.session.is_connected)

    def _shown(self) -> tuple[str, str] | None:
        """What shows who this agent is, to Vault as to its controller."""
        if self.keeper is None:
            return None
        return self.keeper.identity.certificate, self.keeper.identity.key

    async def _renewed(self) -> None:
        await self.session.change_channel()

    def make_hello(self) -> Hello:
        return Hello(
            region=RegionName(self.settings.region),
            protocol_version=PROTOCOL_VERSION,
            agent_version=__version__,
            provider=self.provider.name,
            balancer=self.balancer.name,
            capabilities=self.capabilities,
            applied=self.worker.applied(),
            traffic_address=self.balancer.traffic_address,
            beats=True,
            instance=self.instance,
            sent_at=self.site.clock.wall(),
            leases=True,
            term=self.worker.term,
        )

    # What the session brings down, and what the worker sends up.

    async def on_welcome(self, welcome: Welcome) -> None:
        try:
            is_ours = self.worker.welcome(welcome)
        except JournalError as error:  # it comes again with the next stream
            raise ConnectionError(str(error)) from error
        if not is_ours:
            raise ConnectionError(foreign(self.worker.installation, welcome.installation))
        self.standing.welcome(welcome)
        if self.keeper is not None:  # by its certificate
            self.packages.set_source(f"{self.keeper.identity.url_beside(self.turns.at)}/v1/images")
        else:
            self.packages.set_source(welcome.image_url, welcome.image_ticket)

    async def on_stand_by(self, why: str) -> None:
        self.standing.stand_by(why)

    async def on_desired(self, desired: DesiredState) -> None:
        if self.is_starting:
            self.early[desired.application] = desired
            return
        await self.postponed.on_desired(desired)

    async def on_unreadable(self, application: ApplicationName, why: str) -> None:
        self.worker.refuse(application, why)

    async def on_query(self, query: Query) -> Answer:
        content: Content
        match query.question:
            case question if self.is_starting and not isinstance(question, ALWAYS_ANSWERED):
                content = Failure("it has not begun, as repave doctor tells")
            case HostsOf() | Orphans() | AcceptedOf() as question:
                content = await self.worker.answer(question)
            case ReadOutput() as question:
                content = await self.worker.read_output(question)
            case FindWayIn() as question:
                content = await answer_way_in(BalancerWithTimeouts(self.balancer).way_in, question)
            case FindHosts() as wanted_hosts:
                content = await answer_hosts(self._fleets(), wanted_hosts, self._grounds())
            case TrafficOf(application, since):
                content = self.figures.of(application, since, self.site.clock.wall())
            case question:
                content = await self.desk.answer(question)
        return Answer(query.query_id, content)

    def _grounds(self) -> Grounds:
        return Grounds(self.worker.made_at(), has_loopback=self.settings.provider == "local")

    def _fleets(self) -> dict[str, Find]:
        """What this region can find of fleets that are there already."""
        settings = self.settings
        kinds = (self.registry.provider(settings), self.registry.balancer(settings))
        return {
            name: partial(find, settings.section(kind.name, kind.options), self.site)
            for kind in kinds
            for name, find in kind.fleets.items()
        }

    def observed(self, applications: Mapping[ApplicationName, ApplicationReport]) -> None:
        self.session.observed(applications)

    def notice(self, notice: Notice) -> None:
        self.session.notice(notice)

    async def run(self) -> bool:
        """Until SIGTERM or SIGINT; hosts and balancer live on. True: it may act no longer, and is to begin
        anew, with what it finds then."""
        supervisor = supervisor_of()
        loop = asyncio.get_running_loop()
        log_faults_of(loop)
        self.worker.recall()
        supervisor.tell(READY)  # also when the provider keeps it waiting: doctor tells why
        keeping = [self.keeper.run()] if self.keeper is not None else []
        parts = (
            self._act(),
            self._keep_certificates(),
            self.session.run(),
            self.postponed.run(),
            supervisor.keep_alive(),
            self.metrics.lag.run(),
            self.secrets.run(),
            *keeping,
        )
        work = asyncio.ensure_future(_until_first_ends(self.standing.until_it_must_stop(), *parts))
        for each in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(each, work.cancel)
        try:
            async with self._metrics_shown():
                await work
        except asyncio.CancelledError:
            supervisor.tell(STOPPING)
            log.info("agent.stopped", region=self.settings.region)
            return False
        except (ProviderError, BalancerError):
            if self.tenancy.may_act:
                raise
            return True
        else:
            return True
        finally:
            await self.secrets.close()
            if self.record_keeper is not None:
                await self.record_keeper.close()
            await self.bakery.close()
            await self.prober.close()
            await self.packages.close()
            await self.provider.close()
            await self.balancer.close()
            if self.traces is not None:
                await asyncio.to_thread(self.traces.close)
            self.lock.close()

    def _metrics_shown(self) -> AbstractAsyncContextManager[object]:
        if not self.settings.metrics.listen:
            return nullcontext()
        from repave_agent.metrics.listener import listening  # aiohttp, which no other part may need

        return listening(self.settings.metrics, self.metrics.exposition)

    async def _act(self) -> None:
        """The controller is spoken with meanwhile: people can see why a region does not begin."""
        self._troubled((), is_starting=True)
        await self.standing.until_it_may_act()
        clock, known = self.site.clock, replace(self.make_hello(), sent_at=0.0)
        steps = (
            ("balancer", self.worker.serve),
            ("provider", self._start_provider),
            ("hosts", self.worker.adopt),
        )
        await begin(steps, self._waits, clock.sleep)
        if replace(self.make_hello(), sent_at=0.0) != known:
            self.session.greet_again()
        log.info("agent.started", region=self.settings.region, isolation=self.isolation, version=__version__)
        self.is_starting = False
        early, self.early = self.early, {}
        for desired in early.values():
            await self.postponed.on_desired(desired)
        records = [self.record_keeper.run()] if self.record_keeper is not None else []
        await asyncio.gather(self.worker.run(), self.checkup.run(), *records)

    async def _keep_certificates(self) -> None:
        """Also while the provider keeps the region waiting: what is served goes on."""
        if isinstance(self.balancer, ShowsCertificates):
            await self.standing.until_it_may_act()
            await self.certificates.run(self.balancer)

    async def _start_provider(self) -> None:
        self.isolation = await self.provider.start()

    def _waits(self, why: str) -> None:
        self._troubled((why,) if why else (), is_starting=bool(why))

    def examined(self, troubles: tuple[str, ...]) -> None:
        self._troubled(troubles)

    def _certificate_trouble(self, why: str) -> None:
        self.certificate_trouble = why
        troubles, is_starting = self.troubles
        self._troubled(troubles, is_starting=is_starting)

    def _troubled(self, troubles: tuple[str, ...], *, is_starting: bool = False) -> None:
        self.troubles = troubles, is_starting
        more = (self.certificate_trouble,) if self.certificate_trouble else ()
        self.session.troubled((*troubles, *more), is_starting=is_starting)

    async def clean(self) -> None:
        """Ends every host of this region and its balancer: for demos, tests and regions that are given up."""
        self.worker.recall()  # whose hosts they are is in the journal
        if self.record_keeper is not None:  # first: clients shall be led to none of it
            await self.record_keeper.remove_all()
            await self.record_keeper.close()
        hosts = await self.provider.list_hosts()
        ends = await asyncio.gather(
            *(self.provider.destroy(host.name) for host in hosts), return_exceptions=True
        )
        left = [host for host in await self.provider.list_hosts() if host.left]
        await self.provider.close()
        await self.balancer.end()
        print(f"{self.settings.region}: {len(hosts) - len(left)} hosts and the balancer are gone")  # noqa: T201
        if left:
            told = "; ".join(f"{host.name} ({host.address}) {host.left}" for host in left)
            raise TransientError(f"not ended: {told}. Do clean again when they can be reached")
        if failed := [str(end) for end in ends if isinstance(end, BaseException)]:
            raise TransientError(f"not ended: {'; '.join(failed)}")
        self.certificates.remove_all()


def make_parser(registry: Registry) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="repave-agent", description="Acts for repave in one region.")
    special = registry.commands()
    usages = "; ".join(f"of {name}: {command.usage}" for name, (_, command) in special.items())
    parser.add_argument("command", nargs="?", choices=(*COMMANDS, *special), default="run")
    parser.add_argument(
        "words", nargs="*", help=f"of join: URL TOKEN, as repave agents join prints them; {usages}"
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    parser.add_argument("--config", type=Path, help=f"settings file (default {DEFAULT_FILE}, if it is there)")
    parser.add_argument("--all", action="store_true", help="of pool return: every quarantined machine")
    parser.add_argument("--reason", default="by hand", help="of pool quarantine, shown with the machine")
    parser.add_argument(
        "-o", "--output", choices=("text", "json"), default="text", help="of pool list, balancer check"
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the process's exit code: 0 done, 1 could not start, 2 wrong settings."""
    try:
        registry = installed()
    except RegistryError as error:
        print(f"repave-agent: {error}", file=sys.stderr)  # noqa: T201
        return 2
    parser = make_parser(registry)
    chosen = parser.parse_args(arguments)
    if chosen.words and chosen.command in COMMANDS and chosen.command != "join":
        parser.error(f"{chosen.command} takes no more words, not {' '.join(chosen.words)!r}")
    file = chosen.config or (DEFAULT_FILE if DEFAULT_FILE.exists() else None)
    environment = os.environ if file else _or_unset(os.environ, registry, chosen)
    try:
        if chosen.command == "join":
            return _join(registry.settings_model(), file, environment, chosen.words)
        settings, origins, identity = _load(registry.settings_model(), file, environment)
    except SettingsError as error:
        print(f"repave-agent: {error}", file=sys.stderr)  # noqa: T201
        return 2
    except OSError as error:
        print(f"repave-agent: {error}", file=sys.stderr)  # noqa: T201
        return 1
    if chosen.command == "show-config":
        print(show_settings(settings, origins))  # noqa: T201
        return 0
    if chosen.command not in COMMANDS:
        return _run_command(settings, registry, chosen)
    try:
        for address in settings.controller:
            channel.address_of(address, "controller", is_secured=identity is not None)
    except ValueError as error:
        print(f"repave-agent: {error}", file=sys.stderr)  # noqa: T201
        return 1
    configure_logs(settings.logs, SystemClock().monotonic)
    try:
        require_threads()
        check(settings.metrics)
        asyncio.run(_run(settings, registry, chosen.command, has_joined=identity is not None))
    except (ProviderError, BalancerError, JournalError, OSError) as error:
        print(f"repave-agent: {error}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


def _load(
    model: type[AgentSettings], file: Path | None, environment: Mapping[str, str]
) -> tuple[AgentSettings, Origins, Identity | None]:
    """The settings; what joining has told fills in those that are not set. Raises SettingsError,
    IdentityError."""
    state = _state(model, file, environment)
    identity = read(state) if state is not None else None
    if state is None or identity is None:
        return *load_settings(model, file, environment, PREFIX), None
    region, where = identity.says.region, f"joined, {state / FILE}"
    told = {f"{PREFIX}REGION": region}
    try:
        settings, origins = load_settings(model, file, environment, PREFIX)
    except SettingsError:  # the region is not set; or something else is wrong, which is found again
        settings, origins = load_settings(model, file, {**environment, **told}, PREFIX)
        origins["region"] = where
    if settings.region != region:
        raise IdentityError(
            f"region: {origins['region']} says {settings.region}, and this agent has joined as that of "
            f"{region}: leave the setting out, or name another state directory than {state}"
        )
    if origins["controller"] == "default":
        settings, origins["controller"] = settings.model_copy(update={"controller": identity.grpcs}), where
    return settings, origins, identity


def _state(model: type[AgentSettings], file: Path | None, environment: Mapping[str, str]) -> Path | None:
    """The state directory, whatever else is set or is not; None: the settings can't be read."""
    try:
        return load_settings(model, file, {**environment, f"{PREFIX}REGION": "unset"}, PREFIX)[0].state
    except SettingsError:
        return None


def _join(
    model: type[AgentSettings], file: Path | None, environment: Mapping[str, str], words: Sequence[str]
) -> int:
    """Makes this machine an agent. Raises SettingsError, OSError."""
    if len(words) != 2:
        raise SettingsError(
            "join takes two words: repave-agent join URL TOKEN; a TOKEN of - is read from input, and several "
            "controllers are URL,URL,URL"
        )
    url, token = words[0], sys.stdin.readline() if words[1] == "-" else words[1]
    settings, origins = load_settings(model, file, {f"{PREFIX}REGION": "unset", **environment}, PREFIX)
    place = Place(settings.state)
    if os.geteuid() == 0:
        is_default = origins["state"] == "default"
        place = place_of(settings.state, is_default=is_default, service=service_user())
    with acting_for(place):
        region = _join_at(place.state, settings.region, url, token)
    start = "systemctl enable --now repave-agent" if place.is_of_service else "repave-agent"
    print(f"this machine is an agent of {region} now; start it: {start}")  # noqa: T201
    return 0


def _join_at(state: Path, region_set: str, url: str, token: str) -> str:
    """The region. Raises OSError; then nothing has changed."""
    make_directory(state)
    identity, former = joining.join(url, token), read(state)
    region = identity.says.region
    wanted = former.says.region if former is not None else region_set
    if wanted not in ("unset", region):
        raise IdentityError(
            f"the token was for {region}, and {state} is of the agent of {wanted}: make a token of "
            f"{wanted} (repave agents join {wanted}), or name another state directory"
        )
    write(state, identity)
    return region


def _or_unset(
    environment: Mapping[str, str], registry: Registry, chosen: argparse.Namespace
) -> Mapping[str, str]:
    """With what a command needs that works before anything is set up."""
    kind, command = registry.commands().get(chosen.command, (None, None))
    is_set = f"{PREFIX}REGION" in environment
    if (
        kind is None
        or command is None
        or is_set
        or chosen.words[:1] not in [[x] for x in command.works_unset]
    ):
        return environment
    what = "PROVIDER" if kind.name in registry.providers else "BALANCER"
    return {f"{PREFIX}{what}": kind.name, **environment, f"{PREFIX}REGION": "unset"}


def _run_command(settings: AgentSettings, registry: Registry, chosen: argparse.Namespace) -> int:
    """A command of one kind of provider or balancer, beside the running agent or without one."""
    kind, command = registry.commands()[chosen.command]
    words = (*chosen.words, *(["--all"] if chosen.all else []))
    line = CommandLine(words, chosen.reason, chosen.output)
    try:
        what = "provider" if kind.name in registry.providers else "balancer"
        used = getattr(settings, what)
        if used != kind.name:
            raise CommandError(f"{what} is {used}: {command.otherwise}")
        site = Site(settings, SystemClock())
        print(command.run(settings.section(kind.name, kind.options), site, line))  # noqa: T201
    except (CommandError, ProviderError, BalancerError, OSError) as error:
        print(f"repave-agent: {error}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


def _keep_memory_to_oneself() -> None:
    """No core dump holds what the agent knows, and no other process of its user reads it: secrets of hosts,
    tokens, keys."""
    ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)


async def _run(settings: AgentSettings, registry: Registry, command: str, *, has_joined: bool) -> None:
    _keep_memory_to_oneself()
    if command == "clean":
        await Agent(settings, registry, has_joined=has_joined).clean()
        return
    agent = Agent(settings, registry, has_joined=has_joined)
    while await agent.run():
        log.info("agent.begins_anew", region=settings.region)
        agent = Agent(settings, registry, has_joined=has_joined, is_bound=agent.tenancy.is_bound)


async def _until_first_ends(first: Awaitable[None], *others: Awaitable[object]) -> None:
    """Until `first` ends, or one of the others does by an error; none is left running."""
    tasks = [asyncio.ensure_future(each) for each in (first, *others)]
    rest = asyncio.gather(*tasks[1:])
    try:
        done, _ = await asyncio.wait((tasks[0], rest), return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        rest.cancel()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


if __name__ == "__main__":
    sys.exit(main())
