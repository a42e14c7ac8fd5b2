"""A fleet that is there already becomes an application's first server group: the old side of its first
release.

Nothing of it is touched. Until it is to be served, or the first release begins, its hosts are only probed,
and its clients come in as they did before. From then on the group is as any other, but that none of its hosts
is made or ended. Pure; which hosts there are is found out by agents.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice

from repave_controller.core.domain.application import (
    ADOPTED_VERSION,
    FULL_PERCENT,
    Application,
    Event,
    GroupState,
    Instant,
    Outcome,
    Part,
    ReleaseOrder,
    ServerGroup,
)
from repave_controller.core.domain.by_region import ByRegion
from repave_controller.core.domain.naming import format_group
from repave_controller.core.domain.reasons import Happening, Reason, Refusal, Refused, cli, reason_of
from repave_controller.core.domain.rollout import GroupNumber, Phase, Rollout, RolloutKind
from repave_protos.daemon.endpoint import endpoint
from repave_protos.protocol.copies import replace
from repave_protos.protocol.values import (
    FULL_WEIGHT_BP,
    NO_PACKAGE,
    ApplicationName,
    GivenHost,
    HostTemplate,
    RegionName,
)

DIFFERENCES_SHOWN = 4

Fleet = tuple[tuple[RegionName, tuple[GivenHost, ...]], ...]
"""The hosts of each region, sorted by region."""


@dataclass(frozen=True, slots=True)
class AdoptionOrder:
    """What is adopted. `spec`: what its releases will be; its port, health and rules count already. `serves`:
    balancers send the fleet requests from now on, not only once a release begins."""

    spec: ReleaseOrder
    fleet: Fleet
    serves: bool = False


def request_adoption(application: Application, order: AdoptionOrder, now: Instant) -> Outcome:
    """Adopts the fleet; asked again with the same one, changes nothing but what `serves` adds. Raises
    Refused."""
    if application.deletion is not None and application.groups:
        why = cli("why", application.name)
        raise Refused(Refusal.BEING_DELETED, why, application=application.name, regions=application.regions)
    known = adopted_before(application)
    if known is not None:
        return _again(application, known, order, now)
    if application.groups:
        names = tuple(group.name for group in application.groups if not group.is_adopted)
        raise Refused(Refusal.HAS_RELEASES, application=application.name, groups=names)
    return _adopted(application, order, now)


def adopted_before(application: Application) -> ServerGroup | None:
    """The group that was adopted, where nothing was released since."""
    match application.groups:
        case (only,) if only.is_adopted and application.rollout is not None:
            is_last = application.rollout.kind is RolloutKind.ADOPTION
            return only if is_last and application.deletion is None else None
        case _:
            return None


def check_hosts(
    name: ApplicationName, fleet: Fleet, applications: Mapping[ApplicationName, Application]
) -> None:
    """No host is another application's. Raises Refused."""
    for other in applications.values():
        taken = set(_places(other)) if other.name != name else set()
        for region, hosts in fleet:
            found = [each for each in hosts if (region, each.address, each.port) in taken]
            if found:
                raise Refused(
                    Refusal.HOST_ADOPTED_ALREADY,
                    host=endpoint(found[0].address, found[0].port),
                    region=region,
                    other=other.name,
                )


def template_of(template: HostTemplate) -> HostTemplate:
    """What is known of an adopted host: how it is asked for its health, and drained."""
    return replace(
        template,
        run=(),
        environment=(),
        machine_image="",
        signature="",
        signers=(),
        trusted_roots=(),
        secrets=(),
        machine_sizes=(),
        is_spot=False,
    )


def _places(application: Application) -> Iterator[tuple[RegionName, str, int]]:
    for part in (part for group in application.groups for part in group.parts):
        yield from ((part.region, each.address, each.port) for each in part.given)


def _adopted(application: Application, order: AdoptionOrder, now: Instant) -> Outcome:
    spec, number = order.spec, application.next_number
    group = ServerGroup(
        name=format_group(application.cluster, number),
        number=number,
        version=ADOPTED_VERSION,
        digest=NO_PACKAGE,
        parts=ByRegion(_part(region, hosts) for region, hosts in order.fleet),
        template=template_of(spec.template),
        created_at=now,
        is_adopted=True,
    )
    rollout = Rollout(
        number=application.rollouts_total + 1,
        kind=RolloutKind.ADOPTION,
        target=number,
        steps=(),
        tracks=ByRegion(),
        phase=Phase.SUCCEEDED,
        started_at=now,
        started_by=spec.by,
        version=ADOPTED_VERSION,
        reason=spec.reason,
        ended_at=now,
    )
    adopted = replace(
        application.with_group(group),
        next_number=GroupNumber(number + 1),
        frontend_port=spec.frontend_port if order.serves else 0,
        split=spec.split,
        policy=spec.policy,
        rollout=rollout,
        rollouts_total=rollout.number,
        deletion=None,
    )
    what = reason_of(
        Happening.ADOPTED,
        group=group.name,
        hosts=sum(len(hosts) for _, hosts in order.fleet),
        regions=tuple(region for region, _ in order.fleet),
        serves=int(order.serves),
        by=spec.by,
    )
    return adopted, (_event(adopted, group, "fleet.adopted", what, spec.by, now),)


def _part(region: RegionName, hosts: tuple[GivenHost, ...]) -> Part:
    return Part(region, len(hosts), GroupState.SERVING, FULL_PERCENT, FULL_WEIGHT_BP, given=hosts)


def _again(application: Application, group: ServerGroup, order: AdoptionOrder, now: Instant) -> Outcome:
    known = tuple((part.region, part.given) for part in group.parts)
    if _bare(known) != _bare(order.fleet):
        raise Refused(
            Refusal.ADOPTED_OTHERWISE,
            cli("delete", application.name),
            application=application.name,
            group=group.name,
            differences=tuple(islice(_differences(known, order.fleet), DIFFERENCES_SHOWN)),
        )
    if not (order.serves and application.is_watched):
        return application, ()
    served = replace(application, frontend_port=order.spec.frontend_port, split=order.spec.split)
    what = reason_of(Happening.ADOPTED_SERVES, group=group.name, by=order.spec.by)
    return served, (_event(served, group, "fleet.serves", what, order.spec.by, now),)


def _bare(fleet: Fleet) -> dict[RegionName, set[tuple[str, int]]]:
    """Without names, and in no order: those of one place may be listed in another order each time."""
    return {region: {(each.address, each.port) for each in hosts} for region, hosts in fleet}


def _differences(known: Fleet, asked: Fleet) -> Iterator[str]:
    was, shall = _bare(known), _bare(asked)
    for region in sorted(was.keys() | shall.keys()):
        for sign, places in (
            ("-", was.get(region, set()) - shall.get(region, set())),
            ("+", shall.get(region, set()) - was.get(region, set())),
        ):
            yield from (f"{region}: {sign}{endpoint(*each)}" for each in sorted(places))


def _event(
    application: Application, group: ServerGroup, kind: str, what: Reason, by: str, now: Instant
) -> Event:
    return Event(kind, application=application.name, group=group.name, by=by, at=now, what=what)
