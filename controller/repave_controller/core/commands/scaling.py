"""Takes in the number of hosts that was chosen for a region by its load. Pure.

The number is that of the group which serves there: it has one place, and one owner, who decides for the
application. A choice that was made upon another number than is in force changes nothing.
"""

from dataclasses import dataclass

from repave_controller.core.commands.steering import noted, resized
from repave_controller.core.domain.application import Application, Event, Instant, Observed, Outcome
from repave_controller.core.domain.reasons import Happening, Reason, Refused, Why, reason_of
from repave_controller.core.domain.scaling import BY_REPAVE, Sized
from repave_controller.core.rules.scaling import Choice
from repave_protos.protocol.copies import replace
from repave_protos.protocol.values import RegionName

SECONDS_MAX = 10.0
"""A choice is good for so long: the process may have stood still, or the store."""


@dataclass(frozen=True, slots=True)
class Scale:
    """What was chosen for a region that had `before` hosts. A verb that no person has."""

    region: RegionName
    before: int
    choice: Choice
    at: Instant  # when it was chosen

    def apply(
        self, application: Application, observed: Observed, by: str, reason: str, now: Instant
    ) -> Outcome:
        """The application itself where the choice does not count, or changes nothing."""
        scaling = application.policy.scaling.find(self.region)
        is_overtaken = hosts_in_force(application, self.region) != self.before
        if scaling is None or not scaling.is_automatic or is_overtaken or now > self.at + SECONDS_MAX:
            return application, ()
        is_rolling = application.running is not None
        hosts = scaling.changed(self.before, self.choice.hosts)
        if hosts < self.before and is_rolling:
            hosts = self.before
        changed, told, trouble = application, list[Event](), self.choice.trouble
        if hosts != self.before:
            try:
                changed, changes = resized(application, ((self.region, hosts),), only_grows=is_rolling)
            except Refused as refused:
                trouble = reason_of(Why.SIZE_REFUSED, hosts=hosts, refusal=refused.reason)
            else:
                if changes:
                    changed = noted(
                        changed, self.region, self.before, hosts, BY_REPAVE, self.choice.reason, now
                    )
                    told.append(self._scaled(application, hosts, now))
        return self._with_trouble(changed, trouble, told, now)

    def _with_trouble(
        self, application: Application, trouble: Reason | None, told: list[Event], now: Instant
    ) -> Outcome:
        """Said when it begins and when it ends, not with each new number."""
        known = application.sized.find(self.region) or Sized(self.region, Instant(0))
        former = known.trouble
        if trouble is None and (former is None or self.choice.keeps(former.kind)):
            return application, tuple(told)
        if trouble is not None and former is not None and trouble.kind is former.kind:
            return application, tuple(told)
        held = replace(known, trouble=trouble, since=now)
        if trouble is not None:
            what = reason_of(Happening.SCALING_HELD, region=self.region, reason=trouble)
            told.append(self._event(application, "scaling.held", what, now))
        else:
            what = reason_of(Happening.SCALING_GOES_ON, region=self.region)
            told.append(self._event(application, "scaling.goes_on", what, now))
        return replace(application, sized=application.sized.put(held)), tuple(told)

    def _scaled(self, application: Application, hosts: int, now: Instant) -> Event:
        what = reason_of(
            Happening.SCALED, region=self.region, before=self.before, hosts=hosts, reason=self.choice.reason
        )
        return self._event(application, "region.scaled", what, now)

    def _event(self, application: Application, kind: str, what: Reason, now: Instant) -> Event:
        serving = application.serving_in(self.region)
        name = serving.name if serving is not None else ""
        return Event(
            kind,
            application=application.name,
            group=name,
            region=self.region,
            by=BY_REPAVE,
            at=now,
            what=what,
        )


def hosts_in_force(application: Application, region: RegionName) -> int | None:
    """The number that counts in the region now; None where none is chosen: nothing serves there, its hosts
    were there before repave, or the application is being ended."""
    serving = application.serving_in(region)
    if serving is None or serving.is_adopted or application.deletion is not None:
        return None
    return serving.size(region)
