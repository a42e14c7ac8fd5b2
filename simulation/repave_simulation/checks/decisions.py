"""Whether what became durable follows from what was durable before: epochs, warm groups, shares, ends."""

from dataclasses import dataclass

from repave_controller.core.commands.lifecycle import RetireGroup
from repave_controller.core.domain.application import Application, GroupState, Part, ServerGroup
from repave_controller.core.domain.reasons import Why
from repave_controller.core.domain.rollout import Phase, Rollout, Track, TrackPhase
from repave_controller.core.steps import Weight
from repave_protos.protocol.values import (
    FULL_WEIGHT_BP,
    DesiredState,
    RegionName,
)
from repave_simulation.world.world import World

KEEP_SLACK_SECONDS = 1.0
"""The decision was made a moment before it is saved."""


@dataclass(slots=True)
class Decisions:
    """Holds each decision against the ledger, which does not have it yet."""

    world: World

    def check(self, before: Application | None, after: Application) -> None:
        """`after` has just become durable in place of `before`."""
        term = self.world.ledger.terms.get(after.name, (0, 0))
        for region, state in after.desired:
            term = self._check_state(region, state, before.desired_in(region) if before else None, term)
        if before is not None:
            self._check_kept(before, after)
            self._check_looked_at(before, after)
            self._check_moved(before, after)
        if after.rollout is not None:
            self._check_rollout(after, after.rollout)
        if before is not None and after.rollouts_total < before.rollouts_total:
            self.world.broken(6, f"{after.name} has forgotten a rollout")

    def _check_rollout(self, after: Application, rollout: Rollout) -> None:
        ledger, place = self.world.ledger, (after.name, rollout.number)
        if ledger.rollouts.get(place, rollout.started_by) != rollout.started_by:
            self.world.broken(6, f"rollout {rollout.number} of {after.name} is another one now")
        if rollout.phase.is_over and place not in ledger.ended:
            self._check_end(after, rollout)

    def _check_state(
        self, region: RegionName, state: DesiredState, before: DesiredState | None, term: tuple[int, int]
    ) -> tuple[int, int]:
        """The term that decides from now on."""
        if state == before:
            return term
        known = self.world.ledger.states.get((region, state.application, state.epoch))
        if known is not None and known != state:
            self.world.broken(7, f"{region}: two desired states of {state.application} have {state.epoch}")
        if before is not None and state.epoch <= before.epoch:
            self.world.broken(7, f"{region}: {state.epoch} was saved after {before.epoch}")
        now = state.epoch.incarnation, state.epoch.term
        if now < term:
            self.world.broken(7, f"{region}: term {now} decides after term {term}")
        return now

    def _check_kept(self, before: Application, after: Application) -> None:
        """An old group stays for as long as the user has asked, unless newer ones have its place."""
        last_at = self.world.ledger.last_at
        for region in before.regions if after.deletion is None else ():
            known = {group.number for group, part in _parts(before, region) if _is_to_be_kept(part)}
            warm = [
                (group, part)
                for group, part in _parts(after, region)
                if part.state is GroupState.WARM or group.number in known
            ]
            warm.sort(key=lambda each: (each[1].left_traffic_at or 0.0, each[0].number), reverse=True)
            for group, part in warm[: after.policy.keep_groups]:
                until = (part.left_traffic_at or 0.0) + after.policy.keep_seconds
                is_given_up = part.state is GroupState.RETIRING and part.left_traffic_at is not None
                if (
                    is_given_up
                    and not self._is_asked_for(after, group)
                    and last_at < until - KEEP_SLACK_SECONDS
                ):
                    text = f"{group.name} is given up {until - last_at:.1f} s too early"
                    self.world.broken(4, f"{region}: {text}")

    def _check_looked_at(self, before: Application, after: Application) -> None:
        """The group that failed last in a region stays for as long as the user has asked."""
        now, seconds = self.world.ledger.last_at, after.policy.keep_failed_seconds
        for region in before.regions:
            for group, part in _parts(after, region):
                former = before.group(group.number)
                was = former.part(region) if former is not None else None
                if was is None or was.failed_at is None or part.state is not GroupState.RETIRING:
                    continue
                if was.state is GroupState.RETIRING or self._is_let_go(after, group, was.failed_at):
                    continue
                if now < was.failed_at + seconds - KEEP_SLACK_SECONDS:
                    text = f"{group.name} failed, and is given up {now - was.failed_at:.1f} s after it"
                    self.world.broken(4, f"{region}: {text}")

    def _is_let_go(self, application: Application, group: ServerGroup, failed_at: float) -> bool:
        """Whether people asked for its end, or another one that failed has its place."""
        others = (each for each in application.groups if each.number != group.number)
        is_newer = any((each.failed_at or 0.0) >= failed_at for each in others)
        return is_newer or application.deletion is not None or self._is_asked_for(application, group)

    def _is_asked_for(self, application: Application, group: ServerGroup) -> bool:
        """Whether people have asked for its end, as far as it may have been heard."""
        return any(
            command.application == application.name
            and isinstance(command.verb, RetireGroup)
            and command.verb.name in (group.name, group.version)
            for command in self.world.scenario.commands
        )

    def _check_moved(self, before: Application, after: Application) -> None:
        """A switch that is called done is done: each balancer has the share that the step asked for."""
        rollout, now = before.running, after.rollout
        if rollout is None or now is None or now.number != rollout.number:
            return
        for track in rollout.tracks:
            later, target = now.track(track.region), before.group(rollout.target_of(track))
            if later is None or target is None or track.phase is not TrackPhase.RUNNING or follows(later):
                continue
            is_done = later.phase is TrackPhase.DONE or (
                later.phase is TrackPhase.RUNNING and later.cursor > track.cursor
            )
            part = target.part(track.region)
            if is_done and part is not None and isinstance(rollout.step(track), Weight):
                self._check_share(track.region, target, part.weight_bp)

    def _check_share(self, region: RegionName, target: ServerGroup, asked_bp: int) -> None:
        place = self.world.places[region]
        has_bp = place.weight_bp(target.name)
        if has_bp not in (asked_bp, None):
            text = f"{target.name} is called to have {asked_bp} bp and has {has_bp}"
            self.world.broken(5, f"{region}: {text}")

    def _check_end(self, application: Application, rollout: Rollout) -> None:
        """What is said to have ended has: traffic is where it was said to be. Where something goes wrong a
        rollout that goes back may end without a region that is away."""
        if rollout.phase is Phase.HELD:
            return
        for track in rollout.tracks:
            number = rollout.target_of(track)
            target = application.group(number) or self.world.ledger.numbered(application, number)
            is_there = track.phase is TrackPhase.DONE
            if target is None or follows(track) or not (is_there or self.world.scenario.is_calm):
                continue
            place = self.world.places[track.region]
            weight_bp = place.weight_bp(target.name)
            if weight_bp not in (FULL_WEIGHT_BP if is_there else 0, None):
                text = f"rollout {rollout.number} is called {rollout.phase}, and its group has {weight_bp} bp"
                self.world.broken(5, f"{track.region}: {text}")


def follows(track: Track) -> bool:
    """Whether a rollback ended without the region, which hears of it when it returns."""
    return track.reason is not None and track.reason.kind is Why.FOLLOWS


def _is_to_be_kept(part: Part) -> bool:
    """It is warm, or serves with hosts: what steps of the user's choice have let go is not kept."""
    return part.state is GroupState.WARM or (part.state is GroupState.SERVING and part.percent > 0)


def _parts(application: Application, region: RegionName) -> list[tuple[ServerGroup, Part]]:
    found = ((group, group.part(region)) for group in application.groups)
    return [(group, part) for group, part in found if part is not None]
