"""Where errors have risen of late, and which releases explain it: asks balancers and reads histories; what
follows is decided in core/planning/suspects.py."""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Final

from repave_controller.core.analysis.rises import rise_of
from repave_controller.core.domain.application import Application
from repave_controller.core.domain.naming import format_group
from repave_controller.core.domain.rollout import Rollout
from repave_controller.core.planning.suspects import Move, Suspect, Trouble, ranked
from repave_controller.core.ports import Store
from repave_controller.operations.traffic import LAG_SECONDS, TrafficReader
from repave_protos.protocol.queries import GroupTraffic, Traffic
from repave_protos.protocol.values import ApplicationName, GroupName, RegionName

ROLLOUTS_MAX: Final = 20
"""Of one application, the newest."""
APPLICATIONS_MAX: Final = 30
"""Whose releases are looked at, those that began last."""
QUIET_MIN: Final = 100
"""So many requests have to be counted before it means something that no errors rose."""

Key = tuple[ApplicationName, RegionName]


@dataclass(frozen=True, slots=True)
class Inquiry:
    """What is asked: errors of `applications` in `regions` since then (Unix time)."""

    applications: Sequence[Application]
    regions: Collection[RegionName]
    since: float
    now: float


@dataclass(frozen=True, slots=True)
class Findings:
    """`unknown`: regions of which nothing is known, and why; `left_out`: applications whose releases were not
    looked at, for there are so many."""

    troubles: tuple[Trouble, ...] = ()
    suspects: tuple[Suspect, ...] = ()
    unknown: Mapping[RegionName, str] = field(default_factory=dict)
    left_out: int = 0


class Suspects:
    """One for a controller."""

    def __init__(self, reader: TrafficReader, store: Store) -> None:
        self._reader, self._store = reader, store

    async def find(self, asked: Inquiry, among: Sequence[Application]) -> Findings:
        """`among`: the applications whose releases may be named. Raises StoreError."""
        seen, unknown = await self._traffic(asked.applications, asked)
        troubles, quiet = await asyncio.to_thread(_symptoms, seen, asked)
        if not troubles:
            return Findings(unknown=unknown)
        rollouts = await self._rollouts(among, asked)
        newest = sorted(rollouts, key=lambda each: -max(one.started_at for one in rollouts[each]))
        looked_at = newest[:APPLICATIONS_MAX]
        known = {each.name for each in asked.applications}
        others = [each for each in among if each.name in looked_at and each.name not in known]
        more, _ = await self._traffic(others, asked)
        clusters = {each.name: each.cluster for each in among}
        moves = [
            _move(name, clusters[name], rollout, {**seen, **more})
            for name in looked_at
            for rollout in rollouts[name]
        ]
        slack = max((each.step_seconds for each in seen.values()), default=5) + LAG_SECONDS
        suspects = ranked([each for each in moves if each.reached], troubles, quiet, slack, asked.now)
        return Findings(tuple(troubles), tuple(suspects), unknown, len(rollouts) - len(looked_at))

    async def _traffic(
        self, applications: Sequence[Application], asked: Inquiry
    ) -> tuple[dict[Key, Traffic], dict[RegionName, str]]:
        found: dict[Key, Traffic] = {}
        unknown: dict[RegionName, str] = {}

        async def ask(application: Application) -> None:
            regions = [each for each in application.regions if each in asked.regions]
            told, why = await self._reader.ask(application.name, regions, asked.since)
            found.update({(application.name, region): each for region, each in told.items()})
            unknown.update(why)

        await asyncio.gather(*map(ask, applications))
        return found, unknown

    async def _rollouts(
        self, among: Sequence[Application], asked: Inquiry
    ) -> dict[ApplicationName, list[Rollout]]:
        """Those that were under way since then, in the regions asked for."""
        found = {}
        for application in among:
            if not any(region in asked.regions for region in application.regions):
                continue
            latest = application.rollout
            if latest is None or not _is_of(latest, asked):
                continue  # those before it are older still
            known = await self._store.rollouts(application.name, ROLLOUTS_MAX)
            found[application.name] = [each for each in known if _is_of(each, asked)] or [latest]
        return found


def _is_of(rollout: Rollout, asked: Inquiry) -> bool:
    return rollout.ended_at is None or rollout.ended_at >= asked.since


def _symptoms(seen: Mapping[Key, Traffic], asked: Inquiry) -> tuple[list[Trouble], set[Key]]:
    """Where errors rose, and where enough is known to say that they did not."""
    troubles, quiet = [], set[Key]()
    for (application, region), traffic in sorted(seen.items()):
        step = traffic.step_seconds
        begin = int(max(asked.since, traffic.kept_since) // step)
        end = int((asked.now - LAG_SECONDS) // step)
        requests, errors = [0] * max(0, end - begin), [0] * max(0, end - begin)
        for slot, more, wrong in _counted(traffic.groups, begin, end):
            requests[slot - begin] += more
            errors[slot - begin] += wrong
        rise = rise_of(step, begin * step, requests, errors)
        if rise is not None:
            first, last = int(rise.at // step), int(rise.until // step)
            groups = {each.group: _sum(each, first, last) for each in traffic.groups}
            troubles.append(Trouble(application, region, rise, groups, goes_on=last >= end - 1))
        elif sum(requests) >= QUIET_MIN:
            quiet.add((application, region))
    return troubles, quiet


def _counted(groups: Sequence[GroupTraffic], begin: int, end: int) -> list[tuple[int, int, int]]:
    """(slot, requests, errors)"""
    return [
        (slot, requests, errors)
        for each in groups
        for slot, requests, errors in zip(each.slots, each.requests, each.errors, strict=True)
        if begin <= slot < end
    ]


def _sum(group: GroupTraffic, begin: int, end: int) -> tuple[int, int]:
    counted = _counted((group,), begin, end)
    return sum(requests for _, requests, _ in counted), sum(errors for _, _, errors in counted)


def _move(application: ApplicationName, cluster: str, rollout: Rollout, seen: Mapping[Key, Traffic]) -> Move:
    """As the balancers have split requests while it was under way, and since."""
    group = format_group(cluster, rollout.target)
    reached: dict[RegionName, tuple[float, ...]] = {}
    left: dict[RegionName, float] = {}
    for (name, region), traffic in seen.items():
        if name != application:
            continue
        came, went = _times(traffic, group, rollout)
        if came:
            reached[region] = came
        if came and went:
            left[region] = went
    return Move(
        application,
        rollout.number,
        rollout.kind,
        group,
        rollout.version,
        rollout.started_at,
        reached,
        left,
    )


def _times(traffic: Traffic, group: GroupName, rollout: Rollout) -> tuple[tuple[float, ...], float]:
    """When the rollout raised its share, and when that fell to nothing for good; 0: it has some."""
    came, went, share_bp = [], 0.0, 0
    begun = rollout.started_at - LAG_SECONDS
    ended = rollout.ended_at + LAG_SECONDS if rollout.ended_at is not None else inf
    for flip in sorted(traffic.flips, key=lambda each: each.at):
        now_bp = dict(flip.shares).get(group, 0)
        if flip.at >= begun:
            came += [flip.at] if share_bp < now_bp and flip.at <= ended else []
            went = flip.at if share_bp and not now_bp else 0.0 if now_bp else went
        share_bp = now_bp
    return tuple(came), went
