"""What repave promised is what runs: plans, sizes, and regions that were left out and are caught up.

Checked on each decision when it has become durable, and in the end.
"""

from dataclasses import dataclass, field

from repave_controller.core.commands.steering import Resize
from repave_controller.core.domain.application import UNWANTED, Application, GroupState, ReleaseOrder
from repave_controller.core.domain.rollout import GroupNumber, Phase, Rollout, RolloutKind, Track, TrackPhase
from repave_controller.core.domain.scaling import BY_REPAVE
from repave_controller.core.planning.plan import Moment, never_released, plan_release
from repave_protos.protocol.values import ApplicationName, RegionName
from repave_simulation.world.world import World

REPAVE = "repave"
"""Who begins what no person asked for: catching up."""
Place = tuple[ApplicationName, RegionName]


@dataclass(slots=True)
class Plans:
    """What was foretold of the rollouts under way, asked for, and is still owed."""

    world: World
    foretold: dict[Place, tuple[int, tuple[Moment, ...]]] = field(default_factory=dict)  # by rollout
    sizes: set[tuple[ApplicationName, RegionName, int]] = field(default_factory=set)  # that ever were
    resized: dict[Place, int] = field(default_factory=dict)  # while a rollout runs
    scaled: set[Place] = field(default_factory=set)  # by their load, likewise
    owed: dict[Place, GroupNumber] = field(default_factory=dict)

    def check(self, before: Application | None, after: Application) -> None:
        """`after` has just become durable in place of `before`."""
        was, rollout = before.rollout if before is not None else None, after.rollout
        self._check_sizes(before, after)
        if rollout is None:
            return
        if was is None or was.number != rollout.number:
            self._foretell(before, after, rollout)
            self._check_begin(after, rollout)
        for track in rollout.tracks:
            former = was.track(track.region) if was is not None and was.number == rollout.number else None
            self._check_moment(after, rollout, former, track)
        if rollout.phase.is_over and not (
            was is not None and was.number == rollout.number and was.phase.is_over
        ):
            self._take_end(after, rollout)

    # --------------------------------------------------------------------------- the plan is what runs

    def _foretell(self, before: Application | None, after: Application, rollout: Rollout) -> None:
        """What `repave plan` would have said a moment ago of the release that has just begun."""
        for track in rollout.tracks:
            self.foretold.pop((after.name, track.region), None)
        order = self._order(after.name, rollout)
        if order is None:
            return
        shown = plan_release(
            before if before is not None else never_released(after.name, after.cluster), order
        )
        for region in shown.regions:
            self.foretold[after.name, region.name] = (rollout.number, region.moments)

    def _order(self, name: ApplicationName, rollout: Rollout) -> ReleaseOrder | None:
        asked = self.world.scenario.commands if rollout.kind is RolloutKind.RELEASE else ()
        found = (each.order for each in asked if (each.application, each.key) == (name, rollout.started_by))
        return next(found, None)

    def _check_moment(self, after: Application, rollout: Rollout, former: Track | None, track: Track) -> None:
        """A region that is in a step has what was foretold for it. Where people change sizes or go
        back a step, or traffic left a side that could not serve, it has something else."""
        place = (after.name, track.region)
        number, moments = self.foretold.get(place, (0, ()))
        if number != rollout.number or track.phase is not TrackPhase.RUNNING:
            return
        is_earlier = former is not None and track.cursor < former.cursor
        if place in self.resized or place in self.scaled or is_earlier or track.refuge is not None:
            del self.foretold[place]
            return
        moment, target, origin = moments[track.cursor], after.group(rollout.target), after.group(track.origin)
        state = after.desired_in(track.region)
        new = state.group(target.name) if state is not None and target is not None else None
        old = state.group(origin.name) if state is not None and origin is not None else None
        has = (new.count if new else 0, old.count if old else 0, new.weight_bp if new else 0)
        if has != (moment.new_hosts, moment.old_hosts, moment.weight_bp):
            planned = f"{moment.new_hosts} and {moment.old_hosts} hosts, {moment.weight_bp} bp"
            text = f"step {track.cursor + 1} has {has[0]} and {has[1]} hosts, {has[2]} bp, planned: {planned}"
            self._broken(after.name, track.region, text)

    # ------------------------------------------------------------------------------------------ sizes

    def _check_sizes(self, before: Application | None, after: Application) -> None:
        """A size that people have asked for holds, for all groups, until a release brings others."""
        if before is not None and before.rollouts_total != after.rollouts_total:
            self.resized = {key: size for key, size in self.resized.items() if key[0] != after.name}
            self.scaled = {key for key in self.scaled if key[0] != after.name}
        now_scaled = _scaled(before, after)
        for region in now_scaled:
            self.resized.pop((after.name, region), None)
            self.scaled.add((after.name, region))
        for group in after.groups:
            known = before.group(group.number) if before is not None else None
            for part in group.parts:
                former = known.part(part.region) if known is not None else None
                is_changed = former is not None and former.size != part.size and part.state not in UNWANTED
                if is_changed and part.region not in now_scaled:
                    self._take_size(after.name, part.region, part.size)
                self.sizes.add((after.name, part.region, part.size))
        for (name, region), size in self.resized.items():
            for group in after.groups if name == after.name else ():
                found = group.part(region)
                if found is not None and found.state not in UNWANTED and found.size != size:
                    self._broken(name, region, f"{size} hosts were asked for, {group.name} has {found.size}")

    def _take_size(self, name: ApplicationName, region: RegionName, size: int) -> None:
        asked = {
            pair
            for command in self.world.scenario.commands
            if command.application == name and isinstance(command.verb, Resize)
            for pair in command.verb.sizes
        }
        if (region, size) not in asked and self.has_had(name, region, size):
            return  # a group that is gone back to has as many hosts as the one that serves
        if (region, size) not in asked:
            self._broken(name, region, f"{size} hosts, and so many were never asked for")
        self.resized[name, region] = size

    def has_had(self, name: ApplicationName, region: RegionName, size: int) -> bool:
        """Whether any group of the application ever was to have so many hosts there."""
        return (name, region, size) in self.sizes

    # ----------------------------------------------------------------------------------- catching up

    def _check_begin(self, after: Application, rollout: Rollout) -> None:
        if rollout.started_by != REPAVE:
            return
        for track in rollout.tracks:
            owed = self.owed.get((after.name, track.region))
            target = rollout.target_of(track)
            if owed != target:
                text = f"group {target} begins by itself, {owed or 'nothing'} is still to come"
                self._broken(after.name, track.region, text)

    def _take_end(self, after: Application, rollout: Rollout) -> None:
        """A region is owed what serves elsewhere, until it has that or something newer, or its catching up
        was ended."""
        for (name, region), number in list(self.owed.items()):
            group, track = after.group(number), rollout.track(region)
            is_over = rollout.started_by == REPAVE or (
                track and track.phase in (TrackPhase.DONE, TrackPhase.HELD)
            )
            is_there = track is not None and is_over and track.phase is not TrackPhase.SKIPPED
            serves = group is not None and group.state is GroupState.SERVING
            if name == after.name and (is_there or not serves):
                del self.owed[name, region]
        if rollout.phase is Phase.SUCCEEDED or rollout.kind is RolloutKind.ROLLBACK:
            for track in rollout.tracks:
                if track.phase is TrackPhase.SKIPPED:
                    self.owed[after.name, track.region] = rollout.target_of(track)

    def unfinished(self) -> str:
        """A region that a release had to leave out and that has not been caught up; "" when there is none."""
        for (name, region), number in self.owed.items():
            return f"{name} in {region}: it was left out, and group {number} never came"
        return ""

    def _broken(self, name: ApplicationName, region: RegionName, text: str) -> None:
        self.world.broken(6, f"{name} in {region}: {text}")


def _scaled(before: Application | None, after: Application) -> set[RegionName]:
    """Regions whose number of hosts was just changed by their load."""
    known = before.sized if before is not None else ()
    return {each.region for each in after.sized if each.by == BY_REPAVE and each not in known}
