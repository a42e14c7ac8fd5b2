"""Makes one HAProxy be what was asked: compares it with what runs, and changes what differs. Blocking, one
caller at a time: balancer.py runs it in a thread of its own.

Order: disk before socket, so that a HAProxy that dies comes back as it was last asked to be.
"""

import operator
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import structlog

from repave_agent.balancers.checks import check_address, check_routes
from repave_agent.balancers.haproxy.backends import places
from repave_agent.balancers.haproxy.carried import NONE, down_servers
from repave_agent.balancers.haproxy.certificate_list import PREFIX, SUFFIX
from repave_agent.balancers.haproxy.certificates import Shown
from repave_agent.balancers.haproxy.closed import ClosedConnections
from repave_agent.balancers.haproxy.conditions import NEWER, OTHER
from repave_agent.balancers.haproxy.config import (
    entries_of,
    fingerprint,
    map_of,
    render,
    render_routes,
    routes_of,
    structure_of,
)
from repave_agent.balancers.haproxy.fallback import Tally
from repave_agent.balancers.haproxy.host import conditions, make_directory, read, write
from repave_agent.balancers.haproxy.joining import (
    addresses_in,
    addresses_of,
    is_reached_by_joining,
    joining,
    running_in,
)
from repave_agent.balancers.haproxy.listeners import certificate_lists
from repave_agent.balancers.haproxy.options import HaproxyOptions
from repave_agent.balancers.haproxy.process import HaproxyProcess
from repave_agent.balancers.haproxy.reading import Readings, is_of_known_kinds
from repave_agent.balancers.haproxy.socket import ServerState, WorkerGoneError, Workers, WorkerState
from repave_agent.balancers.haproxy.traffic import Traffic, added_up
from repave_agent.balancers.haproxy.up import Key, placed, untouched, up, why_down, with_traffic
from repave_agent.balancers.parts import changed, only, unfit
from repave_agent.core.certificates import CertificateKeeper
from repave_agent.core.ports import BackendView, BalancerError, BalancerView, Route, Server, Structure
from repave_protos.protocol.values import ApplicationName, GroupName, HostName

log = structlog.get_logger()

ATTEMPTS_MAX = 4  # workers may end between being listed and being asked


class HaproxyDeadError(BalancerError):
    """It does not run and can't be started. What it was asked is on disk, for when it can."""


@dataclass(frozen=True, slots=True)
class Remembered:
    """What a directory's files say. `structure` is None where there is no readable configuration."""

    structure: Structure | None
    routes: tuple[Route, ...]


