"""What is waited for until a drained region is out of DNS and forgotten by resolvers, or is back. Pure.

The region's agent changes its record; here nothing is decided. What people ask is in commands/draining.py.
"""

from collections.abc import Iterator

from repave_controller.core.domain.application import (
    Application,
    Because,
    Drained,
    Instant,
    Observed,
    RegionView,
)
from repave_controller.core.domain.reasons import Why, cli, reason_of
from repave_controller.core.rollout.draft import Turn
from repave_protos.protocol.values import RecordReport, RegionName


def note(turn: Turn) -> None:
    """Adds what is waited for, and when it is to be looked at again."""
    found = list(waits(turn.application, turn.observed, turn.now))
    turn.because += found
    turn.wakes += [each.until for each in found if each.until is not None]


def waits(application: Application, observed: Observed, now: Instant) -> Iterator[Because]:
    for region in application.regions:
        drained, view = application.drained_in(region), observed.get(region)
        record = record_of(view)
        if drained is not None:
            yield from _of_drained(application, drained, view, record, now)
        elif record is not None and record.state == "out" and application.serving_in(region) is not None:
            reason = reason_of(Why.UNDRAIN, region=region, name=record.name, trouble=record.trouble)
            yield Because(reason, region)


def _of_drained(
    application: Application,
    drained: Drained,
    view: RegionView | None,
    record: RecordReport | None,
    now: Instant,
) -> Iterator[Because]:
    region = drained.region
    back = cli("regions undrain", region, application.name)
    if record is not None and record.state == "out":
        until = Instant(record.left_at + record.ttl_seconds)
        if now < until:
            reason = reason_of(Why.DRAIN_REMEMBERED, region=region, seconds=record.ttl_seconds)
            yield Because(reason, region, Instant(record.left_at), until)
    elif view is None or not view.is_connected:
        yield Because(reason_of(Why.DRAIN_AWAY, back, region=region), region, drained.at)
    elif record is None:
        yield Because(reason_of(Why.DRAIN_UNSEEN, back, region=region), region, drained.at)
    else:
        facts = {"region": region, "name": record.name, "trouble": record.trouble}
        yield Because(reason_of(Why.DRAIN, back, **facts), region, drained.at)


def record_of(view: RegionView | None) -> RecordReport | None:
    """As its agent reported it last; None: it keeps none, or was not heard."""
    return view.report.record if view is not None and view.report is not None else None


def in_dns(application: Application, observed: Observed) -> tuple[RegionName, ...]:
    """The regions that clients find, and that stay there."""
    return tuple(
        region
        for region in application.regions
        if application.serving_in(region) is not None
        and application.drained_in(region) is None
        and (record := record_of(observed.get(region))) is not None
        and record.state == "in"
    )
