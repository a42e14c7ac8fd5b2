"""One region as it truly is: its hosts, its balancer, its agent's disk. Agents see it through their ports, as
late and as wrongly as the faults of the run want; the promises are checked on the truth, at each effect."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from repave_agent.core.ports import (
    BackendView,
    BalancerError,
    BalancerView,
    Host,
    HostSpec,
    RefusedError,
    Route,
    Structure,
)
from repave_agent.core.region import Entries
from repave_protos.protocol.values import (
    NO_PACKAGE,
    ApplicationName,
    DesiredState,
    Digest,
    GroupName,
    HostName,
    RegionName,
    is_job_host,
)
from repave_simulation.scenarios.scenario import DESK, OLD_FLEET, OURS, Behaviour
from repave_simulation.world.bench import Bench

_NO_DIGEST = Digest("f" * 64)
BLIP_SECONDS = 2.5
BALANCER_CHECK_SECONDS = 0.3
REQUEST_SECONDS_MAX = 12.0


@dataclass(slots=True, eq=False)
class Machine:
    """A host as it is. `ill` says how it fails its probes: "" (it does not), "refuses" or "hangs"."""

    host: Host
    owner: str
    behaviour: Behaviour
    made_at: float
    is_booted: bool = False
    ill: str = ""
    condemned_at: float | None = None  # when an agent began to destroy it
    lies: bool = False  # answers its probe, but not the balancer
    well_since: float | None = None
    ill_since: float = float("-inf")  # when it stopped being well
    steadiest_seconds: float = 0.0  # its longest time on end of being well
    stretch_began: float = 0.0

    @property
    def is_well(self) -> bool:
        return self.host.is_running and self.is_booted and not self.ill

    def longest_well(self, now: float) -> float:
        running = now - self.well_since if self.well_since is not None else 0.0
        return max(self.steadiest_seconds, running)


@dataclass(slots=True)
class Balancer:
    """What the balancer does with requests. Its configuration outlives its death, unless it forgets."""

    structure: Structure = field(default_factory=Structure)
    routes: tuple[Route, ...] = ()
    is_running: bool = True
    has_forgotten: bool = False  # its configuration, at least once
    restarts: int = 0
    disagrees_until: float = 0.0  # an old worker still has other routes
    up: dict[HostName, bool] = field(default_factory=dict)  # as its own checks say
    busy_until: dict[GroupName, float] = field(default_factory=dict)  # its last request ends
    left_at: dict[GroupName, float] = field(default_factory=dict)  # when its route left

    def route(self, application: ApplicationName) -> Route | None:
        return next((route for route in self.routes if route.application == application), None)

    def weight_bp(self, group: GroupName) -> int:
        return sum(route.weight_bp(group) for route in self.routes)

    def reaches(self, group: GroupName) -> bool:
        return any(route.reaches(group) for route in self.routes)

    def enabled(self, group: GroupName) -> list[HostName]:
        backend = self.structure.backend(group)
        return [server.host for server in backend.servers if server.is_enabled] if backend else []


class Place:
    """The truth of one region, and what its agent may do to it."""

    def __init__(self, world: Bench, region: RegionName) -> None:
        self.world = world
        self.region = region
        self.machines: dict[HostName, Machine] = {}
        self.balancer = Balancer()
        self.journal = Entries()
        self.journal_on_disk = Entries()  # what would survive a loss of power
        self.accepted: dict[ApplicationName, DesiredState] = {}
        self.superseded: list[tuple[float, DesiredState]] = []  # and when
        self.names_used: set[tuple[HostName, int]] = set()  # and by the agent with which memory
        self.memory = 0  # a new one whenever its agent has lost its journal
        self.proven: dict[GroupName, set[HostName]] = {}
        self.watched_since = 0.0  # since when an agent has been looking without a break
        self.cut_until = self.provider_down_until = self.journal_full_until = 0.0
        self.lag_seconds = 0.0
        self.forgot_at = float("-inf")  # when its agent lost what it had written down
        self.changes = 0  # of hosts and balancer, by whomever
        self.jobs: dict[HostName, Machine] = {}  # hosts of jobs that were ever made
        self.on_health: Callable[[HostName], None] = lambda _: None
        self.on_host_end: Callable[[], None] = lambda: None
        self.on_balancer: Callable[[], None] = lambda: None
        self._gone: dict[HostName, tuple[float, Host]] = {}
        self._add_strangers()
        self._add_fleet()

    def _add_strangers(self) -> None:
        """Hosts that are not ours; one has a name such as ours have."""
        for number, owner in enumerate(("another user", f"{OURS} in another region")):
            name = HostName(f"shop-v{number + 1:03d}-{number + 1}x")
            host = Host(name, GroupName(f"shop-v{number + 1:03d}"), ApplicationName("shop"), _NO_DIGEST,
                        f"10.9.9.{number}", 8080, 0.0, is_running=True)  # fmt: skip
            self.machines[name] = Machine(host, owner, Behaviour(), 0.0, is_booted=True, well_since=0.0)

    def _add_fleet(self) -> None:
        """Hosts that are well and serve, before any of repave does; as their group will be called."""
        group = GroupName(f"{DESK}-v001")
        for number, given in enumerate(dict(self.world.scenario.fleet).get(self.region, ()), start=1):
            name = HostName(f"{group}-{number}")
            host = Host(name, group, DESK, NO_PACKAGE, given.address, given.port, 0.0, is_running=True)
            self.machines[name] = Machine(host, OLD_FLEET, Behaviour(), 0.0, is_booted=True, well_since=0.0)
            self.proven.setdefault(group, set()).add(name)

    # ----------------------------------------------------------------------------------------- hosts

    def make(self, spec: HostSpec, memory: int) -> Host:
        """As Provider.launch: the same name again is the same host. `memory`: the asking agent's."""
        known = self.machines.get(spec.name)
        if known is not None:
            return known.host
        self.world.judge.makes(self.region, spec, memory)
        behaviour = self.world.behaviour(spec.digest)
        self.names_used.add((spec.name, memory))
        self.changes += 1
        address = f"10.{len(self.names_used) // 200}.0.{len(self.names_used) % 200 + 1}"
        host = Host(
            spec.name, spec.group, spec.application, spec.digest, address, spec.port, self.world.now, True
        )
        machine = self.machines[spec.name] = Machine(host, OURS, behaviour, self.world.now)
        if is_job_host(spec.name):
            self._run_job(machine, spec)
            return host
        boot = behaviour.boot_seconds * self.world.chance.between(0.8, 1.5, "boot", self.region, spec.name)
        self.world.later(boot, lambda: self._booted(machine))
        self.tell(f"{spec.name} is made")
        self.world.on_change(self.region)
        return host

    def _run_job(self, machine: Machine, spec: HostSpec) -> None:
        """Its words say what it does, and after how long; one of a user's own spec succeeds."""
        self.jobs[spec.name] = machine
        self.tell(f"{spec.name} runs")
        words = spec.template.run
        how, seconds = words[1:] if len(words) == 3 and words[0] == "./job" else ("succeeds", "1")
        is_first = dict(spec.template.environment)["REPAVE_JOB_ATTEMPT"] == "1"
        code = int(how == "fails" or (how == "fails-once" and is_first))
        if how != "hangs":
            ended = f"exited with code {code}"
            self.world.later(float(seconds), lambda: self.end_by_itself(machine, ended, code))
        self.world.on_change(self.region)

    def _booted(self, machine: Machine) -> None:
        behaviour = machine.behaviour
        if behaviour.kind == "exits":
            self.end_by_itself(machine, "exited with code 1")
            return
        if behaviour.kind == "never-healthy":
            machine.ill = "refuses"
        machine.is_booted = True
        self.health_changed(machine)
        if behaviour.kind == "falls-ill":
            self.world.later(behaviour.after_seconds, lambda: self.fall_ill(machine, "refuses"))

    def fall_ill(self, machine: Machine, how: str) -> None:
        """`how` "" makes it well again."""
        machine.ill = how
        self.health_changed(machine)

    def end_by_itself(self, machine: Machine, how: str = "killed", code: int | None = None) -> None:
        if machine.host.is_running and machine.host.name in self.machines:
            machine.host = replace(machine.host, is_running=False, ended=how, exit_code=code)
            self.health_changed(machine)
            self.on_host_end()

    def health_changed(self, machine: Machine) -> None:
        """Keeps the truth about how long it was well; tells who asks it, and in time the balancer."""
        now, is_well = self.world.now, machine.is_well
        self.changes += 1
        if is_well and machine.well_since is None:
            is_blip = now < machine.ill_since + BLIP_SECONDS  # too short for any probe to be sure of it
            machine.well_since = machine.stretch_began = machine.stretch_began if is_blip else now
            wanted = self.min_healthy_seconds(machine.host.group)
            left = machine.well_since + wanted - now  # less than that after a blip
            self.world.later(left, lambda: self._perhaps_proven(machine, wanted))
        elif not is_well and machine.well_since is not None:
            machine.steadiest_seconds = machine.longest_well(now)
            machine.well_since, machine.ill_since = None, now
        self.on_health(machine.host.name)
        self.check_servers_soon()

    def _perhaps_proven(self, machine: Machine, wanted: float) -> None:
        if machine.longest_well(self.world.now) >= wanted - 0.001:
            self.proven.setdefault(machine.host.group, set()).add(machine.host.name)

    def min_healthy_seconds(self, group: GroupName) -> float:
        found = self.world.ledger.group(group)
        if found is None:
            return 0.0
        return max(0.0, found.template.min_healthy_seconds - found.template.probe.interval_seconds - 0.5)

    def condemn(self, name: HostName) -> None:
        """An agent is about to destroy it, perhaps not for the first time."""
        machine = self.machines.get(name)
        if machine is not None and machine.condemned_at is None:
            machine.condemned_at = self.world.now
            self.world.judge.condemns(self.region, name)

    def end(self, name: HostName) -> None:
        """As Provider.destroy."""
        machine = self.machines.get(name)
        if machine is None:
            return
        self.world.judge.ends(self.region, name)
        if machine.owner != OURS:
            return
        del self.machines[name]
        self.changes += 1
        self._gone[name] = (self.world.now, machine.host)
        self.on_health(name)
        self.check_servers_soon()
        self.tell(f"{name} is gone")

    def weight_bp(self, group: GroupName) -> int | None:
        """The share that it truly has: of the requests, or of the work. None: who had it has forgotten it."""
        decided = self.world.ledger.group(group)
        if decided is None or not decided.template.is_worker:
            return None if self.balancer.has_forgotten else self.balancer.weight_bp(group)
        if self.forgot_at > float("-inf"):
            return None
        wanted = (state.group(group) for state in self.accepted.values())
        return next((each.weight_bp for each in wanted if each is not None), 0)

    def listing(self) -> list[Host]:
        """As Provider.list_hosts; a listing that lags leaves out the newest and still has the gone, but never
        two of one name."""
        now, lag = self.world.now, self.lag_seconds
        hosts = [
            each.host
            for each in self.machines.values()
            if each.owner == OURS and (not lag or each.made_at <= now - lag)
        ]
        if lag:
            gone = (host for at, host in self._gone.values() if at > now - lag)
            hosts += [host for host in gone if host.name not in self.machines]
        return hosts

    # -------------------------------------------------------------------------------------- balancer

    def arrange(self, structure: Structure) -> None:
        balancer = self.balancer
        for route in balancer.routes:
            _refuse_unknown(route, structure)
        with self.world.judge.arranges(self.region, structure):
            balancer.structure = structure
        self.tell(f"arranged: {_summary(structure)}")
        self.check_servers_soon()

    def route(self, routes: tuple[Route, ...], asked_at: float) -> None:
        balancer = self.balancer
        for route in routes:
            _refuse_unknown(route, balancer.structure)
        left = routed(balancer.routes) - routed(routes)
        with self.world.judge.routes(self.region, routes, asked_at):
            balancer.routes = routes
        for group in left:
            balancer.left_at[group] = self.world.now
            request = self.world.chance.between(0.0, REQUEST_SECONDS_MAX, "request", self.region, group)
            balancer.busy_until[group] = self.world.now + request
        self.world.on_change(self.region)
        self.tell("routed: " + (", ".join(map(_split, routes)) or "nothing"))

    def view(self) -> BalancerView:
        """As Balancer.observe: a dead one is started again with what it has on disk."""
        balancer = self.balancer
        if not balancer.is_running:
            balancer.is_running = True
            balancer.restarts += 1
            balancer.up.clear()
            self.tell("the balancer is started again")
            self.check_servers_soon()
        is_agreed = self.world.now >= balancer.disagrees_until
        backends = tuple(
            BackendView(
                backend.group,
                sum(server.is_enabled and balancer.up.get(server.host, False) for server in backend.servers),
                int(self.is_busy(backend.group)),
            )
            for backend in balancer.structure.backends
        )
        routes = balancer.routes if is_agreed else ()
        return BalancerView(
            True,
            balancer.structure,
            routes,
            backends,
            old_workers=0 if is_agreed else 1,
            restarts=balancer.restarts,
            falls_back=True,
            takes_baselines=True,
            takes_hosts=True,
        )

    def is_busy(self, group: GroupName) -> bool:
        """Whether requests are in flight to the group: to some host of it that can still answer."""
        is_running = any(each.host.is_running for each in self.hosts() if each.host.group == group)
        return is_running and self.balancer.busy_until.get(group, 0.0) > self.world.now

    def balancer_dies(self, *, forgets: bool) -> None:
        balancer = self.balancer
        balancer.is_running = False
        self.changes += 1
        balancer.busy_until.clear()
        if forgets:
            balancer.structure, balancer.routes, balancer.has_forgotten = Structure(), (), True
        self.world.on_change(self.region)
        self.on_balancer()

    def check_servers_soon(self) -> None:
        self.world.on_change(self.region)
        self.world.later(BALANCER_CHECK_SECONDS, self._check_servers)

    def _check_servers(self) -> None:
        """The balancer's own health checks."""
        up = {}
        for backend in self.balancer.structure.backends:
            for server in backend.servers:
                machine = self.machines.get(server.host)
                up[server.host] = machine is not None and machine.is_well and not machine.lies
        if up != self.balancer.up and self.balancer.is_running:
            self.balancer.up = up
            self.on_balancer()

    # ------------------------------------------------------------------------------------------ disk

    def save(self, entries: Entries, *, durable: bool) -> None:
        """The agent's journal; what is newly accepted in it is checked."""
        for state in entries.desired:
            if self.accepted.get(state.application) != state:
                self.world.judge.accepts(self.region, state)
                if state.application in self.accepted:
                    self.superseded.append((self.world.now, self.accepted[state.application]))
                self.accepted[state.application] = state
                self.tell(f"accepted {state.application} {state.epoch}")
                if state.is_worker:  # its shares are changed by that alone
                    self.world.on_change(self.region)
        self.journal = entries
        if durable:
            self.journal_on_disk = entries

    def lose_power(self) -> None:
        """The agent's machine restarts: what was not synced is gone."""
        self.forgot_at = self.world.now
        self.superseded += [(self.world.now, state) for state in self.accepted.values()]
        self.journal = self.journal_on_disk
        self.accepted = {state.application: state for state in self.journal.desired}

    def lose_journal(self) -> None:
        """It is removed, or the disk is another one."""
        self.journal_on_disk = Entries()
        self.memory += 1
        self.lose_power()

    def ours(self) -> Iterable[Machine]:
        return (machine for machine in self.machines.values() if machine.owner == OURS)

    def hosts(self) -> Iterable[Machine]:
        """Those that repave works with: its own, and those that it may adopt."""
        return (machine for machine in self.machines.values() if machine.owner in (OURS, OLD_FLEET))

    def tell(self, text: str) -> None:
        self.world.story.tell(self.world.now, self.region, text)

    def missing(self) -> RefusedError:
        return RefusedError("there is no such host")


def _refuse_unknown(route: Route, structure: Structure) -> None:
    for group in route.groups:
        if structure.backend(group) is None:
            raise BalancerError(f"{route.application} is routed to {group}, which is not arranged")


def routed(routes: tuple[Route, ...]) -> set[GroupName]:
    return {name for route in routes for name in route.groups if route.reaches(name)}


def _summary(structure: Structure) -> str:
    """shop-v001[1 -2]: hosts by their numbers, those that take nothing with a minus."""
    backends = []
    for each in structure.backends:
        signs = (
            ("" if server.is_enabled else "-") + server.host[len(each.group) + 1 :] for server in each.servers
        )
        backends.append(f"{each.group}[{' '.join(signs)}]")
    return ", ".join(backends) or "nothing"


def _split(route: Route) -> str:
    testers = f", testers to {route.testers}" if route.testers else ""
    if route.second is None:
        return f"{route.first} 100 %{testers}"
    names = [name for name in (route.first, route.second, route.baseline) if name is not None]
    return ", ".join(f"{name} {route.weight_bp(name) / 100:g} %" for name in names) + testers