class HaproxyInstance:
    """One HAProxy and what it was last asked to be. `others_directory`: of the HAProxy that shares its
    addresses, if there is one."""

    def __init__(
        self,
        directory: Path,
        others_directory: Path | None,
        options: HaproxyOptions,
        monotonic: Callable[[], float],
        readings: Readings,
        certificates: CertificateKeeper,
    ) -> None:
        self._readings = readings
        self._directory = directory.absolute()
        self.process = HaproxyProcess(self._directory, options.program, monotonic)
        self._conditions = replace(
            conditions(self._directory, others_directory, options),
            certificates=certificates.folder,
            lists=str(self._directory),
            thumbprint=certificates.thumbprint,
        )
        self._remember(Structure())
        self._routes: tuple[Route, ...] = ()
        self._master = 0  # its process id, once it was seen
        self.restarts = 0
        self.why_silent = ""  # why it did not run, or answer, when it was last used; "": it did
        self._up: frozenset[Key] = frozenset()  # at the last look
        self._fallen_back = Tally()
        self._traffic = Traffic()
        self._shown = Shown()
        self._closed = ClosedConnections()

    # -------------------------------------------------------------------------------------------- start

    def look(self) -> tuple[bool, Remembered]:
        """Whether it runs, and what its files say."""
        check_address("the traffic address", self._conditions.traffic_address)
        self.process.check_directory()
        make_directory(self._directory)
        remembered = Remembered(
            structure_of(read(self.process.configuration_path)),
            routes_of(entries_of(read(self.process.map_path))),
        )
        return self.process.look_up() is not None, remembered

    def start(self, wanted: Remembered) -> None:
        """Adopts what runs in the directory, or starts it. Raises HaproxyDeadError."""
        self._remember(wanted.structure or Structure())
        self._routes = wanted.routes
        self._up = with_traffic(self._structure, self._routes)
        workers = self.process.look_up()
        if workers is None:
            self._save()
            self._start()
        else:
            self._master = workers.master
            self._adopt(workers, is_known=wanted.structure is not None)
        log.info("balancer.started", directory=str(self._directory), adopted=workers is not None)

    def _adopt(self, workers: Workers, is_known: bool) -> None:
        """Another fingerprint, or a server elsewhere, was left by a crash before its reload, or by an older
        repave. What runs without a readable configuration goes on until it is arranged: no reload to an empty
        one."""
        assert workers.newest is not None
        state = self.process.socket.worker_state(workers.newest)
        running = addresses_in(self.process.socket.server_states(workers.newest), self._structure)
        is_same = state.fingerprint == self._fingerprint
        if is_known and not (is_same and is_reached_by_joining(running, self._structure, state)):
            self._reload(self._structure, workers)

    def mend(self) -> Workers:
        """The running workers; a dead HAProxy that its keeper did not start again is started first. Raises
        HaproxyDeadError."""
        workers = self.process.look_up()
        if workers is None:
            log.warning("balancer.died", directory=str(self._directory))
            try:
                self._save()
            except BalancerError as error:  # a full disk: what was saved before still starts
                log.error("balancer.not_saved", because=str(error))
            return self._start()
        self._note(workers)
        return workers

    def _start(self) -> Workers:
        try:
            workers = self.process.start()
        except BalancerError as error:
            self.why_silent = str(error)
            raise HaproxyDeadError(str(error)) from error
        self._note(workers)
        return workers

    def _note(self, workers: Workers) -> None:
        if self._master not in (0, workers.master):
            self.restarts += 1
            log.info("balancer.restarted", directory=str(self._directory), restarts=self.restarts)
        self._master, self.why_silent = workers.master, ""

    def _remember(self, structure: Structure) -> None:
        self._structure, self._fingerprint = structure, fingerprint(structure, self._conditions)

    def _save(self) -> None:
        write(self.process.map_path, render_routes(self._routes))
        write(self.process.states_path, NONE)
        self._write(self.process.configuration_path, self._structure)

    def _write(self, path: Path, structure: Structure) -> None:
        """The configuration, after the files that it names."""
        for each in certificate_lists(structure, self._conditions):
            write(Path(each.path), each.text)
        write(path, render(structure, self._conditions))

    # ------------------------------------------------------------------------------------------ arrange

    @property
    def structure(self) -> Structure:
        """What it was last asked to be."""
        return self._structure

    @property
    def routes(self) -> tuple[Route, ...]:
        """The split that it was last asked for."""
        return self._routes

    def arrange(self, structure: Structure) -> None:
        self.refuse_loss_of_routed(structure)
        try:
            workers = self.mend()
        except HaproxyDeadError:
            self._remember(structure)
            self._save()
            raise
        assert workers.newest is not None
        self._up &= untouched(placed(self._structure), placed(structure))
        state = self.process.socket.worker_state(workers.newest)
        self._traffic.note({workers.newest: state.counted}, are_all=False)
        is_same = state.fingerprint == fingerprint(structure, self._conditions)
        before = addresses_of(self._structure)
        running = {key: before.get(key) for key in running_in(structure, state.servers)}
        if is_same and is_reached_by_joining(running, structure, state):
            self._join_and_enable(structure, workers.newest, state)
        else:
            is_running = state.fingerprint == self._fingerprint and self.process.is_what_runs(workers.master)
            is_sure = is_running and is_of_known_kinds(self._structure, structure)
            workers = self._reload(structure, workers, is_sure=is_sure)
        self._send_on_from_old(workers)

    def show_certificates(self, names: Iterable[str]) -> None:
        """What the files hold is what new connections are shown: at once where the newest worker takes it,
        else by a reload. Old workers take no new connections."""
        workers = self.mend()
        assert workers.newest is not None
        folder = Path(self._conditions.certificates)
        files = {str(folder / name): read(folder / name) for name in names}
        try:
            self._shown.tell(self.process.socket, workers.newest, files)
        except BalancerError as error:
            log.warning("balancer.certificate_by_reload", because=str(error))
            after = self._reload(self._structure, workers, is_sure=True)
            self._shown.note(after.newest, files)

    def refuse_loss_of_routed(self, structure: Structure) -> None:
        """Raises BalancerError where a group with traffic would be gone."""
        for route in self._routes:
            for group in route.groups:
                if structure.backend(group) is None:
                    raise BalancerError(
                        f"{group} cannot be removed while {route.application} is routed to it:"
                        " route it elsewhere first"
                    )

    def _join_and_enable(self, structure: Structure, worker: int, state: WorkerState) -> None:
        """Without a reload. The disk agrees, so that a restart does."""
        known = {(server.group, server.host): server for server in state.servers}
        commands: list[str] = []
        for backend in structure.backends:
            for name in places(backend):
                for server in backend.servers:
                    present = known.get((name, str(server.host)))
                    if present is None:
                        commands += joining(backend, server, structure)
                    else:
                        commands += _enabling(f"{name}/{server.host}", server, present)
        self._write(self.process.configuration_path, structure)
        self._remember(structure)
        self.process.socket.command(worker, commands)

    def _reload(self, structure: Structure, workers: Workers, *, is_sure: bool = False) -> Workers:
        """A refused or failed configuration leaves the former one in force and on disk. `is_sure`: the
        program need not read it before."""
        path, former = self.process.configuration_path, read(self.process.configuration_path)
        candidate = path.with_suffix(".new")
        try:
            if not is_sure or self._readings.is_in_doubt:
                check = partial(self._check, structure, candidate)
                self._readings.once(self.process.program, structure, check)
            self._write(candidate, structure)
            candidate.replace(path)
        finally:
            candidate.unlink(missing_ok=True)
        try:
            self._carry(structure, workers)
            after = self.process.reload(workers)
        except (BalancerError, OSError):
            write(path, former)
            self._readings.doubt()
            raise
        finally:
            write(self.process.states_path, NONE)
        self._close_left(structure, after)
        self._remember(structure)
        self._remove_lists()
        log.info("balancer.reloaded", backends=len(structure.backends), old_workers=len(after.old))
        return after

    def _remove_lists(self) -> None:
        """Those that only former configurations named, or ones that were refused."""
        named = {each.path for each in certificate_lists(self._structure, self._conditions)}
        for path in self._directory.glob(f"{PREFIX}*{SUFFIX}"):
            if str(path) not in named:
                path.unlink(missing_ok=True)

    def _close_left(self, structure: Structure, workers: Workers) -> None:
        """What clients still have open to a group that leaves is closed before its hosts end: the time for it
        is over. Only former workers have such."""
        gone = [each for each in self._structure.backends if structure.backend(each.group) is None]
        owners = {name: backend.group for backend in gone for name in places(backend)}
        for worker in workers.old if gone else ():
            with suppress(WorkerGoneError):
                closed = self.process.socket.close_sessions(worker, owners)
                self._closed.add(owners[name] for name in closed)

    def _carry(self, structure: Structure, workers: Workers) -> None:
        assert workers.newest is not None
        states = self.process.socket.server_states(workers.newest)
        unchanged = untouched(placed(self._structure), placed(structure))
        write(self.process.states_path, down_servers(states, unchanged))

    def _check(self, structure: Structure, candidate: Path) -> None:
        """Lets HAProxy read it. Raises UnfitError for the applications that it refuses, each by itself;
        BalancerError when they are not the reason."""
        try:
            self._read_by_haproxy(structure, candidate)
        except BalancerError as error:
            refused = self._refused_alone(structure, candidate)
            raise unfit(self._structure, structure, refused) if refused else error from None

    def _refused_alone(self, structure: Structure, candidate: Path) -> dict[ApplicationName, str]:
        """The applications that HAProxy refuses when each is the only one that changes, and why. None when it
        refuses what runs, too."""
        found = {}
        for name in (None, *changed(self._structure, structure)):
            trial = self._structure if name is None else only(name, self._structure, structure)
            try:
                self._read_by_haproxy(trial, candidate)
            except BalancerError as error:
                if name is None:
                    return {}
                found[name] = str(error)
        return found

    def _read_by_haproxy(self, structure: Structure, candidate: Path) -> None:
        self._write(candidate, structure)
        self.process.check(candidate)

    # -------------------------------------------------------------------------------------------- route

    def route(self, routes: tuple[Route, ...]) -> None:
        check_routes(routes, self._structure)
        write(self.process.map_path, render_routes(routes))
        self._routes = routes
        for _ in range(ATTEMPTS_MAX):
            workers = self.mend()
            try:
                self._set_routes(workers)
            except OSError as error:
                log.warning("balancer.route_again", because=str(error))
            else:
                return
        raise BalancerError(
            "HAProxy does not hold still: its workers keep ending while they are told the routes"
        )

    def defer(self, applications: Iterable[ApplicationName]) -> None:
        """Passes requests for these, which have a route, on to the other HAProxy until they get a new one."""
        _, newest = self.process.watched
        self.process.socket.replace_entries(
            newest, {name: f"{OTHER}.{name}|{OTHER}.{name}|0" for name in applications}
        )

    def _set_routes(self, workers: Workers) -> None:
        assert workers.newest is not None
        if not self.process.socket.set_entries(workers.newest, map_of(self._routes), are_all=True):
            raise BalancerError(
                "HAProxy acknowledged the routes and holds others: does another program edit its map?"
            )
        self._send_on_from_old(workers)

    def _send_on_from_old(self, workers: Workers) -> None:
        """Old workers pass what still comes in on idle connections to the newest one: they may not know its
        backends, and follow every later route without being told."""
        entries = self._old_entries()
        for worker in workers.old:
            try:
                is_set = self.process.socket.set_entries(worker, entries, are_all=False)
            except WorkerGoneError:
                continue
            if not is_set:
                raise BalancerError(f"HAProxy's old worker {worker} does not take its routes")

    def _old_entries(self) -> dict[str, str]:
        applications = {frontend.application for frontend in self._structure.frontends}
        applications |= {route.application for route in self._routes}
        return {name: f"{NEWER}.{name}|{NEWER}.{name}|0" for name in sorted(applications)}

    # ------------------------------------------------------------------------------------------ observe

    def observe(self) -> BalancerView:
        for _ in range(ATTEMPTS_MAX):
            try:
                workers = self.mend()
                return self._view(workers)
            except BalancerError as error:
                log.error("balancer.dead", because=str(error))
                break
            except OSError as error:
                log.warning("balancer.observe_again", because=str(error))
                self.why_silent = f"HAProxy does not answer: {error}"
        return BalancerView(False, Structure(), (), (), 0, self.restarts)

    def _view(self, workers: Workers) -> BalancerView:
        assert workers.newest is not None
        newest = self.process.socket.worker_state(workers.newest)
        of_old = {
            worker: state for worker in workers.old if (state := self._state_of_old(worker)) is not None
        }
        old = list(of_old.values())
        structure = self._running_structure(newest)
        self._up = up((each for each in newest.servers if each.takes_requests), self._up)
        self._fallen_back.note(workers.newest, newest.fallen_back)
        self._traffic.note(
            {workers.newest: newest.counted, **{pid: state.counted for pid, state in of_old.items()}}
        )
        return BalancerView(
            is_running=True,
            structure=structure,
            routes=routes_of(self._agreed(newest, old)),
            backends=_backend_views(structure, self._up, (newest, *old), self._traffic),
            old_workers=len(old),
            restarts=self.restarts,
            falls_back=True,
            takes_baselines=True,
            takes_hosts=newest.takes_servers,
            fallen_back=self._fallen_back.told,
            closed=self._closed.told,
        )

    def _state_of_old(self, worker: int) -> WorkerState | None:
        try:
            return self.process.socket.worker_state(worker)
        except WorkerGoneError:
            return None

    def _running_structure(self, newest: WorkerState) -> Structure:
        """Empty when the worker runs with something that we did not write: then arrange writes it anew."""
        if newest.fingerprint != self._fingerprint:
            return Structure()
        is_enabled = {(server.group, server.host): server.takes_requests for server in newest.servers}
        backends = []
        for backend in self._structure.backends:
            names = places(backend)
            servers = tuple(
                running
                for each in backend.servers
                if (running := _as_running(each, [is_enabled.get((name, each.host)) for name in names]))
            )
            if len(servers) == len(backend.servers) and all(map(operator.is_, servers, backend.servers)):
                backends.append(backend)
                continue
            backends.append(replace(backend, servers=servers))
        if all(map(operator.is_, backends, self._structure.backends)):
            return self._structure
        return replace(self._structure, backends=tuple(backends))

    def _agreed(self, newest: WorkerState, old: list[WorkerState]) -> dict[str, str]:
        sent_on = self._old_entries()
        return {
            application: value
            for application, value in newest.entries.items()
            if all(
                state.entries.get(application) in (value, sent_on.get(application, value)) for state in old
            )
        }


