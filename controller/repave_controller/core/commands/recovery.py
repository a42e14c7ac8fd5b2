"""Makes an application anew of what its regions have accepted, when the store has lost it. Pure.

The group with all the traffic everywhere serves; the other groups are kept warm. Nothing is moved or
destroyed: each region is afterwards desired to be what it is. What agents cannot know (version, policy)
is taken from the store's older copy where there is one. All that is assumed is told in `notes`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from repave_controller.core.domain.application import (
    ADOPTED_VERSION,
    FULL_PERCENT,
    Application,
    Drained,
    Event,
    GroupState,
    Instant,
    Offer,
    Part,
    Policy,
    ServerGroup,
    Upkeep,
)
from repave_controller.core.domain.by_region import ByRegion
from repave_controller.core.domain.naming import NamingError, parse_group
from repave_controller.core.domain.overlays import AS_THE_TEMPLATE, overlay_from
from repave_controller.core.domain.reasons import Happening, Refusal, Refused, Why, cli, reason_of
from repave_controller.core.domain.rollout import GroupNumber, Phase, Rollout, RolloutKind
from repave_controller.core.rules.divergence import RECOVER, offer_of
from repave_protos.protocol.copies import replace
from repave_protos.protocol.values import (
    FULL_WEIGHT_BP,
    NO_PACKAGE,
    ApplicationName,
    DesiredGroup,
    DesiredState,
    GroupName,
    RegionName,
    short_digest,
)

Said = Mapping[RegionName, DesiredState]

KEEP_SECONDS_MIN = 3600.0
"""For so long at least adopted warm groups stay, for people to look at them."""
LESS_TRUSTED_SECONDS = 1.0
"""A group that may never have served goes before those that have."""


@dataclass(frozen=True, slots=True)
class Adoption:
    """The application as it is from now on, and what people should know of it."""

    application: Application
    notes: tuple[str, ...]


def adopt(
    name: ApplicationName, stored: Application | None, said: Said, now: Instant, serving: str = ""
) -> Adoption:
    """`said`: what each region that answered has accepted. `serving` decides where they disagree.

    Raises Refused: the regions contradict each other, and a person must choose or bring one back.
    """
    stored = stored or Application(name, "", GroupNumber(1))
    away = {region: state for region, state in stored.desired if region not in said}
    server = _server(name, said, serving)
    groups = _groups(stored, said, away, server, now)
    rollout, rollout_notes = _ended(stored, groups, server, now)
    adopted = replace(
        stored,
        cluster=stored.cluster or _cluster(name, groups),
        next_number=_next_number(stored, groups),
        frontend_port=_port(name, stored, said),
        split=next((state.split for _, state in sorted(said.items()) if state.is_serving), stored.split),
        policy=_keeping(stored.policy, groups),
        groups=groups,
        rollout=rollout,
        rollouts_total=max(stored.rollouts_total, rollout.number),
        queue=(),
        queue_stands=None,
        drained=_drained(stored, said, now),
        desired=ByRegion({**away, **said}.items()).sorted(),
        offered=ByRegion({**dict(stored.offered), **_offers(said)}.items()).sorted(),
    )
    notes = (*_server_notes(said, server), *_away_notes(away), *_unknown_notes(stored, groups))
    return Adoption(adopted, (*notes, *rollout_notes, *_queue_notes(stored)))


def event(adoption: Adoption, now: Instant, by: str) -> Event:
    """For the log of events."""
    application = adoption.application
    server = application.group(application.serving)
    what = reason_of(
        Happening.RECOVERED, group=server.name if server is not None else "", notes=adoption.notes
    )
    return Event(
        "application.recovered",
        what=what,
        application=application.name,
        group=server.name if server else "",
        by=by,
        at=now,
    )


def _drained(stored: Application, said: Said, now: Instant) -> ByRegion[Drained]:
    """Regions that are out of DNS stay so; who asked for it is known only where the store has it."""
    away = (each for each in stored.drained if each.region not in said)
    heard = (
        stored.drained_in(region) or Drained(region, now, is_even_last=state.drain == "even_last")
        for region, state in said.items()
        if state.drain != "none"
    )
    return ByRegion((*away, *heard)).sorted()


# ---------------------------------------------------------------------------------------------- who serves


def _server(name: ApplicationName, said: Said, chosen: str) -> GroupName | None:
    """The group with all the traffic in every region that has any; None where no group serves yet."""
    voters = {region: state for region, state in sorted(said.items()) if state.is_serving}
    if chosen:
        return _chosen(name, voters, chosen)
    full = {_full(state) for state in voters.values()}
    if not full:
        return _watched(said)
    (first, *others) = full
    if first is None or others:
        remedy = cli("controller recover", application=name, serving="GROUP")
        raise Refused(Refusal.REGIONS_DISAGREE, remedy, application=name, votes=_votes(voters))
    return first


def _watched(said: Said) -> GroupName | None:
    """The group that was adopted, where nothing was released since: it is only probed."""
    groups = [group for state in said.values() for group in state.groups]
    names = {group.name for group in groups}
    is_watched = len(names) == 1 and all(each.is_adopted and each.count for each in groups)
    return groups[0].name if is_watched else None


def _chosen(name: ApplicationName, voters: Said, chosen: str) -> GroupName:
    lacking = [region for region, state in voters.items() if not _count(state, GroupName(chosen))]
    if lacking or not voters:
        raise Refused(
            Refusal.UNKNOWN_GROUP_SERVING,
            application=name,
            group=chosen,
            regions=tuple(lacking),
            votes=_votes(voters),
        )
    return GroupName(chosen)


def _full(state: DesiredState) -> GroupName | None:
    return next((group.name for group in state.groups if group.weight_bp == FULL_WEIGHT_BP), None)


def _count(state: DesiredState, name: GroupName) -> int:
    group = state.group(name)
    return group.count if group is not None else 0


def _votes(voters: Said) -> tuple[str, ...]:
    """`oslo: web-v001 100 %` for each region."""
    return tuple(
        f"{region}: "
        + ", ".join(f"{each.name} {each.weight_bp / 100:g} %" for each in state.groups if each.weight_bp)
        for region, state in voters.items()
    )


# -------------------------------------------------------------------------------------------------- groups


def _groups(
    stored: Application, said: Said, away: Said, server: GroupName | None, now: Instant
) -> tuple[ServerGroup, ...]:
    everywhere = dict(sorted({**away, **said}.items()))
    names = {group.name for state in everywhere.values() for group in state.groups}
    number_of_server = _number(server) if server else 0
    groups = []
    for name in sorted(names):
        found = {region: each for region, state in everywhere.items() if (each := state.group(name))}
        known = next((group for group in stored.groups if group.name == name), None)
        made = _group(name, found, known, now)
        state = _state(tuple(found.values()), name == server)
        is_unproven = known is None and made.number > number_of_server
        left = Instant(now - LESS_TRUSTED_SECONDS if is_unproven else now)
        parts = [_part(region, each, known, state, left) for region, each in found.items()]
        if name == server:
            parts = [part for part in parts if found[part.region].count]
            parts += _parts_away(stored, away, {part.region for part in parts})
        groups.append(replace(made, parts=ByRegion(parts).sorted()))
    return tuple(sorted(groups, key=lambda each: each.number))


def _part(
    region: RegionName, found: DesiredGroup, known: ServerGroup | None, state: GroupState, left: Instant
) -> Part:
    if state is GroupState.SERVING:
        return Part(region, found.count, state, FULL_PERCENT, FULL_WEIGHT_BP, given=found.given)
    size = max(found.count, _former_size(known, region)) if found.count else _former_size(known, region)
    size = len(found.given) or size
    if state is GroupState.FAILED:
        return Part(region, size, state, FULL_PERCENT, failed_at=left, given=found.given)
    left_at = left if state is GroupState.WARM else None
    percent = 100 * found.count / size if state is GroupState.WARM else 0.0
    return Part(region, size, state, percent, left_traffic_at=left_at, given=found.given)


def _group(
    name: GroupName, found: Mapping[RegionName, DesiredGroup], known: ServerGroup | None, now: Instant
) -> ServerGroup:
    recipes = {
        region: replace(
            each,
            count=0,
            weight_bp=0,
            is_proven=False,
            ready_count=0,
            attempt=0,
            takes_testers=False,
            replace=(),
            released_at=0.0,
            keeps_failed=False,
            is_baseline=False,
            given=(),
        )
        for region, each in found.items()
    }
    recipe = next(iter(recipes.values()))
    others = [region for region, each in recipes.items() if replace(each, template=recipe.template) != recipe]
    overlays = {region: overlay_from(recipe.template, each.template) for region, each in recipes.items()}
    others += [region for region, each in overlays.items() if each is None]
    if others:
        raise Refused(
            Refusal.REGIONS_DISAGREE_ON_GROUP,
            RECOVER,
            group=name,
            regions=tuple(recipes),
            others=tuple(others),
        )
    is_known = known is not None and known.digest == recipe.digest
    return ServerGroup(
        name=name,
        number=_number(name),
        version=known.version if known is not None and is_known else _version(recipe),
        digest=recipe.digest,
        parts=ByRegion(),
        template=recipe.template,
        overlays=ByRegion(
            (name, each) for name, each in overlays.items() if each and each != AS_THE_TEMPLATE
        ),
        upkeep=replace(
            known.upkeep if known is not None else Upkeep(),
            max_age_seconds=recipe.max_age_seconds,
            drift=recipe.drift,
        ),
        generation=recipe.generation,
        is_adopted=any(each.is_adopted for each in found.values()),
        created_at=known.created_at if known is not None and is_known else _released_at(found, now),
    )


def _version(recipe: DesiredGroup) -> str:
    return ADOPTED_VERSION if recipe.digest == NO_PACKAGE else short_digest(recipe.digest)


def _released_at(found: Mapping[RegionName, DesiredGroup], now: Instant) -> Instant:
    """As the regions know it: files of hosts still to come get the same times as those there are."""
    return Instant(max(each.released_at for each in found.values()) or now)


def _former_size(known: ServerGroup | None, region: RegionName) -> int:
    """Of a group that is being destroyed: it must have had one, or no region would wait for its end."""
    return max(1, known.size(region) if known is not None else 0)


def _state(found: Iterable[DesiredGroup], is_server: bool) -> GroupState:
    if is_server:
        return GroupState.SERVING
    if any(each.is_baseline for each in found):
        return GroupState.RETIRING  # what it was compared with is not known any more
    ends = [each for each in found if each.count == 0]
    if not ends:
        return GroupState.WARM
    return GroupState.FAILED if all(each.keeps_failed for each in ends) else GroupState.RETIRING


def _parts_away(stored: Application, away: Said, has: set[RegionName]) -> list[Part]:
    """In a region that does not answer the server is taken to be as large as who served there before."""
    parts = []
    for region in away:
        before = stored.serving_in(region)
        size = before.size(region) if before is not None else 0
        if size and region not in has:
            parts.append(Part(region, size, GroupState.SERVING, FULL_PERCENT, FULL_WEIGHT_BP))
    return parts


def _number(name: GroupName) -> GroupNumber:
    try:
        return GroupNumber(parse_group(name).number)
    except NamingError as error:
        raise Refused(Refusal.UNKNOWN_GROUP, error=str(error)) from error


def _cluster(name: ApplicationName, groups: tuple[ServerGroup, ...]) -> str:
    return parse_group(groups[-1].name).cluster if groups else name


def _next_number(stored: Application, groups: tuple[ServerGroup, ...]) -> GroupNumber:
    return GroupNumber(max([stored.next_number, *(group.number + 1 for group in groups)]))


# ------------------------------------------------------------------------------------------------ the rest


def _port(name: ApplicationName, stored: Application, said: Said) -> int:
    ports = {state.frontend_port: region for region, state in said.items() if state.frontend_port}
    if len(ports) > 1:
        where = tuple(f"{port} in {region}" for port, region in sorted(ports.items()))
        raise Refused(Refusal.REGIONS_DISAGREE_ON_PORT, application=name, ports=where)
    return next(iter(ports), stored.frontend_port)


def _keeping(policy: Policy, groups: tuple[ServerGroup, ...]) -> Policy:
    """The older copy's rules, but no adopted group goes at once. The next release brings its own."""
    warm = sum(group.state is GroupState.WARM for group in groups)
    return replace(
        policy,
        keep_groups=max(policy.keep_groups, warm),
        keep_seconds=max(policy.keep_seconds, KEEP_SECONDS_MIN),
    )


