"""Regions that need time, a clock of seconds and a transcript: what happened to one application, for people.

Hosts are verified `BOOT_SECONDS` after they were asked for, a balancer follows a second later, hosts that go
finish their requests first. Everything else is the product's own code.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from repave_controller.core.commands.release import request_release
from repave_controller.core.domain.application import (
    Application,
    Because,
    Instant,
    Observed,
    Outcome,
    RegionView,
    Tenure,
)
from repave_controller.core.domain.naming import format_cluster
from repave_controller.core.domain.reasons import Refused
from repave_controller.core.domain.rollout import GroupNumber, Phase, Rollout
from repave_controller.core.rollout.step import step
from repave_controller.core.rules.guards import NO_CONSTRAINTS
from repave_controller.core.rules.safety import check
from repave_controller.spec.loader import load
from repave_controller.spec.spec import compile_order
from repave_controller.wording.render import event_text, remedy_of, text_of
from repave_protos.protocol.values import (
    ApplicationReport,
    DesiredState,
    Digest,
    GroupName,
    GroupReport,
    RegionName,
)

BOOT_SECONDS = 20
DRAIN_SECONDS = 5
END_SECONDS = 100_000


@dataclass(slots=True)
class Hosts:
    """One group in one region."""

    born: list[int] = field(default_factory=list)
    leaving: list[int] = field(default_factory=list)  # when each of them is gone
    weight_bp: int = 0


@dataclass(slots=True)
class Region:
    """Obeys, unless it is told to fail."""

    desired: DesiredState | None = None
    hosts: dict[GroupName, Hosts] = field(default_factory=dict)
    is_connected: bool = True
    since: int = 0
    sick: set[GroupName] = field(default_factory=set)
    broken: set[GroupName] = field(default_factory=set)
    ill: dict[GroupName, int] = field(default_factory=dict)  # how many hosts of a group answer 500

    def work(self, now: int) -> None:
        for wanted in self.desired.groups if self.desired is not None else ():
            hosts = self.hosts.setdefault(wanted.name, Hosts())
            while len(hosts.born) < wanted.count:
                hosts.born.append(now)
            while len(hosts.born) > wanted.count and not wanted.keeps_failed:
                hosts.born.pop()
                hosts.leaving.append(now + DRAIN_SECONDS)
            hosts.leaving = [gone for gone in hosts.leaving if gone > now]
            hosts.weight_bp = wanted.weight_bp

    def report(self, now: int) -> ApplicationReport | None:
        if self.desired is None:
            return None
        groups = tuple(self._group(name, hosts, now) for name, hosts in self.hosts.items())
        return ApplicationReport(self.desired.application, self.desired.epoch, groups)

    def _group(self, name: GroupName, hosts: Hosts, now: int) -> GroupReport:
        there = len(hosts.born)
        if name in self.broken and there:
            return GroupReport(name, failed=there, has_given_up=True, trouble="exited with code 1")
        ready = sum(now >= born + BOOT_SECONDS for born in hosts.born)
        if name in self.sick:
            return GroupReport(
                name,
                unhealthy=ready,
                starting=there - ready,
                weight_bp=hosts.weight_bp,
                trouble="answered 500",
            )
        ill = min(self.ill.get(name, 0), ready)
        return GroupReport(
            name,
            verified=ready - ill,
            unhealthy=ill,
            starting=there - ready,
            balancer_up=ready - ill,
            trouble="answered 500" if ill else "",
            destroying=len(hosts.leaving),
            weight_bp=hosts.weight_bp,
        )


def hosts(count: int) -> str:
    return "1 host" if count == 1 else f"{count} hosts"


class World:
    """One application, its regions and its transcript."""

    def __init__(self, spec: str, title: str) -> None:
        self.spec_text = spec
        self.spec, _ = load(spec, "repave.yaml")
        self.application = Application(
            self.spec.application, format_cluster(self.spec.app, self.spec.stack or ""), GroupNumber(1)
        )
        self.regions = {RegionName(each.name): Region() for each in self.spec.regions}
        self.now = 0
        self.lines = [title, ""]
        self.constraints = NO_CONSTRAINTS
        self._pictures: dict[RegionName, str] = {}
        self.because: tuple[Because, ...] = ()

    # ------------------------------------------------------------------------------------- what happens

    @property
    def observed(self) -> Observed:
        return {
            name: RegionView(region.is_connected, region.report(self.now), Instant(region.since))
            for name, region in self.regions.items()
        }

    def tell(self, text: str) -> None:
        self.lines.append(f"{self.now:7d} s  {text}")

    def decide(self) -> None:
        """One decision with all promises checked; what it says is told."""
        now, observed = Instant(self.now), self.observed
        decision = step(self.application, observed, now, Tenure(1, 1), self.constraints)
        assert check(self.application, decision, observed) == [], self.transcript()
        self.application, self.because = decision.application, decision.because
        for event in decision.events:
            self.tell(f"{event.kind}: {event_text(event)}")
        for name, state in self.application.desired:
            region = self.regions[name]
            if region.is_connected and region.desired != state:
                region.desired = state
                self._draw(name)

    def _draw(self, name: RegionName) -> None:
        """The region as it is wanted now, if it looks otherwise than before."""
        state = self.regions[name].desired
        groups = state.groups if state is not None else ()
        shown = ", ".join(
            f"{each.name.rpartition('-')[2]} {hosts(each.count)} {each.weight_bp / 100:g} %"
            if each.count or not each.keeps_failed
            else f"{each.name.rpartition('-')[2]} kept"
            for each in groups
        )
        if self._pictures.get(name, "") != shown:
            self._pictures[name] = shown
            self.lines.append(f"{'':11}  | {name}: {shown or 'nothing'}")

    def tick(self) -> None:
        self.now += 1
        for region in self.regions.values():
            if region.is_connected:
                region.work(self.now)
        self.decide()

    def run(self, seconds: int) -> None:
        for _ in range(seconds):
            self.tick()

    def until(self, is_so: Callable[["World"], bool]) -> None:
        """Until that is so; fails with the transcript when it never is."""
        while not is_so(self):
            assert self.now < END_SECONDS, self.transcript()
            self.tick()

    def until_over(self) -> Phase:
        self.until(lambda world: world.application.running is None)
        assert self.application.rollout is not None, "something was rolled out"
        return self.application.rollout.phase

    def until_cleaned(self) -> None:
        """Until nothing is being destroyed any more."""
        self.until(
            lambda world: all(not each.leaving for r in world.regions.values() for each in r.hosts.values())
        )
        self.run(2)

    def until_told(self, text: str) -> None:
        """Until the transcript's end holds the text."""
        start = len(self.lines)
        self.until(lambda world: any(text in line for line in world.lines[start:]))

    # ------------------------------------------------------------------------------------- what people do

    def release(self, version: str, by: str = "ann") -> None:
        order = compile_order(self.spec, Digest(version[-1] * 64), version, by)
        self.ask(
            f"{by}: repave release --version {version}",
            lambda app, now: request_release(app, order, False, now),
        )

    def ask(self, said: str, command: Callable[[Application, Instant], Outcome]) -> None:
        """A command; a refusal is told as the person reads it."""
        self.tell(said)
        try:
            self.application, events = command(self.application, Instant(self.now))
        except Refused as refused:
            self.tell(f"refused ({refused.rule}): {text_of(refused.reason)}")
            return
        for event in events:
            self.tell(f"{event.kind}: {event_text(event)}")
        self.decide()

    def why(self) -> None:
        """What `repave why` says now."""
        decision = step(self.application, self.observed, Instant(self.now), Tenure(1, 1), self.constraints)
        self.tell("ann: repave why")
        for each in decision.because:
            where = f"{each.region}: " if each.region else ""
            until = f" (until {each.until:g} s)" if each.until is not None else ""
            remedy = f" [{way}]" if (way := remedy_of(each.reason)) else ""
            self.lines.append(f"{'':11}  ? {where}{text_of(each.reason)}{until}{remedy}")

    def happens(self, text: str) -> None:
        self.tell(f"* {text}")

    @property
    def rollout(self) -> Rollout:
        rollout = self.application.rollout
        assert rollout is not None, "something was rolled out"
        return rollout

    def weights(self, region: str) -> dict[str, int]:
        state = self.application.desired_in(RegionName(region))
        return {each.name: each.weight_bp for each in state.groups if each.weight_bp} if state else {}

    def counts(self, region: str) -> dict[str, int]:
        state = self.application.desired_in(RegionName(region))
        return {each.name: each.count for each in state.groups if each.count} if state else {}

    def transcript(self) -> str:
        return "\n".join(self.lines) + "\n"
