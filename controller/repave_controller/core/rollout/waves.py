"""Says which regions of a rollout may begin or go on now: waves, bake times, lock-step, limits. Pure."""

from collections.abc import Collection

from repave_controller.core.domain.application import Application, Because, Expiry, Instant, Observed
from repave_controller.core.domain.reasons import Why, cli, reason_of
from repave_controller.core.domain.rollout import Rollout, RolloutKind, Track, TrackPhase
from repave_controller.core.rules.verdicts import Waiting, said_against
from repave_protos.protocol.copies import replace
from repave_protos.protocol.values import RegionName

UNREACHABLE_PATIENCE_SECONDS = 60.0
"""How long a region that shall be skipped while it is away is waited for."""

MOVING = (TrackPhase.RUNNING, TrackPhase.UNDOING)


def tracks_of(rollout: Rollout, wave: int) -> list[Track]:
    return [track for track in rollout.tracks if track.wave == wave]


def gate_of_wave(wave: int) -> str:
    """What a person passes who lets this wave begin."""
    return f"wave {wave + 1}"


def gate_of_bake(wave: int) -> str:
    """What a person passes who ends the bake time of this wave."""
    return f"bake {wave + 1}"


def next_wave(rollout: Rollout) -> int | None:
    """The first wave in which a region has yet to begin."""
    waiting = (track.wave for track in rollout.tracks if track.phase is TrackPhase.WAITING)
    return min(waiting, default=None)


def before_wave(application: Application, rollout: Rollout, wave: int, now: Instant) -> Waiting | None:
    """What `wave` waits for before any of its regions begins; None when it may."""
    earlier = [track for track in rollout.tracks if track.wave < wave]
    if not all(track.is_settled for track in earlier):
        return Waiting(Because(reason_of(Why.EARLIER_WAVES, wave=wave + 1)))
    baking = in_bake(application, rollout, wave - 1, now) if wave else None
    waiting = baking or _approval(application, rollout, wave, now)
    if waiting is None and any(track.ill_at is not None for track in earlier):
        return Waiting(Because(reason_of(Why.EARLIER_WAVES, wave=wave + 1)))
    return waiting


def in_bake(application: Application, rollout: Rollout, wave: int, now: Instant) -> Waiting | None:
    """The rest of the time for which the finished `wave` is watched; None when it is over."""
    seconds = rollout.waves[wave].bake_seconds
    done = [track for track in tracks_of(rollout, wave) if track.phase is TrackPhase.DONE]
    if not seconds or not done or rollout.may_pass(gate_of_bake(wave)):
        return None
    until = max(track.seen_until(seconds, now) for track in done)
    if now >= until:
        return None
    since, skip = max(track.entered_at for track in done), cli("promote", application.name, skip=True)
    unseen = tuple(track.region for track in done if track.unseen_at is not None)
    number, waves, gate = wave + 1, len(rollout.waves), gate_of_bake(wave)
    if unseen:
        silent = reason_of(Why.BAKE_UNSEEN, skip, regions=unseen, wave=number, waves=waves, gate=gate)
        return Waiting(Because(silent, since=since))
    reason = reason_of(Why.BAKE, skip, wave=number, waves=waves, gate=gate)
    return Waiting(Because(reason, since=since, until=until), wake_at=until)


def _approval(application: Application, rollout: Rollout, wave: int, now: Instant) -> Waiting | None:
    role = pending_approver(rollout, wave)
    if role is None:
        return None
    remedy = cli("promote", application.name, role=role)
    count, gate, until = len(rollout.waves), gate_of_wave(wave), goes_on_alone_at(rollout, wave, now)
    if until is not None and now >= until:
        return None
    if until is not None:
        ways = (cli("object", application.name, reason="TEXT"), remedy)
        open_ = reason_of(Why.APPROVE_WAVE_UNLESS, *ways, role=role, wave=wave + 1, waves=count, gate=gate)
        return Waiting(Because(open_, since=rollout.asked_at, until=until), wake_at=until)
    objection, until = said_against(rollout.objection(gate)), expires_at(rollout, wave, now)
    reason = reason_of(
        Why.APPROVE_WAVE, remedy, role=role, wave=wave + 1, waves=count, gate=gate, objection=objection
    )
    expiry = Expiry.DEADLINE if until is not None else None
    return Waiting(Because(reason, since=rollout.asked_at, until=until, expiry=expiry), wake_at=until)


def expires_at(rollout: Rollout, wave: int, now: Instant) -> Instant | None:
    """Until when the wave may be approved; None: for ever."""
    seconds = rollout.waves[wave].expires_seconds
    return Instant((rollout.asked_at if rollout.asked_at is not None else now) + seconds) if seconds else None


def goes_on_alone_at(rollout: Rollout, wave: int, now: Instant) -> Instant | None:
    """When the wave needs no approval any more; None: it needs one in any case."""
    seconds = rollout.waves[wave].unless_objected_seconds
    if not seconds or rollout.objection(gate_of_wave(wave)) is not None:
        return None
    return Instant((rollout.asked_at if rollout.asked_at is not None else now) + seconds)


def pending_approver(rollout: Rollout, wave: int) -> str | None:
    """The role that has yet to approve `wave`; "": any person, None: no approval is needed any more."""
    if rollout.may_pass(gate_of_wave(wave)):
        return None
    has_begun = any(track.has_begun for track in tracks_of(rollout, wave))
    if rollout.waves[wave].unless_objected_seconds and has_begun:  # its time had passed
        return None
    return rollout.waves[wave].approve


def room(rollout: Rollout, wave: int) -> int:
    """How many more regions of the wave may move now."""
    moving = sum(each.phase in MOVING for each in tracks_of(rollout, wave))
    return (rollout.waves[wave].parallel or len(rollout.tracks)) - moving


def steps_done(rollout: Rollout, done: Collection[RegionName]) -> dict[int, int]:
    """By wave in lock-step: how many steps all of its regions have done, so that none goes on beyond them.
    `done` are the regions that have done the step they are in."""
    fewest: dict[int, int] = {}
    for track in rollout.tracks:
        if not rollout.waves[track.wave].is_lockstep:
            continue
        if track.phase is TrackPhase.RUNNING:
            count = track.cursor + (track.region in done)
        elif track.phase is TrackPhase.WAITING and not rollout.is_stopped:
            count = 0
        else:
            continue
        fewest[track.wave] = min(count, fewest.get(track.wave, count))
    return fewest


def when_away(
    application: Application, rollout: Rollout, track: Track, observed: Observed, now: Instant
) -> tuple[Track | None, Waiting | None]:
    """What becomes of a region that is to begin, or has begun and was given no traffic yet, and is not
    connected: the track as it is left out, or what is waited for; neither: its step has a deadline. A way
    back does not ask."""
    view = observed.get(track.region)
    policy = application.policy.unreachable
    if rollout.kind is RolloutKind.ROLLBACK or policy == "fail" or (view is not None and view.is_connected):
        return None, None
    since = view.since if view is not None else None
    away = reason_of(Why.AGENT_AWAY_AT_BEGIN, region=track.region, policy=policy)
    if policy == "wait":
        return None, Waiting(Because(away, track.region, since))
    until = Instant((since if since is not None else now) + UNREACHABLE_PATIENCE_SECONDS)
    if since is not None and now < until:
        return None, Waiting(Because(away, track.region, since, until, Expiry.SKIP), wake_at=until)
    skipped = reason_of(Why.SKIPPED)
    return replace(track, phase=TrackPhase.SKIPPED, entered_at=now, reason=skipped), None
