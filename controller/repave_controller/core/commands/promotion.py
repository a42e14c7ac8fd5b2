"""What people may let a rollout go past: approvals, waits for time, holds of repave's own, guards. Pure.

A pass counts for the wait that is there, in the regions that are in it. What comes later waits again, unless
the person asks for more.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from repave_controller.core.commands.release import event_of
from repave_controller.core.commands.steering import on_its_way, restarted
from repave_controller.core.domain.application import Application, Event, Instant, Observed, Outcome
from repave_controller.core.domain.reasons import Happening, Refusal, Refused, cli, reason_of
from repave_controller.core.domain.rollout import ALL_GATES, Pass, Rollout, RolloutKind
from repave_controller.core.domain.sequences import Listed
from repave_controller.core.rollout import waves
from repave_controller.core.rollout.gates import Gate, approvals_in, gate_names, times_in
from repave_controller.core.rollout.holds import guard_of, passable, ways_on
from repave_controller.core.rules.guards import OVERRIDABLE, is_overridden
from repave_controller.core.rules.looks import held_with
from repave_controller.core.rules.verdicts import gate_of
from repave_protos.protocol.copies import replace
from repave_protos.protocol.values import RegionName

PASSES_MAX = 1000


@dataclass(frozen=True, slots=True)
class Promote:
    """What waits for approval goes on; with `skips` also what waits for time, with `is_full` all to come.

    `gates` and `regions` name what was seen to wait: if that has changed, the command is refused. Without
    them it is what waits now. With `is_everywhere` the regions that have yet to come there pass as well.
    `is_recognised`: by whom it is was proven, so that it can be told from who released.
    """

    role: str = ""
    skips: bool = False
    is_full: bool = False
    gates: tuple[str, ...] = ()
    regions: tuple[RegionName, ...] = ()
    is_everywhere: bool = False
    is_recognised: bool = False

    def apply(
        self, application: Application, observed: Observed, by: str, reason: str, now: Instant
    ) -> Outcome:
        return _promoted(application, observed, self, by, reason, now)


def request_promote(
    application: Application,
    by: str,
    role: str,
    reason: str,
    now: Instant,
    *,
    skips: bool = False,
    is_full: bool = False,
) -> Outcome:
    """Approves what waits for approval; with `skips` also ends what only waits for time; with `is_full` all
    gates and waits that are still to come."""
    return Promote(role, skips, is_full).apply(application, {}, by, reason, now)


# ---------------------------------------------------------------------------------------------- promote


def _promoted(
    application: Application, observed: Observed, asked: Promote, by: str, reason: str, now: Instant
) -> Outcome:
    rollout = on_its_way(application, "promote")
    _check_regions(rollout, asked.regions)
    if rollout.pause is not None:
        return _past_hold(application, rollout, observed, asked, by, reason, now)
    if asked.is_full:
        return _all_passed(application, rollout, asked, by, reason, now)
    found = _chosen(application, rollout, asked, now)
    _check_role({gate.role for gate in found}, asked.role)
    _check_other(rollout, asked, by, any(gate.takes_two for gate in found))
    kind: Literal["approved", "skipped"] = "skipped" if asked.skips else "approved"
    passes = tuple(
        Pass(
            gate.name,
            kind,
            now,
            by,
            asked.role,
            reason,
            () if asked.is_everywhere else gate.regions,
        )
        for gate in found
    )
    promoted = replace(application, rollout=_with_passes(rollout, passes))
    return promoted, _told(promoted, passes, by, now)


def _all_passed(
    application: Application, rollout: Rollout, asked: Promote, by: str, reason: str, now: Instant
) -> Outcome:
    if any(each.gate == ALL_GATES and each.regions in ((), asked.regions) for each in rollout.passes):
        raise Refused(Refusal.ALL_PASSED, cli("why", application.name), application=application.name)
    _check_role(set(_roles_to_come(rollout)), asked.role)
    _check_other(rollout, asked, by, _takes_two_to_come(rollout))
    every = Pass(ALL_GATES, "skipped", now, by, asked.role, reason, asked.regions)
    promoted = replace(application, rollout=_with_passes(rollout, (every,)))
    return promoted, _told(promoted, (every,), by, now)


def _past_hold(
    application: Application,
    rollout: Rollout,
    observed: Observed,
    asked: Promote,
    by: str,
    reason: str,
    now: Instant,
) -> Outcome:
    """A region that failed while it was watched, or was not approved in time, goes on all the same."""
    pause, track = rollout.pause, passable(application, rollout, observed)
    assert pause is not None, "it is paused or held"
    if not pause.is_hold:
        raise Refused(Refusal.PAUSED, cli("resume", application.name))
    role = rollout.step(track).approver if track is not None else None
    is_meant = track is not None and (not asked.regions or track.region in asked.regions)
    is_meant = is_meant and (not asked.gates or (track is not None and gate_of(track) in asked.gates))
    if track is None or not is_meant or not (asked.skips or role is not None) or asked.is_full:
        raise Refused(Refusal.HELD, *ways_on(application, rollout, observed), reason=pause.reason)
    _check_role({role or ""}, asked.role)
    _check_other(rollout, asked, by, rollout.step(track).takes_two)
    kind: Literal["approved", "skipped"] = "skipped" if role is None else "approved"
    regions = tuple(each.region for each in held_with(rollout, track))
    past = Pass(gate_of(track), kind, now, by, asked.role, reason, regions, is_despite_failure=True)
    rollout = _with_passes(restarted(rollout, Instant(now - pause.at)), (past,))
    promoted = replace(application, rollout=rollout)
    return promoted, _told(promoted, (past,), by, now)


def _chosen(application: Application, rollout: Rollout, asked: Promote, now: Instant) -> list[Gate]:
    """The gates that are passed: those asked for, as far as they are waited at. Raises Refused."""
    here = approvals_in(application, rollout, now)
    times = times_in(application, rollout, now)
    found = [*here, *(times if asked.skips else [])]
    _check_gates(rollout, asked.gates, asked.regions, [*here, *times], found, application.name)
    if asked.gates:
        found = [gate for gate in found if gate.name in asked.gates]
    elif asked.regions:
        found = [gate for gate in found if gate.regions]
    if asked.regions:
        cut = [(gate.only_in(asked.regions) if gate.regions else gate) for gate in found]
        found = [gate for gate in cut if gate is not None]
    if found:
        return found
    if times and not asked.skips:
        raise Refused(Refusal.NO_GATE_BUT_TIME, cli("promote", application.name, skip=True))
    raise Refused(Refusal.NO_GATE, cli("why", application.name), application=application.name)


def _check_gates(
    rollout: Rollout,
    gates: tuple[str, ...],
    asked_in: tuple[RegionName, ...],
    waiting: list[Gate],
    found: list[Gate],
    application: str,
) -> None:
    """Every gate that was named is waited at, in every region that was named with it."""
    shown, known = tuple(gate.in_words for gate in waiting), gate_names(rollout)
    for name in gates:
        if name not in known:
            raise Refused(Refusal.UNKNOWN_GATE, name=name, gates=shown)
        here = next((gate for gate in waiting if gate.name == name), None)
        if here is None:
            raise Refused(Refusal.GATE_LEFT, application=application, gate=name, gates=shown)
        if here not in found and here.kind in ("time", "analysis"):
            raise Refused(Refusal.NO_GATE_BUT_TIME, cli("promote", application, skip=True))
    named = [gate for gate in found if gate.name in gates]
    regions = {region for gate in named for region in gate.regions}
    left = tuple(each for each in asked_in if each not in regions) if regions else ()
    if left and all(gate.regions for gate in named):
        where = f"{', '.join(gates)} in {', '.join(left)}"
        raise Refused(Refusal.GATE_LEFT, application=application, gate=where, gates=shown)


def _roles_to_come(rollout: Rollout) -> list[str]:
    """The roles of all approvals that the rollout may yet wait for; the empty role if there are none."""
    steps = {step.approver for step in rollout.steps if step.approver}
    begun = waves.next_wave(rollout)
    later = rollout.waves[begun:] if begun is not None else ()
    return sorted({"", *steps, *(wave.approve for wave in later if wave.approve)})


def _check_regions(rollout: Rollout, regions: tuple[RegionName, ...]) -> None:
    for region in regions:
        if rollout.track(region) is None:
            known = tuple(track.region for track in rollout.tracks)
            raise Refused(Refusal.UNKNOWN_REGION_OF_ROLLOUT, region=region, known=known)


def _check_role(needed: set[str], role: str) -> None:
    """Several roles are given with commas between."""
    wanted = sorted(needed - {""} - {each.strip() for each in role.split(",")})
    if wanted:
        raise Refused(Refusal.ROLE_MISSING, roles=tuple(wanted))


def _takes_two_to_come(rollout: Rollout) -> bool:
    begun = waves.next_wave(rollout)
    later = rollout.waves[begun:] if begun is not None else ()
    waits = any(wave.takes_two for wave in later if wave.approve is not None)
    return waits or any(step.takes_two for step in rollout.steps)


def _check_other(rollout: Rollout, asked: Promote, by: str, takes_two: bool) -> None:
    """Four eyes: who released is not who approves. A rollback needs no second person."""
    is_own = asked.is_recognised and by == rollout.started_by and rollout.kind is RolloutKind.RELEASE
    if takes_two and is_own:
        raise Refused(Refusal.OWN_RELEASE, by=by)


def _with_passes(rollout: Rollout, passes: tuple[Pass, ...]) -> Rollout:
    return replace(rollout, passes=Listed((*rollout.passes, *passes)[-PASSES_MAX:]))


def _told(promoted: Application, passes: tuple[Pass, ...], by: str, now: Instant) -> tuple[Event, ...]:
    """One event for all that was passed."""
    first = passes[0]
    what = reason_of(
        Happening.GATE_PASSED,
        gates=tuple(_passed_in_words(each) for each in passes if each.gate != ALL_GATES),
        kind=first.kind,
        by=by,
        role=first.role,
        reason=first.reason,
    )
    return (event_of(promoted, f"gate.{first.kind}", what, now, by),)


def _passed_in_words(passed: Pass) -> str:
    where = f" in {', '.join(passed.regions)}" if passed.regions else ""
    return f"{passed.gate}{where}" + (" despite its failure" if passed.is_despite_failure else "")


# --------------------------------------------------------------------------------------------- objecting


@dataclass(frozen=True, slots=True)
class Object:
    """What would go on by itself waits for approval; by default all that would now."""

    gates: tuple[str, ...] = ()

    def apply(
        self, application: Application, observed: Observed, by: str, reason: str, now: Instant
    ) -> Outcome:
        rollout = on_its_way(application, "object to")
        waiting = approvals_in(application, rollout, now)
        found = [each for each in waiting if each.kind == "objection"]
        _check_gates(rollout, self.gates, (), waiting, found, application.name)
        found = [each for each in found if not self.gates or each.name in self.gates]
        if not found:
            raise Refused(Refusal.NO_OBJECTION, cli("pause", application.name), application=application.name)
        against = tuple(Pass(gate.name, "objected", now, by, "", reason, gate.regions) for gate in found)
        objected = replace(application, rollout=_with_passes(_waiting_since(rollout, found, now), against))
        gates = tuple(gate.in_words for gate in found)
        what = reason_of(Happening.OBJECTED, gates=gates, by=by, reason=reason)
        return objected, (event_of(objected, "gate.objected", what, now, by),)


def _waiting_since(rollout: Rollout, gates: Iterable[Gate], now: Instant) -> Rollout:
    """The time within which these have to be approved begins."""
    for gate in gates:
        for region in gate.regions:
            track = rollout.track(region)
            assert track is not None, "it is at the gate"
            rollout = rollout.with_track(track.objected_to(now))
        rollout = rollout if gate.regions else replace(rollout, asked_at=now)
    return rollout


# ------------------------------------------------------------------------------------------- overriding


@dataclass(frozen=True, slots=True)
class Override:
    """A guard counts no longer for this rollout."""

    rule: str
    role: str = ""
    standing: tuple[str, ...] = ()

    def apply(
        self, application: Application, observed: Observed, by: str, reason: str, now: Instant
    ) -> Outcome:
        return request_override(application, self.rule, by, self.role, reason, now, self.standing)

    def among(self, standing: Iterable[str]) -> "Override":
        """The same, knowing which guards stand now: a wrong name is answered with them."""
        return replace(self, standing=tuple(dict.fromkeys(standing)))


def request_override(
    application: Application,
    rule: str,
    by: str,
    role: str,
    reason: str,
    now: Instant,
    standing: tuple[str, ...] = (),
) -> Outcome:
    """The rule counts no longer for this rollout, and a hold that it caused ends. It takes a reason."""
    rollout = on_its_way(application, "override a guard of")
    if rule not in OVERRIDABLE:
        raise Refused(Refusal.UNKNOWN_GUARD, name=rule, guards=standing, known=tuple(sorted(OVERRIDABLE)))
    if not reason:
        raise Refused(Refusal.REASON_MISSING)
    if is_overridden(rollout, rule):
        raise Refused(Refusal.OVERRIDDEN, cli("why", application.name), rule=rule)
    overridden = Pass(f"guard {rule}", "overridden", now, by, role, reason)
    if rollout.pause is not None and rollout.pause.is_hold and guard_of(rollout.pause) == rule:
        rollout = restarted(rollout, Instant(now - rollout.pause.at))
    passed = replace(application, rollout=_with_passes(rollout, (overridden,)))
    what = reason_of(Happening.GUARD_OVERRIDDEN, rule=rule, by=by, role=role, reason=reason)
    return passed, (event_of(passed, "guard.overridden", what, now, by),)
