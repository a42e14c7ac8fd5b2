"""A region without processes, for properties of the agent's core: hosts that are slow, flap and die, launches
that fail, a balancer that lags and dies, and an agent that forgets all but its journal when it restarts.

The agent here is the worker's loop over the real core, one call at a time. Everything it does is checked
against the truth at the moment it is done: see the `_check_...` functions.
"""

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any

from pydantic import TypeAdapter

from repave_agent.admission import Accept, Again, Outdated, Refuse, admit
from repave_agent.fleet import Fleet
from repave_agent.health import PASSED, HealthRecord, Prober, ProbeResult
from repave_agent.journal import Entries
from repave_agent.observation import Limits, Observation, claims_of
from repave_agent.ports import BackendView, BalancerView, Host, HostSpec, Route, Structure
from repave_agent.reconcile import Arrange, BeginDrain, Destroy, Launch, Plan, Steer, reconcile
from repave_agent.summary import reports, with_troubles
from repave_protos.values import (
    ApplicationName,
    ApplicationReport,
    DesiredGroup,
    DesiredState,
    GroupName,
    HostName,
    HostPhase,
    Probe,
)

LIMITS = Limits(launches_in_flight=3, destroys_in_flight=3, unclaimed_grace_seconds=5.0)
_ENTRIES = TypeAdapter(Entries)


class ProberByHand(Prober):
    """Asks when it is told to. A new one knows nothing, like that of a restarted agent."""

    def __init__(self) -> None:
        self.records: dict[HostName, HealthRecord] = {}

    def watch(self, host: HostName, address: str, probe: Probe) -> None:
        self.records.setdefault(host, HealthRecord.of(probe))

    def forget(self, host: HostName) -> None:
        self.records.pop(host, None)

    def record(self, host: HostName) -> HealthRecord | None:
        return self.records.get(host)


def fleet_by_hand() -> tuple[Fleet, ProberByHand]:
    """An empty fleet, and the prober that it asks."""
    prober = ProberByHand()
    return Fleet(prober, lambda _: None), prober


@dataclass(slots=True)
class Machine:
    """A host as it is. One that is not well runs and fails its probes."""

    host: Host
    is_well: bool = True


@dataclass(slots=True)
class BalancerTruth:
    """What the balancer does; `view` is what it says of it."""

    structure: Structure = field(default_factory=Structure)
    routes: tuple[Route, ...] = ()
    is_running: bool = True
    is_agreed: bool = True  # no old worker has another route
    up: set[HostName] = field(default_factory=set)  # as checked last
    in_flight: Counter[GroupName] = field(default_factory=Counter)
    left_at: dict[GroupName, float] = field(default_factory=dict)  # when the route left the group
    disabled_at: dict[HostName, float] = field(default_factory=dict)  # those that were enabled before

    def view(self) -> BalancerView:
        """Starts it again when it is dead, as the port asks."""
        if not self.is_running:
            self.is_running = True
            self.up.clear()
        backends = tuple(
            BackendView(
                backend.group,
                sum(server.is_enabled and server.host in self.up for server in backend.servers),
                self.in_flight[backend.group],
            )
            for backend in self.structure.backends
        )
        routes = self.routes if self.is_agreed else ()
        return BalancerView(True, self.structure, routes, backends, 0 if self.is_agreed else 1)

    def sends_to(self, group: GroupName) -> bool:
        return any(route.weight_bp(group) > 0 for route in self.routes)

    def enabled_everywhere(self) -> set[HostName]:
        return {name for backend in self.structure.backends for name in self.enabled(backend.group)}

    def enabled(self, group: GroupName) -> set[HostName]:
        backend = self.structure.backend(group)
        return {server.host for server in backend.servers if server.is_enabled} if backend else set()


