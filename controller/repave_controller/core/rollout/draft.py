"""The work of one call of `rollout.step`: the application as it becomes, and what is said about it."""

from dataclasses import dataclass, field

from repave_controller.core.domain.application import (
    Application,
    Because,
    Event,
    Expiry,
    Instant,
    Observed,
    ServerGroup,
)
from repave_controller.core.domain.naming import format_group
from repave_controller.core.domain.place import target_in
from repave_controller.core.domain.reasons import Happening, Reason, reason_of
from repave_controller.core.domain.rollout import GroupNumber, Phase, Rollout, Track
from repave_controller.core.rules.guards import Constraints
from repave_controller.core.rules.verdicts import Waiting, gate_of
from repave_protos.protocol.copies import replace
from repave_protos.protocol.values import RegionName


@dataclass(slots=True)
class Turn:
    """Collects the decision; `begin_again` forgets what an earlier pass waited for."""

    application: Application
    observed: Observed
    now: Instant
    constraints: Constraints
    incarnation: int = 0  # which life of the store decides
    events: list[Event] = field(default_factory=list)
    because: list[Because] = field(default_factory=list)
    wakes: list[Instant] = field(default_factory=list)
    _clocks: list[Track] = field(default_factory=list)
    _steps: dict[tuple[int, int, GroupNumber], list[RegionName]] = field(default_factory=dict)
    _shares: dict[tuple[int, int, GroupNumber], set[int]] = field(default_factory=dict)  # that these had

    def begin_again(self) -> None:
        self.because.clear()
        self.wakes.clear()
        self._clocks.clear()

    @property
    def rollout(self) -> Rollout | None:
        """The running one, as it is by now."""
        return self.application.running

    @property
    def target_name(self) -> str:
        rollout = self.application.rollout
        return format_group(self.application.cluster, rollout.target) if rollout is not None else ""

    @property
    def is_going_on(self) -> bool:
        """Whether further regions may begin: nothing is paused, and nothing goes back."""
        rollout = self.rollout
        is_running = rollout is not None and rollout.phase is Phase.RUNNING
        return is_running and rollout is not None and rollout.pause is None and not rollout.is_stopped

    def put(self, rollout: Rollout) -> None:
        self.application = replace(self.application, rollout=rollout)

    def note_clocks(self, track: Track) -> None:
        """Since when its region waits for what. Taken in once nothing moves any more, of all regions at
        once."""
        self._clocks.append(track)

    def take_in_clocks(self) -> bool:
        """Whether other waits go by these as well: for hosts that are replaced, or to be compared."""
        rollout = self.application.running
        after = rollout.with_tracks(self._clocks) if rollout is not None else None
        if rollout is None or after is None or after is rollout:
            return False
        self.put(after)
        changed = zip(rollout.tracks, after.tracks, strict=True)
        return any(
            was is not now and (was.ill_at != now.ill_at or rollout.step(now).analysis is not None)
            for was, now in changed
        )

    def put_track(self, track: Track) -> None:
        rollout = self.application.rollout
        assert rollout is not None, "a track belongs to a rollout"
        if (changed := rollout.with_track(track)) is not rollout:
            self.put(changed)

    def wait(self, waiting: Waiting) -> None:
        because = waiting.because
        self.because.append(replace(because, expiry=because.expiry or Expiry.PROGRESS))
        if waiting.wake_at is not None:
            self.wakes.append(waiting.wake_at)

    def tell(
        self, kind: str, what: Reason, group: ServerGroup | None = None, by: str = "", region: str = ""
    ) -> None:
        name = group.name if group is not None else self.target_name
        self.events.append(
            Event(
                kind,
                application=self.application.name,
                group=name,
                region=region,
                by=by,
                at=self.now,
                what=what,
            )
        )

    def note_step(self, track: Track, entered: int) -> None:
        """The track leaves its step for the one at index `entered`. Told at the end of the call: regions
        that do so together are told of together."""
        left = track.cursor if track.has_begun else -1
        rollout = self.application.rollout
        assert rollout is not None, "a track belongs to a rollout"
        key = (left, entered, rollout.target_of(track))
        self._steps.setdefault(key, []).append(track.region)
        target = target_in(self.application, rollout, track)
        if target is not None:
            self._shares.setdefault(key, set()).add(target.part.weight_bp)

    def tell_of_steps(self) -> None:
        rollout = self.application.rollout
        for (left, entered, number), regions in self._steps.items() if rollout is not None else ():
            assert rollout is not None
            is_all = set(regions).issuperset(self.application.regions)
            where = () if is_all else tuple(regions)
            region = regions[0] if len(regions) == 1 and not is_all else ""
            name = format_group(self.application.cluster, number)
            if left >= 0 and (share_bp := rollout.steps[left].share_bp) is not None:
                given = self._shares.get((left, entered, number), set())
                share_bp = min(given) if len(given) == 1 else share_bp
                shared = self.application.shared
                moved = reason_of(
                    Happening.TRAFFIC_MOVED, group=name, weight_bp=share_bp, regions=where, **shared
                )
                self.tell("traffic.moved", moved, self.application.group(number), region=region)
            if entered < len(rollout.steps):
                step = rollout.steps[entered].kind
                what = reason_of(Happening.STEP_ENTERED, group=name, step=step, regions=where)
                self.tell("step.entered", what, self.application.group(number), region=region)
                self._tell_of_approval(rollout, entered, tuple(regions))
        self._steps.clear()
        self._shares.clear()

    def tell_of_gate(self, gate: str, role: str, regions: tuple[RegionName, ...]) -> None:
        """A person is waited for."""
        is_all = set(regions).issuperset(self.application.regions)
        where = () if is_all else regions
        what = reason_of(Happening.GATE_WAITING, group=self.target_name, gate=gate, role=role, regions=where)
        self.tell("gate.waiting", what, region=regions[0] if len(regions) == 1 and not is_all else "")

    def _tell_of_approval(self, rollout: Rollout, entered: int, regions: tuple[RegionName, ...]) -> None:
        role = rollout.steps[entered].approver
        if role is None or rollout.steps[entered].objection_seconds:
            return
        by_gate: dict[str, list[RegionName]] = {}
        those = frozenset(regions)
        for track in rollout.tracks:
            if track.region in those:
                by_gate.setdefault(gate_of(replace(track, cursor=entered)), []).append(track.region)
        for gate, where in by_gate.items():
            self.tell_of_gate(gate, role, tuple(where))