def _ended(
    stored: Application, groups: tuple[ServerGroup, ...], server: GroupName | None, now: Instant
) -> tuple[Rollout, tuple[str, ...]]:
    """The last rollout, over in any case."""
    last = stored.rollout
    if last is None:
        return _first_rollout(groups, server, now), ()
    if last.phase.is_over:
        return last, ()
    reason = reason_of(Why.STORE_RESTORED)
    held = replace(last, phase=Phase.HELD, undo_reason=reason, ended_at=now)
    return held, (f"the {last.kind} of {last.version or last.target} that ran in the store is held",)


def _first_rollout(groups: tuple[ServerGroup, ...], server: GroupName | None, now: Instant) -> Rollout:
    """What the history of an application that the store never knew begins with."""
    target = next((group for group in groups if group.name == server), groups[-1] if groups else None)
    return Rollout(
        number=1,
        kind=RolloutKind.RELEASE,
        target=target.number if target is not None else GroupNumber(1),
        steps=(),
        tracks=ByRegion(),
        phase=Phase.SUCCEEDED if server else Phase.HELD,
        started_at=now,
        started_by="",
        version=target.version if target is not None else "",
        reason="adopted: how it came to be was lost with the store",
        ended_at=now,
    )


def _offers(said: Said) -> dict[RegionName, Offer]:
    return {region: offer_of(state) for region, state in said.items()}