class Region:
    """The world of one agent, and the agent in it."""

    def __init__(self) -> None:
        self.now = 100.0
        self.machines: dict[HostName, Machine] = {}
        self.balancer = BalancerTruth()
        self.names_used: set[HostName] = set()
        self.well_since: dict[HostName, float] = {}
        self.ever_verified: set[HostName] = set()
        self.desired: dict[ApplicationName, DesiredState] = {}
        self.journal = _ENTRIES.dump_json(Entries())
        self.reports: dict[ApplicationName, ApplicationReport] = {}
        self._begin_agent()

    def _begin_agent(self) -> None:
        entries = _ENTRIES.validate_json(self.journal)
        self.launching: dict[HostName, HostSpec] = {}
        self.destroying: set[HostName] = set()
        self.balancing: Arrange | Steer | None = None
        self.balancer_failures = 0
        self.fleet, self.prober = fleet_by_hand()
        self.desired = {state.application: state for state in entries.desired}
        self.fleet.groups = {
            name: replace(fact, retry_at=0.0, drain_since=None) for name, fact in entries.groups.items()
        }
        self._relist(set(entries.verified))
        self._view_balancer()

    def _view_balancer(self) -> None:
        self.view = self.balancer.view()
        self.fleet.note_enabled(self.view, self.now)

    def _relist(self, verified: set[HostName]) -> None:
        hosts = [machine.host for machine in self.machines.values()]
        self.fleet.adopt(hosts, self.fleet.known(self.now), verified, self.now)

    # ------------------------------------------------------------------------------- what happens to it

    def accept(self, state: DesiredState) -> Accept | Again | Outdated | Refuse:
        answer = admit(self.desired.get(state.application), state)
        if isinstance(answer, Accept):
            self.desired[state.application] = state
            self._save()
            self.fleet.desired_changed(self.desired.values())
        return answer

    def restart_agent(self, *, is_work_done: bool) -> None:
        """kill -9. What it had begun outside is either done or was never heard of."""
        if is_work_done:
            for name in self.launching:
                self._make(self.launching[name])
            for name in self.destroying:
                self._end(name)
            if self.balancing is not None:
                self._balance(self.balancing)
        self._begin_agent()

    def look(self) -> Plan:
        self._relist(set())
        if self.balancing is None:
            self._view_balancer()
        return self.converge()

    def probe(self) -> None:
        for name, record in list(self.prober.records.items()):
            machine = self.machines[name]
            ok = machine.is_well and machine.host.is_running
            self.prober.records[name] = record.after(PASSED if ok else ProbeResult(False, "ill"), self.now)
            if not ok:
                self.well_since.pop(name, None)
            elif self.now >= self.well_since.setdefault(name, self.now) + self._min_healthy(name):
                self.ever_verified.add(name)

    def _min_healthy(self, host: HostName) -> float:
        group = self._wanted(self.machines[host].host.group)
        return group.min_healthy_seconds if group else 0.0

    def check_servers(self) -> None:
        """The balancer's own health checks."""
        for backend in self.balancer.structure.backends:
            for server in backend.servers:
                machine = self.machines.get(server.host)
                if machine is not None and machine.is_well and machine.host.is_running:
                    self.balancer.up.add(server.host)
                else:
                    self.balancer.up.discard(server.host)

    def send_requests(self) -> None:
        for route in self.balancer.routes:
            for group in (route.first, route.second):
                if group is not None and route.weight_bp(group) and self.balancer.enabled(group):
                    self.balancer.in_flight[group] += 1

    def finish_launch(self, outcome: str) -> None:
        """Of the oldest launch: "runs", "refused" (the package's fault) or "no room" (nobody's)."""
        if not self.launching:
            return
        name = next(iter(self.launching))
        spec = self.launching.pop(name)
        if outcome == "runs":
            self.fleet.launched(self._make(spec), self.now)
        else:
            self.fleet.launch_failed(name, outcome, self.now, counts=outcome == "refused", is_final=False)

    def finish_destroy(self) -> None:
        if self.destroying:
            name = min(self.destroying)
            self.destroying.discard(name)
            self._end(name)
            self.fleet.destroyed(name, self.now)

    def finish_balancing(self, *, is_done: bool) -> None:
        if self.balancing is None:
            return
        if is_done:
            self._balance(self.balancing)
        self.balancer_failures = 0 if is_done else self.balancer_failures + 1
        self.balancing = None
        self._view_balancer()

    def _make(self, spec: HostSpec) -> Host:
        address = f"127.9.0.{len(self.names_used)}"
        host = Host(
            spec.name, spec.group, spec.application, spec.digest, address, spec.port, 0.0, is_running=True
        )
        self.machines[spec.name] = Machine(host, is_well=not spec.digest.startswith("bad"))
        return host

    # ------------------------------------------------------------------------------------ what it does

    def _observation(self) -> Observation:
        groups = {group.name: group for state in self.desired.values() for group in state.groups}
        states = tuple(self.desired.values())
        return Observation(
            now=self.now,
            desired=states,
            hosts=self.fleet.judge(groups, self.now, claims_of(states, None)),
            groups=dict(self.fleet.groups),
            balancer=self.view,
            is_balancer_busy=self.balancing is not None,
            orphans_ended=self.fleet.orphans_ended,
        )

    def converge(self) -> Plan:
        observation = self._observation()
        plan = reconcile(observation, LIMITS)
        changes = [action for action in plan.actions if isinstance(action, Arrange | Steer)]
        for action in plan.actions:
            match action:
                case Launch():
                    self._launch(action)
                case Destroy():
                    self._check_begin_destroy(action.host)
                    self.fleet.destroying(action.host, self.now)
                    self.destroying.add(action.host)
                case BeginDrain(group):
                    self.fleet.begin_drain(group, self.now)
                case Arrange() | Steer():
                    self._check_change(action)
        self._note_routed(changes)
        self._save()
        if changes:
            assert self.balancing is None, "the balancer is changed while it is being changed"
            self.balancing = changes[self.balancer_failures % len(changes)]
        if not isinstance(self.balancing, Steer):
            troubles = with_troubles(observation, plan.held, self.fleet.troubles, ())
            self.reports = reports(self._observation(), troubles, {})
        return plan

    def _launch(self, launch: Launch) -> None:
        phases = Counter(
            host.judgement.phase for host in self.fleet.records.values() if host.group == launch.group.name
        )
        hosts = phases.total() - phases[HostPhase.FAILED] - phases[HostPhase.DESTROYING]
        # Unhealthy ones whose places are taken only finish their requests.
        hosts -= max(0, phases[HostPhase.VERIFIED] + phases[HostPhase.UNHEALTHY] - launch.group.count)
        spare = max(1, launch.group.count // 10)
        assert hosts + launch.count <= launch.group.count + spare, "too many hosts of a group"
        for spec in self.fleet.launching(launch, self.now):
            assert spec.name not in self.names_used, "a name is used twice"
            self.names_used.add(spec.name)
            self.launching[spec.name] = spec
        assert len(self.launching) <= LIMITS.launches_in_flight, "too many launches at once"

    def _note_routed(self, changes: list[Arrange | Steer]) -> None:
        routes = [*self.view.routes]
        for change in changes:
            routes += change.routes if isinstance(change, Steer) else ()
        self.fleet.note_routed(
            {name for route in routes for name in (route.first, route.second) if name is not None}
        )

    def _save(self) -> None:
        verified = sorted(record.name for record in self.fleet.records.values() if record.was_verified)
        self.journal = _ENTRIES.dump_json(
            Entries(
                desired=tuple(self.desired.values()),
                verified=tuple(verified),
                groups=dict(self.fleet.groups),
            )
        )

    def _balance(self, change: Arrange | Steer) -> None:
        self._check_change(change)
        balancer = self.balancer
        match change:
            case Arrange(structure):
                for backend in balancer.structure.backends:
                    if structure.backend(backend.group) is None:
                        self._check_drained(backend.group)
                        balancer.in_flight.pop(backend.group, None)
                before = balancer.enabled_everywhere()
                balancer.structure = structure
                balancer.disabled_at |= dict.fromkeys(before - balancer.enabled_everywhere(), self.now)
            case Steer(routes):
                groups = {name for route in balancer.routes for name in (route.first, route.second) if name}
                balancer.routes = routes
                balancer.left_at |= {name: self.now for name in groups if not balancer.sends_to(name)}

    def _end(self, name: HostName) -> None:
        self._check_end(name)
        self.machines.pop(name, None)

    # -------------------------------------------------------------------------------------- the promises

    def _check_begin_destroy(self, name: HostName) -> None:
        """By what is wanted and true now: a kept group's host has finished its requests, another group's is
        detached."""
        record = self.fleet.records[name]
        wanted = self._wanted(record.group)
        backend = self.balancer.structure.backend(record.group)
        self._check_end(name)
        if record.failure or backend is None:
            return
        assert wanted is not None, f"{name} is destroyed before its group is detached"
        assert wanted.count > 0, f"{name} is destroyed before its group is detached"
        if self.balancer.in_flight[record.group] and name in self.balancer.disabled_at:
            waited = self.now - self.balancer.disabled_at[name]
            assert waited >= wanted.drain_seconds, f"{name} is destroyed after {waited} s with requests"

    def _check_end(self, name: HostName) -> None:
        machine, record = self.machines.get(name), self.fleet.records.get(name)
        if machine is None or not machine.host.is_running or (record is not None and record.failure):
            return
        group = machine.host.group
        takes = self.balancer.sends_to(group) and name in self.balancer.enabled(group)
        assert not takes, f"{name} is destroyed and takes requests"

    def _check_change(self, change: Arrange | Steer) -> None:
        match change:
            case Arrange(structure):
                self._check_structure(structure)
            case Steer(routes):
                self._check_routes(routes)

    def _check_structure(self, structure: Structure) -> None:
        for route in self.balancer.routes:
            for name in (route.first, route.second):
                if name is not None:
                    assert structure.backend(name) is not None, f"{name} has traffic and loses its backend"
            applications = {frontend.application for frontend in structure.frontends}
            assert route.application in applications, f"{route.application} has traffic and loses its port"
        for backend in structure.backends:
            for server in backend.servers:
                is_proven = not server.is_enabled or server.host in self.ever_verified
                assert is_proven, f"{server.host} takes requests and was never verified"

    def _check_routes(self, routes: tuple[Route, ...]) -> None:
        before = {route.application: route for route in self.balancer.routes}
        after = {route.application: route for route in routes}
        for application in before.keys() - after.keys():
            assert self.desired[application].frontend_port == 0, f"{application} loses its route"
        for application, route in after.items():
            known = before.get(application)
            for name in filter(None, (route.first, route.second)):
                if route.weight_bp(name) > (known.weight_bp(name) if known else 0):
                    # A name that is enabled was verified: _check_structure saw to it.
                    assert self.balancer.enabled(name), f"{name} gets traffic and nobody of it is enabled"

    def _check_drained(self, group: GroupName) -> None:
        assert not self.balancer.sends_to(group), f"{group} is detached and has traffic"
        wanted = self._wanted(group)
        if self.balancer.in_flight[group] == 0 or wanted is None:
            return
        waited = self.now - self.balancer.left_at[group]
        assert waited >= wanted.drain_seconds, f"{group} is detached after {waited} s with requests in flight"

    def _wanted(self, group: GroupName) -> DesiredGroup | None:
        found: Any = (state.group(group) for state in self.desired.values())
        return next((each for each in found if each is not None), None)
