"""The world of one run: regions, processes, effects that succeed or do not, and what strikes them.

Both tiers use it. What a process does to the world goes through `act`, which decides by seed how it goes; the
truth changes there and nowhere else.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Protocol, TypeVar

from repave_agent.core.ports import BalancerError, PackageError, ProviderError
from repave_controller.core.domain.application import Application, Event
from repave_controller.core.ports import StoreError
from repave_protos.protocol.values import RegionName
from repave_simulation.kernel.timeline import CONTROLLER, KEEPALIVE_SECONDS, Life, Timeline
from repave_simulation.scenarios.scenario import OLD_FLEET, Scenario, Strike, Trouble
from repave_simulation.world.bench import Bench
from repave_simulation.world.place import Place

RESTART_SECONDS = (0.5, 20.0)
FREEZE_SECONDS = (0.2, 45.0)
LATE_SECONDS = (2.0, 60.0)
SLOW_SECONDS = (1.0, 12.0)
COMMITS = ("commit", "shared-commit")

REFUSALS = (ProviderError, BalancerError, PackageError, StoreError)
"""What the world may answer instead of doing it; anything else is a mistake, and ends the run."""
Made = TypeVar("Made")

OTHERS_CRASH = "others-crash"
"""All processes but the one that acts die at that moment; not drawn by rates, see campaigns/exhaustive.py."""
_PROCESS: tuple[tuple[Trouble, str], ...] = (
    ("crash", "crash-before"),
    ("crash", "crash-after"),
    ("pause", "pause-before"),
    ("pause", "pause-after"),
)
_REMOTE: tuple[tuple[Trouble, str], ...] = (
    ("fail", "fails"),
    ("slow", "slow"),
    ("ambiguous", "lost-answer"),
    *_PROCESS,
)
FATES: dict[str, tuple[tuple[Trouble, str], ...]] = {
    "launch": (("ambiguous", "late"), ("fail", "no-room"), *_REMOTE),
    "destroy": (("ambiguous", "late"), *_REMOTE),
    "list": (("fail", "fails"), ("slow", "slow"), *_PROCESS),
    "arrange": _REMOTE,
    "route": _REMOTE,
    "journal": (("fail", "fails"), *_PROCESS),
    "commit": (("fail", "fails"), ("slow", "slow"), *_PROCESS),
    "shared-commit": _REMOTE,
    "fetch": (("fail", "fails"), ("slow", "slow")),
    "desired": (("network", "repeated"), ("network", "late"), ("network", "cut"), *_PROCESS),
    "report": (("network", "repeated"), ("network", "late"), ("network", "cut"), *_PROCESS),
    "answer": (("ambiguous", "lost-answer"), *_PROCESS),
    "look": (
        ("source", "down"),
        ("source", "empty"),
        ("source", "no-numbers"),
        ("source", "late"),
        ("source", "lost-answer"),
        ("source", "repeated"),
        ("lies", "lies"),
        *_PROCESS,
    ),
    "measure": (
        ("source", "down"),
        ("source", "no-numbers"),
        ("source", "gap"),
        ("source", "late"),
        ("source", "repeated"),
        *_PROCESS,
    ),
}
"""How an effect may go, by its kind, with the trouble whose rate decides."""


class Tier(Protocol):
    """What runs in the world: the pure cores alone, or the whole asynchronous code."""

    def start(self, name: str, life: Life) -> None:
        """Starts the process of that name, from what it had saved."""

    def regions_of(self, name: str) -> Iterable[RegionName]:
        """Those whose streams end in the process of that name."""

    def ended(self, name: str) -> None:
        """The process of that name was killed: its streams end."""

    def cut(self, region: RegionName) -> None:
        """Breaks the region's stream now; both ends hear of it."""

    def replay_old(self, region: RegionName) -> None:
        """Delivers a desired state that went out long ago once more."""