# ------------------------------------------------------------------------------------------ what is assumed


def _server_notes(said: Said, server: GroupName | None) -> list[str]:
    if server is None:
        return ["no group serves it in any region yet"]
    moved = [
        region for region, state in sorted(said.items()) if state.frontend_port and _full(state) != server
    ]
    return [f"{server} gets all the traffic in {', '.join(moved)}, which it has not yet"] if moved else []


def _away_notes(away: Said) -> list[str]:
    if not away:
        return []
    return [
        f"{', '.join(away)} did not answer and is taken to be as the store knows it; if it says otherwise "
        f"when it returns, it waits for another recovery"
    ]


def _unknown_notes(stored: Application, groups: tuple[ServerGroup, ...]) -> list[str]:
    known = {(group.name, group.digest) for group in stored.groups}
    names = [group.name for group in groups if (group.name, group.digest) not in known]
    notes = []
    if names:
        notes.append(f"the store did not know {', '.join(names)}: its version is shown by its digest")
    if not stored.groups:
        notes.append("rollback.keep and the like are the defaults until the next release")
    else:
        notes.append("rollback.keep and the like are from the store's older copy until the next release")
    return notes


def _queue_notes(stored: Application) -> list[str]:
    return [f"{len(stored.queue)} queued releases are dropped; ask for them again"] if stored.queue else []
