"""How failures go: who goes back, as far as the user's policy says and no further, with the hosts for it.

Checked on each decision when it has become durable.
"""

from dataclasses import dataclass, field

from repave_controller.core.domain.application import (
    FULL_PERCENT,
    UNWANTED,
    Application,
    GroupState,
    Part,
    ServerGroup,
)
from repave_controller.core.domain.rollout import Phase, Rollout, RolloutKind, Track, TrackPhase
from repave_controller.wording.render import text_of
from repave_protos.protocol.values import FULL_WEIGHT_BP, ApplicationName, RegionName
from repave_simulation.checks import promises
from repave_simulation.checks.course import BACK, Moved, is_by_people, moved_since
from repave_simulation.kernel.timeline import WALL
from repave_simulation.world.world import World

FORWARD = (TrackPhase.RUNNING, TrackPhase.DONE)
ENDS_BACK = (Phase.ROLLED_BACK, Phase.ABORTED)


OF_LATE_SECONDS = 30.0
"""A report of illness may be on its way for so long before it is decided on."""


@dataclass(frozen=True, slots=True)
class _Shrunk:
    """An origin that had been scaled down when its region turned round."""

    hosts: int
    proven: int  # ever, by then


@dataclass(slots=True)
class Returns:
    """What is known of the ways back under way."""

    world: World
    shrunk: dict[tuple[ApplicationName, RegionName], _Shrunk] = field(default_factory=dict)

    def check(self, before: Application | None, after: Application) -> None:
        """`after` has just become durable in place of `before`."""
        was, rollout = before.rollout if before is not None else None, after.rollout
        if before is None or was is None or rollout is None:
            return
        self._check_retired(before, after)
        if was.number != rollout.number or was.phase.is_over:
            return
        moved = list(moved_since(was, rollout))
        self._check_failed_gain(before, after, moved)
        turned = [each for each in moved if each[0].phase not in BACK and each[1].phase in BACK]
        failed = [track for _, track in turned if not is_by_people(track.reason)]
        if failed and rollout.phase is not Phase.HELD and rollout.kind is RolloutKind.RELEASE:
            self._check_policy(after, was, rollout, failed)
        self._check_whole(after, rollout)
        self._check_grown(before, after, moved)
        self._check_refuges(after, rollout, moved)
        if rollout.phase.is_over:
            self._check_rested(after, rollout)

    # --------------------------------------------------------------------------- who gets no more

    def _check_retired(self, before: Application, after: Application) -> None:
        """No group that was given up gets traffic again."""
        for group in before.groups:
            for part in group.parts:
                now = _part(after, group, part.region)
                if part.state in UNWANTED and now is not None and now.weight_bp > part.weight_bp:
                    text = f"{group.name} was given up and gets {now.weight_bp} bp"
                    self.world.broken(3, f"{part.region}: {text}")

    def _check_failed_gain(self, before: Application, after: Application, moved: list[Moved]) -> None:
        """A group that failed in a region gets no more of its traffic."""
        for former, track in moved:
            assert after.rollout is not None, "what moves belongs to a rollout"
            target = before.group(after.rollout.target_of(track))
            if target is None:
                continue
            part, now = target.part(track.region), _part(after, target, track.region)
            if former.phase not in BACK or part is None or now is None:
                continue
            if now.weight_bp > part.weight_bp:
                text = f"{target.name} failed and gets {now.weight_bp} bp after {part.weight_bp}"
                self.world.broken(3, f"{track.region}: {text}")

    # -------------------------------------------------------------------------------- how far back

    def _check_policy(self, after: Application, was: Rollout, rollout: Rollout, failed: list[Track]) -> None:
        """What goes back by itself is what the policy lets go back."""
        policy = after.policy
        if not policy.goes_back_on:
            text = f"{failed[0].region} goes back by itself, and shall be held"
            self._broken(after, f"{text}: {text_of(failed[0].reason)}")
        goes_on = rollout.phase in (Phase.RUNNING, Phase.SUCCEEDED) and not rollout.is_stopped
        back = [each for each in rollout.tracks if each.phase in BACK and not is_by_people(each.reason)]
        if goes_on and len(back) > policy.failures_max:
            self._broken(after, f"{len(back)} regions failed and it goes on; {policy.failures_max} may")
        had = sum(each.phase in BACK for each in was.tracks)
        is_one = len({each.reason for each in failed}) == 1
        is_stopped = rollout.phase is Phase.UNDOING or (rollout.is_stopped and not was.is_stopped)
        if is_stopped and is_one and had < policy.failures_max:
            self._broken(after, f"it ends with failure {had + 1}; {policy.failures_max} may fail")
        is_held = rollout.pause is not None and rollout.pause.is_hold  # going back would harm the others
        if rollout.is_stopped and not was.is_stopped and rollout.phase is not Phase.UNDOING and not is_held:
            self._check_stopped(
                after, rollout, [each for each in failed if each.reason == rollout.undo_reason]
            )

    def _check_stopped(self, after: Application, rollout: Rollout, failed: list[Track]) -> None:
        scope = after.policy.scope
        if scope == "release":
            self._broken(after, "the scope is release, and other regions come to their end")
        if scope == "region" and len(failed) > 1:
            self._broken(after, f"the scope is region, and {len(failed)} regions go back")
        waves = {each.wave for each in failed}
        if len(waves) > 1:
            self._broken(after, f"the scope is {scope}, and {len(waves)} waves go back")
        for each in rollout.tracks:
            has_way = rollout.origin is not None or not rollout.has_given_traffic(each)
            if scope == "wave" and each.wave in waves and each.phase in FORWARD and has_way:
                self._broken(after, f"the scope is wave, and {each.region} of it is {each.phase}")

    def _check_whole(self, after: Application, rollout: Rollout) -> None:
        """Once a release goes back as a whole, every region that had begun does, also the finished ones."""
        is_back = rollout.phase is Phase.UNDOING or (rollout.phase in ENDS_BACK and not rollout.is_stopped)
        forward = [each.region for each in rollout.tracks if each.phase in FORWARD]
        if is_back and forward and rollout.origin is not None:
            self._broken(after, f"it goes back, and {', '.join(forward)} stays")

    def _check_rested(self, after: Application, rollout: Rollout) -> None:
        """In the end a region that is done is served by the new group, one that went back by the group of
        before, and no region is on the way."""
        for group in after.groups:
            for part in group.parts:
                if part.state is GroupState.NEW:
                    self._broken(after, f"it is over, and {group.name} is still new in {part.region}")
        for track in rollout.tracks:
            serving = after.serving_in(track.region)
            number = serving.number if serving is not None else None
            target = rollout.target_of(track)
            if track.phase is TrackPhase.DONE and number != target:
                self._broken(after, f"{track.region} is done, and {number} serves there")
            is_target_left = track.phase in BACK and number == target and track.origin is not None
            if is_target_left and rollout.kind is RolloutKind.RELEASE:
                self._broken(after, f"{track.region} has gone back, and the new group serves there")

    # ----------------------------------------------------------------------------- with which hosts

    def _check_grown(self, before: Application, after: Application, moved: list[Moved]) -> None:
        """An origin that was scaled down gets all the traffic once it has the hosts for it, or when those of
        the new group are all gone, or when they never came."""
        rollout = after.rollout
        for former, track in moved:
            target = after.group(rollout.target_of(track)) if rollout is not None else None
            origin = after.group(track.origin)
            old = _part(before, origin, track.region) if origin is not None else None
            now = origin.part(track.region) if origin is not None else None
            if origin is None or old is None or now is None or target is None:
                continue
            place, key = self.world.places[track.region], (after.name, track.region)
            if former.phase not in BACK and track.phase in BACK:
                self.shrunk.pop(key, None)
                if old.percent < FULL_PERCENT and track.phase is TrackPhase.UNDOING:
                    left = [each for each in place.hosts() if each.host.group == origin.name]
                    running = sum(each.host.is_running and each.condemned_at is None for each in left)
                    ever = len(place.proven.get(origin.name, ()))
                    self.shrunk[key] = _Shrunk(max(old.count, running), ever)
            if key in self.shrunk and old.weight_bp < FULL_WEIGHT_BP == now.weight_bp:
                self._check_enough(after, origin, now, track, target)

    def _check_refuges(self, after: Application, rollout: Rollout, moved: list[Moved]) -> None:
        """Traffic leaves a side of its own accord only where hosts of that side were not well of late."""
        for former, track in moved:
            if track.refuge is None or track.refuge == former.refuge:
                continue
            target = rollout.target_of(track)
            left = after.group(track.origin if track.refuge == target else target)
            part = left.part(track.region) if left is not None else None
            place, since = self.world.places[track.region], self.world.now - OF_LATE_SECONDS
            if left is None or part is None or part.weight_bp:
                continue  # of one that still has its share no traffic has left: the other grows first
            machines = [each for each in place.hosts() if each.host.group == left.name]
            well = sum(each.is_well and (each.well_since or since) < since for each in machines)
            if well * 2 > part.count:
                text = f"{left.name} lost its traffic with {well} of {part.count} hosts well all the time"
                self.world.broken(1, f"{track.region}: {text}")

    def _check_enough(
        self, after: Application, origin: ServerGroup, now: Part, track: Track, target: ServerGroup
    ) -> None:
        place, key = self.world.places[track.region], (after.name, track.region)
        shrunk = self.shrunk.pop(key)
        have = shrunk.hosts + len(place.proven.get(origin.name, ())) - shrunk.proven
        needed = after.policy.needed(now.size)
        waited = WALL + self.world.now - track.entered_at
        is_over = waited >= origin.template.growing_seconds
        others = [each for each in place.hosts() if each.host.group == target.name]
        if have < needed and not is_over and any(promises.is_known_well(place, each) for each in others):
            text = f"{origin.name} has {have} of {now.size} hosts and gets all traffic"
            self.world.broken(1, f"{track.region}: {text}; {target.name} could still serve")

    def _broken(self, application: Application, text: str) -> None:
        self.world.broken(5, f"{application.name}: {text}")


def _part(application: Application, group: ServerGroup, region: RegionName) -> Part | None:
    known = application.group(group.number)
    return known.part(region) if known is not None else None
