"""A rollout as one trace: itself, its waves, their regions, the steps of each; told as they end.

It is shown what is saved. All ids follow from the installation, the application and the rollout's number, so
that a controller that goes on after another one, and agents, add to the same trace. What began before this
controller did is told from the rollout's start.
"""

from collections.abc import Callable, Iterable, Mapping

from repave_controller.core.analysis.values import Outcome
from repave_controller.core.domain.application import Application
from repave_controller.core.domain.instants import Instant
from repave_controller.core.domain.rollout import Phase, Rollout, Track, TrackPhase
from repave_controller.core.ports import Transaction
from repave_controller.core.rules.looks import DueLook
from repave_controller.wording.render import text_of
from repave_protos.daemon.spans import Context, Span, Spans, context_in, context_of
from repave_protos.protocol.values import ApplicationName, RegionName

OVER = (TrackPhase.DONE, TrackPhase.UNDONE, TrackPhase.SKIPPED, TrackPhase.HELD)


class RolloutTraces:
    """One for a controller. `known` gives the applications as they are."""

    def __init__(
        self,
        spans: Spans,
        installation: str,
        clock: Callable[[], Instant],
        known: Callable[[], Mapping[ApplicationName, Application]],
    ) -> None:
        self._spans, self._installation, self._clock, self._known = spans, installation, clock, known
        self._last: dict[ApplicationName, Rollout] = {}
        self._began: dict[tuple[ApplicationName, RegionName], float] = {}

    def know(self, applications: Iterable[Application]) -> None:
        """What a starting controller has loaded."""
        for each in applications:
            if each.rollout is not None:
                self._last[each.name] = each.rollout

    def of_rollout(self, application: str, number: int) -> Context:
        """That of its first span."""
        return context_of("repave", self._installation, application, number)

    def traceparent(self, region: RegionName, application: ApplicationName) -> str:
        """What goes along with an order to a region's agent; "" while nothing is rolled out there."""
        found = self._known().get(application)
        rollout = found.running if found is not None else None
        track = rollout.track(region) if rollout is not None else None
        if rollout is None or track is None:
            return ""
        return str(self._of_region(application, rollout, track))

    def committed(self, transaction: Transaction) -> None:
        """Compares what was saved with what was saved before."""
        application, rollout = transaction.application, transaction.rollout
        if application is None or rollout is None:
            return
        former = self._last.get(application.name)
        if former == rollout:
            return
        self._last[application.name] = rollout
        before = former if former is not None and former.number == rollout.number else None
        for track in rollout.tracks:
            self._note(application.name, rollout, before.track(track.region) if before else None, track)
        if before is not None:
            self._note_waves(application.name, before, rollout)
        if rollout.phase.is_over and (before is None or not before.phase.is_over):
            self._end(application.name, rollout)

    def requested(
        self, parent: str, request: str, name: str, began: float, status: int, begun: tuple[str, int] | None
    ) -> None:
        """A request that changes something, in the caller's trace if it has one. `begun`: the rollout that
        answers it, which is another trace; the two are linked."""
        above, ended = context_in(parent), self._clock()
        context = above.child(request, began) if above is not None else context_of(request, began)
        links = (self.of_rollout(*begun),) if begun is not None else ()
        about: dict[str, str | int] = {"http.response.status_code": status, "repave.request": request}
        failed = str(status) if status >= 500 else ""
        self._spans.tell(Span(name, context, above, began, ended, about, failed, links, is_server=True))

    def looked(self, name: ApplicationName, look: DueLook, outcome: Outcome, seconds: float) -> None:
        """A look at a new group, in its region, or in its wave where the regions are judged together."""
        found = self._known().get(name)
        rollout = found.rollout if found is not None else None
        tracks = [each for each in rollout.tracks if each.region == look.regions[0].region] if rollout else []
        if rollout is None or rollout.number != look.rollout or not tracks:
            return
        wave = self._of_wave(name, rollout, tracks[0].wave)
        parent = self._of_region(name, rollout, tracks[0]) if look.region else wave
        context, ended = parent.child("look", look.gate, look.run, look.look), self._clock()
        about = {**_about(name, rollout), "repave.gate": look.gate, "repave.look": look.look}
        about |= {"repave.region": look.region} if look.region else {}
        failed = str(outcome) if outcome is Outcome.ERROR else ""
        about |= {"repave.outcome": str(outcome)}
        self._spans.tell(Span("look", context, parent, ended - seconds, ended, about, failed))

    def close(self) -> None:
        self._spans.close()

    # ------------------------------------------------------------------------------------------- the spans

    def _note(self, name: ApplicationName, rollout: Rollout, before: Track | None, now: Track) -> None:
        if before is None or (before.phase, before.cursor) == (now.phase, now.cursor):
            if before is None and now.phase is not TrackPhase.WAITING:
                self._began.setdefault((name, now.region), now.entered_at)
            return
        place = name, now.region
        if before.phase is TrackPhase.WAITING:
            self._began[place] = now.entered_at
        elif before.phase is TrackPhase.RUNNING:
            kind = rollout.step(before).kind
            self._tell_part(name, rollout, before, f"step {kind}", before.cursor, {"repave.step": kind})
        elif before.phase is TrackPhase.UNDOING:
            self._tell_part(name, rollout, before, "undo", before.cursor, {})
        if now.phase in OVER and before.phase not in OVER:
            began = self._began.get(place, rollout.started_at)
            failed = (
                "" if now.phase in (TrackPhase.DONE, TrackPhase.SKIPPED) else text_of(now.reason) or now.phase
            )
            context = self._of_region(name, rollout, now)
            parent = self._of_wave(name, rollout, now.wave)
            about = {**_about(name, rollout), "repave.region": now.region, "repave.phase": str(now.phase)}
            ended = self._clock()
            self._spans.tell(Span(f"region {now.region}", context, parent, began, ended, about, failed))

    def _tell_part(
        self,
        name: ApplicationName,
        rollout: Rollout,
        track: Track,
        what: str,
        cursor: int,
        more: Mapping[str, str],
    ) -> None:
        parent = self._of_region(name, rollout, track)
        context = parent.child(what, cursor, track.entered_at)
        about = {**_about(name, rollout), "repave.region": track.region, **more}
        self._spans.tell(Span(what, context, parent, track.entered_at, self._clock(), about))

    def _note_waves(self, name: ApplicationName, before: Rollout, now: Rollout) -> None:
        """A wave is over with the last of its regions."""
        for wave in sorted({each.wave for each in now.tracks}):
            if not _is_over(now, wave) or _is_over(before, wave):
                continue
            regions = [each.region for each in now.tracks if each.wave == wave]
            began = min(self._began.get((name, each), now.started_at) for each in regions)
            parent = self.of_rollout(name, now.number)
            about = {**_about(name, now), "repave.wave": wave + 1, "repave.regions": len(regions)}
            context = self._of_wave(name, now, wave)
            self._spans.tell(Span(f"wave {wave + 1}", context, parent, began, self._clock(), about))

    def _end(self, name: ApplicationName, rollout: Rollout) -> None:
        for track in rollout.tracks:
            self._began.pop((name, track.region), None)
        ended = rollout.ended_at if rollout.ended_at is not None else self._clock()
        failed = (
            "" if rollout.phase is Phase.SUCCEEDED else text_of(rollout.undo_reason) or str(rollout.phase)
        )
        about = {
            **_about(name, rollout),
            "repave.outcome": str(rollout.phase),
            "repave.started_by": rollout.started_by,
            "repave.regions": len(rollout.tracks),
        }
        context = self.of_rollout(name, rollout.number)
        what = f"{rollout.kind} {name}"
        self._spans.tell(Span(what, context, None, rollout.started_at, ended, about, failed))

    def _of_wave(self, name: ApplicationName, rollout: Rollout, wave: int) -> Context:
        return self.of_rollout(name, rollout.number).child("wave", wave)

    def _of_region(self, name: ApplicationName, rollout: Rollout, track: Track) -> Context:
        return self.of_rollout(name, rollout.number).child("region", track.region)


def _is_over(rollout: Rollout, wave: int) -> bool:
    return all(each.phase in OVER for each in rollout.tracks if each.wave == wave)


def _about(name: ApplicationName, rollout: Rollout) -> dict[str, str | int]:
    return {
        "repave.application": name,
        "repave.rollout": rollout.number,
        "repave.kind": str(rollout.kind),
        "repave.version": rollout.version,
    }
