"""Whether a list of steps can be carried out, one after another, and keeps the promises.

The steps are gone through in a region as a rollout goes through them, with its arithmetic, and hosts that are
well: what is accepted here needs no host and no share that it does not get.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from repave_controller.core.domain.application import (
    FULL_PERCENT,
    Application,
    GroupState,
    Instant,
    Part,
    Policy,
    ServerGroup,
    hosts_of,
)
from repave_controller.core.domain.by_region import ByRegion
from repave_controller.core.domain.rollout import GroupNumber, Phase, Rollout, RolloutKind, Track, TrackPhase
from repave_controller.core.domain.steps import Step, baseline_range
from repave_controller.core.rules.capacity import Serving, shortfalls
from repave_controller.core.steps.step import entered
from repave_protos.protocol.copies import replace
from repave_protos.protocol.values import (
    FULL_WEIGHT_BP,
    ApplicationName,
    Digest,
    GroupName,
    HostTemplate,
    Probe,
    RegionName,
)

OLD, NEW = GroupNumber(1), GroupNumber(2)
TEMPLATE = HostTemplate((), (), Probe("tcp", 1), 0.0, 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Objection:
    """What is wrong, with its arithmetic, and what would do. `option`: the guard that speaks against it."""

    text: str
    option: str = ""


@dataclass(frozen=True, slots=True)
class Moment:
    """A region once a step is entered."""

    step: Step
    number: int  # of the step, from 1
    region: RegionName
    old: Part
    new: Part
    baseline: int = 0  # hosts of the old version that the new ones are compared with
    is_compared: bool = False  # with such hosts, in this step

    @property
    def where(self) -> str:
        resized = f"{self.old.size} to " if self.old.size != self.new.size else ""
        return f"step {self.number}: {self.region}, {resized}{_hosts(self.new.size)}"

    @property
    def hosts(self) -> int:
        return self.old.count + self.new.count + self.baseline


def objection(
    steps: Sequence[Step],
    policy: Policy,
    sizes: Iterable[tuple[RegionName, int]],
    max_surge_percent: float | None = None,
    served: Mapping[RegionName, int] | None = None,
) -> Objection | None:
    """The first thing that is wrong with the steps in any of the regions; None when nothing is. `served`: the
    sizes of the groups that serve before, where they differ."""
    known: set[tuple[int, int]] = set()
    for region, size in sizes:
        before = (served or {}).get(region, size)
        if (before, size) in known:
            continue
        known.add((before, size))
        for moment in moments(steps, region, size, before):
            found = _objection_at(moment, policy, max_surge_percent)
            if found is not None:
                return found
        found = _objection_at_end(moment)
        if found is not None:
            return found
    return None


def moments(steps: Sequence[Step], region: RegionName, size: int, before: int) -> Iterator[Moment]:
    """The region after each step, where a group of the size `before` serves at first."""
    old = Part(region, before, GroupState.SERVING, FULL_PERCENT, FULL_WEIGHT_BP)
    application = Application(
        ApplicationName("a"),
        "a",
        GroupNumber(3),
        groups=(_group(OLD, old), _group(NEW, Part(region, size, GroupState.NEW))),
    )
    track = Track(region, 0, OLD, TrackPhase.RUNNING)
    tracks = ByRegion((track,))
    rollout = Rollout(1, RolloutKind.RELEASE, NEW, tuple(steps), tracks, Phase.RUNNING, Instant(0), "")
    within = baseline_range(steps)
    for index, step in enumerate(steps):
        application = entered(application, rollout, replace(track, cursor=index), step)
        parts = [group.part(region) for group in application.groups]
        assert parts[0] is not None, "it serves"
        assert parts[1] is not None, "it is brought up"
        baseline = parts[1].count if index in within else 0
        yield Moment(step, index + 1, region, parts[0], parts[1], baseline, step.needs_baseline)


def _group(number: GroupNumber, part: Part) -> ServerGroup:
    name, parts = GroupName(f"a-v{number:03d}"), ByRegion((part,))
    return ServerGroup(name, number, "", Digest(""), parts, TEMPLATE, Instant(0))


# ------------------------------------------------------------------------------------------- after each step


def _objection_at(moment: Moment, policy: Policy, max_surge_percent: float | None) -> Objection | None:
    new, step = moment.new, moment.step
    if new.weight_bp > 0 and new.proven == 0:
        text = f"weight: {_share(new)} goes to hosts that are not verified: put scale and verify: {{}} before"
        return Objection(f"step {moment.number}: {text}")
    if step.analysis is not None and new.weight_bp == 0:
        text = f"{step.kind} compares a group that gets no traffic: put a weight before"
        return Objection(f"step {moment.number}: {text}")
    if step.is_watched and new.count > 0 and new.proven == 0:
        text = f"{step.kind} watches hosts that are not verified yet: put verify: {{}} before"
        return Objection(f"step {moment.number}: {text}")
    return _no_comparison(moment) or _too_many(moment, max_surge_percent) or _too_few(moment, policy)


def _no_comparison(moment: Moment) -> Objection | None:
    """A baseline has as much of the traffic as the new group, and something is left."""
    share_bp = moment.new.weight_bp
    if moment.is_compared and not moment.baseline:
        return Objection(
            f"step {moment.number}: no hosts are launched for a fresh baseline: put scale before"
        )
    if not (moment.is_compared or moment.baseline) or 2 * share_bp < FULL_WEIGHT_BP:
        return None
    return Objection(
        f"{moment.where}: the new group has {_share(moment.new)} of the traffic, and a fresh baseline as "
        "much: together they must leave some to the old group; use it below 50%, or baseline: current"
    )


def _too_many(moment: Moment, max_surge_percent: float | None) -> Objection | None:
    if max_surge_percent is None:
        return None
    size = moment.new.size
    allowed = size + hosts_of(size, max_surge_percent)
    if moment.hosts <= allowed:
        return None
    both = f"{moment.old.count} old and {moment.new.count} new hosts"
    both += f" and {moment.baseline} of a baseline" if moment.baseline else ""
    return Objection(
        f"{moment.where}: {both} are {moment.hosts} at once, "
        f"max_surge {max_surge_percent:g}% allows {allowed}: rolling takes as many more as its largest step, "
        "and with first: old none",
        "max_surge",
    )


def _too_few(moment: Moment, policy: Policy) -> Objection | None:
    old, new = moment.old, moment.new
    groups = (
        Serving(old.count, old.size, old.weight_bp),
        Serving(min(new.proven, new.count), new.size, new.weight_bp),
    )
    for lack in shortfalls(policy, groups):
        if lack.of is None:
            text = _below(moment, lack.hosts, lack.needed, "min_hosts", f"{policy.min_hosts}")
            return Objection(text, "min_hosts")
        is_new = lack.of == 1
        part, which = (new, "new") if is_new else (old, "old")
        advice = "scale further and verify before" if is_new else "move traffic first"
        return Objection(
            f"{moment.where}: {_share(part)} of the traffic takes {_hosts(lack.needed)} (guards.min_capacity "
            f"{policy.min_capacity_percent:g}%), and the {which} group has {lack.hosts}"
            f"{' verified' if is_new else ''}: {advice}, or lower guards.min_capacity",
            lack.rule,
        )
    hosts = sum(group.hosts for group in groups if group.weight_bp > 0)
    needed = policy.floor(min(old.size, new.size))  # a release may make a region smaller or larger
    if hosts < needed:
        asked = f"{policy.min_capacity_percent:g}%"
        return Objection(_below(moment, hosts, needed, "min_capacity", asked), "min_capacity")
    return None


def _below(moment: Moment, hosts: int, needed: int, option: str, asked: str) -> str:
    return (
        f"{moment.where}: {_hosts(hosts)} would serve, guards.{option} {asked} asks for {needed}: take "
        f"smaller steps, or lower guards.{option}"
    )


def _share(part: Part) -> str:
    return f"{part.weight_bp / 100:g}%"


def _hosts(count: int) -> str:
    return "1 host" if count == 1 else f"{count} hosts"


# ------------------------------------------------------------------------------------------------ at the end


def _objection_at_end(moment: Moment) -> Objection | None:
    new = moment.new
    if new.weight_bp < FULL_WEIGHT_BP:
        return Objection(f"the last weight is {_share(new)}: end with - weight: 100%")
    if min(new.proven, new.count) < new.size:
        return Objection(
            f"the new group would end with {min(new.proven, new.count)} of {_hosts(new.size)} verified: add "
            "scale: 100% and verify: {}"
        )
    return None
