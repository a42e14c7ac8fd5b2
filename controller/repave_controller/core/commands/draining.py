"""How a region is taken out of the world's traffic, and back: by its record in DNS. Pure.

Nothing else of the region changes: it serves clients that still come, and takes part in releases. Its agent
changes the record; what that still waits for is in rollout/drains.py.
"""

from dataclasses import dataclass

from repave_controller.core.commands.release import event_of
from repave_controller.core.domain.application import (
    Application,
    Drained,
    Instant,
    Observed,
    Outcome,
    RegionView,
)
from repave_controller.core.domain.reasons import Happening, Refusal, Refused, cli, reason_of
from repave_controller.core.rollout.drains import in_dns, record_of
from repave_protos.protocol.copies import replace
from repave_protos.protocol.values import RegionName


@dataclass(frozen=True, slots=True)
class DrainRegion:
    """Clients are led to the other regions. `is_even_last`, with a reason: also where there is none."""

    region: RegionName
    is_even_last: bool = False

    def apply(
        self, application: Application, observed: Observed, by: str, reason: str, now: Instant
    ) -> Outcome:
        if self.is_even_last and not reason:
            raise Refused(Refusal.REASON_MISSING)
        check_may_drain(application, self.region, observed, is_even_last=self.is_even_last)
        known = application.drained_in(self.region)
        if known is not None and (known.is_even_last or not self.is_even_last):
            return application, ()
        drained = Drained(self.region, now, by, reason, self.is_even_last)
        changed = replace(application, drained=application.drained.put(drained).sorted())
        what = reason_of(
            Happening.REGION_DRAINED,
            region=self.region,
            is_even_last=self.is_even_last,
            by=by,
            reason=reason,
        )
        return changed, (event_of(changed, "region.drained", what, now, by, self.region),)


@dataclass(frozen=True, slots=True)
class UndrainRegion:
    """Clients are led to the region again."""

    region: RegionName

    def apply(
        self, application: Application, observed: Observed, by: str, reason: str, now: Instant
    ) -> Outcome:
        _check_known(application, self.region)
        if application.drained_in(self.region) is None:
            return application, ()
        changed = replace(application, drained=application.drained.without({self.region}))
        what = reason_of(Happening.REGION_UNDRAINED, region=self.region, by=by, reason=reason)
        return changed, (event_of(changed, "region.undrained", what, now, by, self.region),)


def check_may_drain(
    application: Application, region: RegionName, observed: Observed, *, is_even_last: bool = False
) -> None:
    """Raises Refused: its agent keeps no record, or clients would find no region any more."""
    _check_known(application, region)
    if not has_record(observed.get(region)):
        raise Refused(Refusal.NO_RECORD, application=application.name, region=region)
    if is_even_last or application.drained_in(region) is not None:
        return
    if not set(in_dns(application, observed)) - {region}:
        anyway = cli("regions drain", region, application.name, override=True, reason="TEXT")
        others = tuple(each for each in application.regions if each != region)
        raise Refused(Refusal.LAST_IN_DNS, anyway, application=application.name, region=region, others=others)


def has_record(view: RegionView | None) -> bool:
    """Whether its agent may keep one there: also where it was not heard yet."""
    return view is None or view.report is None or record_of(view) is not None


def _check_known(application: Application, region: RegionName) -> None:
    if region not in application.regions:
        raise Refused(
            Refusal.UNKNOWN_REGION_OF_SERVICE,
            application=application.name,
            region=region,
            known=application.regions,
        )