def _as_running(server: Server, takes_requests: list[bool | None]) -> Server | None:
    """As the backends of all fronts have it; None where one does not."""
    if None in takes_requests:
        return None
    is_same = all(each is server.is_enabled for each in takes_requests)
    return server if is_same else replace(server, is_enabled=not server.is_enabled)


def _enabling(name: str, wanted: Server, present: ServerState) -> Iterator[str]:
    """An operator may have put it in maintenance, where its weight means nothing."""
    if present.takes_requests == wanted.is_enabled:
        return
    yield f"set server {name} weight {int(wanted.is_enabled)}"
    if wanted.is_enabled and not present.is_enabled:
        yield f"set server {name} state ready"


def _backend_views(
    structure: Structure, servers_up: frozenset[Key], workers: tuple[WorkerState, ...], traffic: Traffic
) -> tuple[BackendView, ...]:
    passing: defaultdict[str, set[HostName]] = defaultdict(set)
    for group, host in servers_up:
        passing[group].add(HostName(host))
    failing: defaultdict[str, list[tuple[HostName, str]]] = defaultdict(list)
    for each in workers[0].servers:
        if each.failed_with is None or not each.takes_requests:
            continue
        backend = structure.backend(GroupName(each.group))
        if backend is not None:
            failing[each.group].append((HostName(each.host), why_down(*each.failed_with, backend.probe)))
    return tuple(
        BackendView(
            backend.group,
            servers_up=len(passing[backend.group]),
            in_flight=sum(worker.in_flight.get(name, 0) for worker in workers for name in places(backend)),
            passing=frozenset(passing[backend.group]),
            failing=tuple(failing[backend.group]),
            counted=added_up(map(traffic.of, places(backend))),
        )
        for backend in structure.backends
    )