class World(Bench):
    """The truth, and everything that happens to it. It begins once it has a `judge`."""

    def __init__(
        self, scenario: Scenario, timeline: Timeline, controllers: tuple[str, ...] = (CONTROLLER,)
    ) -> None:
        super().__init__(scenario, timeline)
        self.controllers = controllers
        self.strike_otherwise: Callable[[Strike], None] = _unknown
        self.is_fair = False
        self.stored = set(scenario.images)
        self.lives: dict[str, Life] = {}
        self.fates: dict[str, str] = {}  # what went wrong, by the key of the effect
        self.effects: list[str] = []  # every key, in order
        self.decided_at: dict[str, float] = {}  # by application: when what is saved of it last was decided
        self.store_full_until = 0.0
        self.clock_set_back_seconds = 0.0
        self.places = {region: Place(self, region) for region in scenario.regions}
        self._running: Tier | None = None
        self._times: Counter[tuple[str, str]] = Counter()
        self._is_starting: set[str] = set()
        self._awaiting: dict[str, deque[tuple[float, Callable[[], None]]]] = {}
        self._unwatched: list[tuple[float, float]] = []  # from the death of a controller to the next one
        self._unwatched_since: float | None = None

    def met(self, fault: str) -> None:
        for step in self.ledger.steps():
            self.story.met[fault, step] += 1

    # ----------------------------------------------------------------------------------- processes

    def begin(self, tier: Tier) -> None:
        """Starts every process."""
        self._running = tier
        for name in (*self.controllers, *self.places):
            self._start(name)

    def when(self, step: str, seconds: float, act: Callable[[], None]) -> None:
        """That much later; or, with a step, that long after the next release has come to it that nothing else
        waits for."""
        if step:
            self._awaiting.setdefault(step, deque()).append((seconds, act))
        else:
            self.later(seconds, act)

    def commit(self, application: Application, events: Sequence[Event]) -> None:
        """A decision has just become durable."""
        before = self.ledger.applications.get(application.name)
        self.judge.decides(before, application, events)
        step_before = self.ledger.step_of(before) if before is not None else None
        self.ledger.commit(application)
        step = self.ledger.step_of(application)
        if step != step_before:
            self.entered(step)

    def entered(self, step: str) -> None:
        """Some release has come to that step."""
        self.on_step(step)
        awaiting = self._awaiting.get(step)
        if awaiting and not self.is_fair:
            self.later(*awaiting.popleft())

    def _start(self, name: str) -> None:
        self._is_starting.discard(name)
        life = self.lives[name] = Life(name)
        if name in self.places:
            self.places[RegionName(name)].watched_since = self.now
        self.tell(name, "starts")
        if name in self.controllers and self._unwatched_since is not None:
            self._unwatched.append((self._unwatched_since, self.now))
            self._unwatched_since = None
        self.tier.start(name, life)

    def kill(self, name: str, *, down_seconds: float | None = None) -> None:
        """kill -9; it is started again a little later."""
        life = self.lives[name]
        if life.is_over:
            return
        life.is_over = True
        life.waiting.clear()
        self.tell(name, "is killed")
        if self._unwatched_since is None and all(self.lives[each].is_over for each in self.controllers):
            self._unwatched_since = self.now
        if name in self._is_starting:
            return
        self._is_starting.add(name)
        if name in self.places:
            self.places[RegionName(name)].watched_since = float("inf")
        self.tier.ended(name)
        seconds = self.chance.between(*RESTART_SECONDS, "restart", name, self._next("restart", name))
        self.later(seconds if down_seconds is None else down_seconds, lambda: self._start(name))

    @property
    def has_controller(self) -> bool:
        """Whether one answers."""
        lives = (self.lives[name] for name in self.controllers)
        return any(not life.is_over and not life.is_frozen for life in lives)

    def unwatched_seconds(self, since: float) -> float:
        """For how long no controller ran since then."""
        return sum(max(0.0, end - max(begin, since)) for begin, end in self._unwatched)

    def freeze(self, name: str, seconds: float) -> None:
        """SIGSTOP, and SIGCONT that much later."""
        life = self.lives[name]
        if life.is_over or life.is_frozen:
            return
        life.is_frozen = True
        self.tell(name, f"freezes for {seconds:.1f} s")
        if name in self.places:
            self.places[RegionName(name)].watched_since = float("inf")
        self.later(seconds, lambda: self._thaw(name, life))
        for region in self.tier.regions_of(name):
            self.break_if_silent(region, seconds)

    def _thaw(self, name: str, life: Life) -> None:
        if life.is_over or not life.is_frozen:
            return
        self.tell(name, "thaws")
        if name in self.places:
            self.places[RegionName(name)].watched_since = self.now
        self.timeline.thaw(life)

    def break_if_silent(self, region: RegionName, seconds: float) -> None:
        """A stream whose other end says nothing for so long is given up."""
        if seconds >= KEEPALIVE_SECONDS:
            self.later(KEEPALIVE_SECONDS, lambda: self.tier.cut(region))

    @property
    def tier(self) -> Tier:
        assert self._running is not None, "the world has begun"
        return self._running

    # ------------------------------------------------------------------------------------- effects

    def act(
        self,
        life: Life,
        kind: str,
        region: RegionName,
        subject: str,
        apply: Callable[[], Made],
        done: Callable[[Made | Exception], None],
        failure: Callable[[str], Exception],
        usual_seconds: float = 0.05,
        *,
        is_local: bool = False,
    ) -> None:
        """An effect of the process: `apply` when it takes effect, `done` with the result when it is heard of.

        A remote effect that is under way goes on when its process dies; a local one does not.
        """
        if life.is_over:
            return
        if kind in COMMITS:
            self.decided_at[subject] = self.now
        fate, key = self.fate(kind, f"{region}/{subject}" if region else subject, life.name)
        if fate == "crash-before":
            self.kill(life.name)
            return
        seconds = usual_seconds * self.chance.between(0.3, 1.7, "takes", key)
        if fate == "slow":
            seconds += self.chance.between(*SLOW_SECONDS, "slow", key)
        if fate == "pause-before":
            self.freeze(life.name, self.chance.between(*FREEZE_SECONDS, "freeze", key))
            self.timeline.after(
                0.0, lambda: self._carry_out(life, "", key, seconds, apply, done, failure, is_local), life
            )
            return
        self._carry_out(life, fate, key, seconds, apply, done, failure, is_local)

    def _carry_out(
        self,
        life: Life,
        fate: str,
        key: str,
        seconds: float,
        apply: Callable[[], Made],
        done: Callable[[Made | Exception], None],
        failure: Callable[[str], Exception],
        is_local: bool,
    ) -> None:
        if fate in ("fails", "no-room", "late"):
            if fate == "late":
                late = seconds + self.chance.between(*LATE_SECONDS, "late", key)
                self.later(late, lambda: _ignore_refusal(apply))
            self.timeline.after(seconds, lambda: done(failure(f"{key} {fate}")), life)
            return

        def happen() -> None:
            try:
                result: Made | Exception = apply()
            except REFUSALS as error:
                result = error
            if fate == "lost-answer":
                result = failure(f"{key}: no answer")
            if fate == "crash-after":
                self.kill(life.name)
            if fate == "pause-after":
                self.freeze(life.name, self.chance.between(*FREEZE_SECONDS, "freeze", key))
            self.timeline.after(0.0, lambda: done(result), life)

        self.timeline.after(seconds, happen, life if is_local else None)

    def act_now(self, life: Life, kind: str, subject: str, apply: Callable[[], None]) -> bool:
        """As `act`, for what a process does without waiting; False when it could not be done."""
        if life.is_over:
            return True  # a dead process hears no answer
        fate, key = self.fate(kind, subject, life.name)
        if fate == "crash-before":
            self.kill(life.name)
            return True
        if fate == "fails":
            return False
        apply()
        if fate == "crash-after":
            self.kill(life.name)
        elif fate.startswith("pause"):
            self.freeze(life.name, self.chance.between(*FREEZE_SECONDS, "freeze", key))
        return True

    def fate(self, kind: str, subject: str, who: str) -> tuple[str, str]:
        """How this effect goes ("" is well), and its key: the same in every run of the seed."""
        key = f"{kind} {subject} #{self._next(kind, subject)}"
        self.effects.append(key)
        fate = "" if self.is_fair else self._fate(kind, key)
        if fate:
            self.fates[key] = fate
            self.met(f"{kind} {fate}")
            self.tell("?", f"{key}: {fate}")
        if fate == OTHERS_CRASH:
            for name in (*self.controllers, *self.places):
                if name != who and name in self.lives:
                    self.kill(name)
            return "", key
        return fate, key

    def _fate(self, kind: str, key: str) -> str:
        if self.scenario.fates is not None:
            return self.scenario.fates.get(key, "")
        rates = self.scenario.rates
        if not rates or self.now < self.scenario.rates_from:
            return ""
        for trouble, fate in FATES[kind]:
            if self.chance.happens(rates.get(trouble, 0.0), "fate", fate, key):
                return fate
        return ""

    def _next(self, kind: str, subject: str) -> int:
        self._times[kind, subject] += 1
        return self._times[kind, subject]

    # ------------------------------------------------------------------------------------- strikes

    def heal(self) -> None:
        """From now on nothing goes wrong any more; what is broken stays for repave to mend."""
        self.is_fair = True
        self.tell("?", "nothing goes wrong any more")
        self.store_full_until = 0.0
        for name, life in self.lives.items():
            self._thaw(name, life)
        for place in self.places.values():
            place.cut_until = place.provider_down_until = place.journal_full_until = place.lag_seconds = 0.0
            place.balancer.disagrees_until = 0.0
            for machine in place.hosts():
                machine.lies = False
                if machine.owner == OLD_FLEET and not machine.host.is_running:
                    machine.host = replace(machine.host, is_running=True, ended="")  # by its owners
                    place.health_changed(machine)
                if machine.behaviour.is_good and machine.ill:
                    place.fall_ill(machine, "")
            place.check_servers_soon()

    # ------------------------------------------------------------------------------------- the end

    def unfinished(self) -> str:
        """What is not yet as it shall be in the end; "" when everything is."""
        for application in self.ledger.applications.values():
            if application.running is not None:
                return f"{application.name}: a rollout is in {self.ledger.step_of(application)}"
            if application.queue:
                return f"{application.name}: {len(application.queue)} releases are queued"
            for region, state in application.desired:
                if self.places[region].accepted.get(application.name) != state:
                    return f"{region}: {application.name} {state.epoch} is not accepted"
        if owed := self.judge.unfinished():
            return owed
        for place in self.places.values():
            different = _difference(place)
            if different:
                return f"{place.region}: {different}"
        return ""


