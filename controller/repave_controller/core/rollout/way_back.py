"""Which group each region goes back to, and with which hosts: what `repave rollback` starts and plans.

Each region has a history of its own; releases that failed there, or never came, are no part of it. What
served there last counts, whether its hosts are kept or have to be launched again.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from repave_controller.core.domain.application import (
    FULL_PERCENT,
    UNWANTED,
    Application,
    GroupState,
    Part,
    ServerGroup,
)
from repave_controller.core.domain.reasons import Refusal, Refused, cli
from repave_protos.protocol.copies import replace
from repave_protos.protocol.values import RegionName

CHOICES_MAX = 5
"""Groups that are named to whoever has to choose one."""


@dataclass(frozen=True, slots=True)
class WayBack:
    """Of one region: from the group that serves to `target`. `kept`: its part, where its hosts are kept."""

    region: RegionName
    serving: ServerGroup
    target: ServerGroup
    kept: Part | None

    @property
    def size(self) -> int:
        """Hosts that it shall have: as many as serve now, and no fewer than it had. An adopted group has
        those that it was adopted with."""
        if self.target.is_adopted and self.kept is not None:
            return self.kept.size
        return max(self.serving.size(self.region), self.kept.size if self.kept is not None else 0)

    @property
    def has(self) -> int:
        """Hosts of it that are kept, and have been waited for once."""
        return self.kept.judged if self.kept is not None else 0

    @property
    def is_whole(self) -> bool:
        """Whether it can take all traffic in one switch: it has as many hosts as serve now."""
        wanted = self.size if self.target.is_adopted else self.serving.size(self.region)
        return self.has >= wanted

    @property
    def grown(self) -> Part:
        """The kept part, with the size that it is to have and the hosts that it has."""
        assert self.kept is not None, "only kept hosts can grow in number"
        return replace(self.kept, size=self.size, percent=FULL_PERCENT * self.kept.count / self.size)


def ways_back(
    application: Application, to: str = "", regions: tuple[RegionName, ...] = ()
) -> tuple[WayBack, ...]:
    """One for each region that is to go back, by name. Raises Refused where it is not clear where to.

    Without `to` the regions that have the newest release go back, each to what served there before. A region
    in which nothing did gets what the others go back to. Where a rollout has gone back already, a person says
    with `to` whether it is to be further back or forward again.
    """
    served = tuple(region for region in application.regions if application.serving_in(region) is not None)
    unknown = sorted(set(regions) - set(served))
    if unknown:
        raise Refused(
            Refusal.UNKNOWN_REGION_OF_SERVICE,
            application=application.name,
            region=unknown[0],
            known=served,
        )
    asked = tuple(region for region in served if region in regions) or served
    if to:
        return _named(application, to, asked)
    concerned = asked if regions else _of_the_newest(application, asked)
    _check_not_back(application, concerned, asked)
    found = {region: _latest(application, region) for region in concerned}
    known = {group.number: group for group in found.values() if group is not None}
    if not known:
        raise _nothing(application, "", concerned)
    newest = known[max(known)]
    return tuple(_way(application, region, group or newest) for region, group in found.items())


def _of_the_newest(application: Application, regions: Iterable[RegionName]) -> tuple[RegionName, ...]:
    """Those that have the newest group of those that did not get their traffic by going back."""
    forward = {
        region: group.number
        for region in regions
        if (group := application.serving_in(region)) is not None and not _is_back(group, region)
    }
    newest = max(forward.values(), default=None)
    return tuple(region for region, number in forward.items() if number == newest)


def _check_not_back(
    application: Application, concerned: tuple[RegionName, ...], asked: tuple[RegionName, ...]
) -> None:
    back = tuple(
        (region, group)
        for region in concerned or asked
        if (group := application.serving_in(region)) is not None and _is_back(group, region)
    )
    if not back:
        return
    names = tuple(dict.fromkeys(f"{group.name} ({group.version})" for _, group in back))
    choices = _choices(application, tuple(region for region, _ in back))
    raise Refused(
        Refusal.ALREADY_BACK,
        *(cli("rollback", application.name, to=group.name) for group in choices),
        application=application.name,
        serving=names,
        regions=tuple(region for region, _ in back),
        choices=tuple(f"{group.name} ({group.version})" for group in choices),
    )


def _is_back(group: ServerGroup, region: RegionName) -> bool:
    part = group.part(region)
    return part is not None and part.is_back


def _choices(application: Application, regions: Iterable[RegionName]) -> list[ServerGroup]:
    """Groups that these regions might go back to: first those that are older than who serves."""
    serving = {region: application.serving_in(region) for region in regions}
    oldest = min((group.number for group in serving.values() if group is not None), default=0)
    found = {group.number: group for region in serving for _, group in _former(application, region)}
    ordered = sorted(found.values(), key=lambda group: (group.number > oldest, -group.number))
    return ordered[:CHOICES_MAX]


def _former(application: Application, region: RegionName) -> list[tuple[float, ServerGroup]]:
    """What has served in the region, and when it lost the traffic; the latest first."""
    found = []
    living = set()
    for group in application.groups:
        part = group.part(region)
        if part is not None and part.state is not GroupState.RETIRING:
            living.add(group.number)
        if part is not None and part.state is GroupState.WARM:
            found.append((part.left_traffic_at or 0.0, group))
    for group in application.past:
        part = group.part(region)
        if part is not None and group.number not in living:
            found.append((part.left_traffic_at or 0.0, group))
    return sorted(found, key=lambda each: (each[0], each[1].number), reverse=True)


def _latest(application: Application, region: RegionName) -> ServerGroup | None:
    former = _former(application, region)
    return former[0][1] if former else None


def _way(application: Application, region: RegionName, target: ServerGroup) -> WayBack:
    serving = application.serving_in(region)
    assert serving is not None, "only regions that serve go back"
    live = application.group(target.number)
    part = live.part(region) if live is not None else None
    kept = part if part is not None and part.state is GroupState.WARM else None
    is_gone = live is None or live.state in UNWANTED
    if target.is_adopted and kept is None:
        raise Refused(Refusal.ADOPTED_GONE, application=application.name, group=target.name, region=region)
    return WayBack(region, serving, target if is_gone else live or target, kept)


def _named(application: Application, to: str, asked: tuple[RegionName, ...]) -> tuple[WayBack, ...]:
    """Every region that does not have it yet goes to the group, or to the newest of the version; where
    it never was, it is launched."""
    known: dict[int, ServerGroup] = {}
    for group in (*application.past, *application.groups):
        is_gone = group.is_baseline or (group.state in UNWANTED and group in application.groups)
        if to in (group.name, group.version) and not is_gone:
            known[group.number] = group
    if not known:
        _check_not_failed(application, to, asked)
        raise _nothing(application, to, asked)
    ways = []
    for region in asked:
        serving = application.serving_in(region)
        if serving is not None and to in (serving.name, serving.version):
            continue
        former = [group for _, group in _former(application, region) if group.number in known]
        if not former:
            _check_not_failed(application, known[max(known)].name, (region,))
        ways.append(_way(application, region, former[0] if former else known[max(known)]))
    if not ways:
        raise Refused(Refusal.SERVES_ALREADY, application=application.name, name=to, regions=asked)
    return tuple(ways)


def _check_not_failed(application: Application, to: str, regions: Iterable[RegionName]) -> None:
    """A group that failed is kept to be looked at, not to serve. Raises Refused."""
    for group in application.groups:
        failed = tuple(
            region
            for region in regions
            if (part := group.part(region)) is not None and part.state is GroupState.FAILED
        )
        if failed and to in (group.name, group.version):
            retire = cli("groups retire", application.name, group.name)
            raise Refused(Refusal.GROUP_FAILED, retire, group=group.name, regions=failed)


def _nothing(application: Application, to: str, regions: tuple[RegionName, ...]) -> Refused:
    there = tuple(f"{group.name} ({group.version})" for group in _choices(application, application.regions))
    if there and to:
        return Refused(Refusal.NO_OLDER_GROUP_OF_NAME, application=application.name, name=to, groups=there)
    if there:
        return Refused(
            Refusal.NO_OLDER_GROUP_IN_REGION,
            application=application.name,
            regions=regions,
            groups=there,
        )
    return Refused(Refusal.NO_OLDER_GROUP, application=application.name)