def _unknown(strike: Strike) -> None:
    raise AssertionError(f"unknown strike: {strike.kind}")


def _ignore_refusal(apply: Callable[[], object]) -> None:
    """What comes too late may find nothing to act on."""
    with suppress(*REFUSALS):
        apply()


def _difference(place: Place) -> str:
    """What of the region is not as its accepted states say."""
    return _difference_of_fronts(place) or _difference_of_groups(place)


def _difference_of_fronts(place: Place) -> str:
    """An application's fronts are those of the group that has all its traffic."""
    for state in place.accepted.values():
        frontend = place.balancer.structure.frontend(state.application)
        route = place.balancer.route(state.application)
        group = state.group(route.first) if route is not None and route.second is None else None
        if frontend is not None and group is not None and frontend.fronts != group.template.fronts:
            names = ", ".join(front.name for front in frontend.fronts)
            return f"{state.application} has {group.name}, and the fronts {names or 'of a plain application'}"
    return ""


def _difference_of_groups(place: Place) -> str:
    hosts: Counter[str] = Counter(each.host.group for each in place.ours())
    well: Counter[str] = Counter(each.host.group for each in place.hosts() if each.is_well)
    for state in place.accepted.values():
        route = place.balancer.route(state.application)
        for group in state.groups:
            behaviour = place.world.behaviour(group.digest)
            total = hosts.pop(group.name, group.count if group.is_adopted else 0)
            if group.count and not behaviour.is_good:
                continue  # its hosts fall ill for ever, and are replaced for ever
            if total > group.count + len(group.replace) or well[group.name] < group.count:
                return f"{group.name} has {total} hosts, {well[group.name]} well, of {group.count}"
            weight_bp = route.weight_bp(group.name) if route else group.weight_bp * state.is_worker
            if weight_bp != group.weight_bp and (behaviour.is_good or not group.weight_bp):
                return f"{group.name} has {weight_bp} bp of {group.weight_bp}"
            if route is not None and route.testers == group.name and not group.takes_testers:
                return f"testers are still sent to {group.name}"
    if hosts:
        return f"unclaimed hosts: {', '.join(sorted(hosts))}"
    wanted = {group.name for state in place.accepted.values() for group in state.groups}
    extra = [each.group for each in place.balancer.structure.backends if each.group not in wanted]
    return f"the balancer still has {', '.join(extra)}" if extra else ""
