"""Says whether a region has accepted decisions that this store does not hold: then the store was restored
from an older backup, or lost. Pure.

Nothing is sent to a region before it is saved as offered to it. So a region of this store has never accepted
more than its offer, and one that has is ahead of the store, whatever the epochs decided meanwhile.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any, TypeVar

from repave_controller.core.domain.application import Application, Because, Event, Instant, Offer
from repave_controller.core.domain.by_region import ByRegion
from repave_controller.core.domain.reasons import Happening, Reason, Why, cli, reason_of
from repave_protos.protocol.copies import replace
from repave_protos.protocol.values import (
    ApplicationName,
    Applied,
    DesiredGroup,
    DesiredState,
    Epoch,
    HostTemplate,
    Probe,
    RegionName,
    fingerprint_of_state,
    is_other_state,
)

TEMPLATES_MAX = 256
"""Templates whose form on the wire is remembered: the same in all regions of a group."""
RECOVER = cli("controller recover")
Value = TypeVar("Value", DesiredGroup, HostTemplate, Probe)


@dataclass(frozen=True, slots=True)
class Ahead:
    """One application that a region knows better than the store does. `offered`: None, never heard of."""

    application: ApplicationName
    accepted: Epoch
    offered: Epoch | None

    @property
    def reason(self) -> Reason:
        facts = {"application": self.application, "accepted": str(self.accepted)}
        if self.offered is None:
            return reason_of(Why.AHEAD_OF_NOTHING, **facts)
        if self.offered == self.accepted:
            return reason_of(Why.AHEAD_UNDER_ONE_EPOCH, **facts)
        return reason_of(Why.AHEAD_BY_EPOCHS, **facts, offered=str(self.offered))


def judge(
    region: RegionName,
    applied: Iterable[Applied],
    applications: Mapping[ApplicationName, Application],
    *,
    compares_content: bool = True,
) -> tuple[Ahead, ...]:
    """In what the region is ahead, by what it has applied; empty when it belongs to this store."""
    found = []
    for each in applied:
        known = applications.get(each.application)
        offer = known.offered_to(region) if known is not None else None
        if offer is None:
            found.append(Ahead(each.application, each.epoch, None))
        elif each.epoch > offer.epoch or (
            compares_content
            and each.epoch == offer.epoch
            and is_other_state(offer.fingerprint, each.fingerprint)
        ):
            found.append(Ahead(each.application, each.epoch, offer.epoch))
    return tuple(found)  # older is fine: a message was lost, or is on its way


def because_ahead(region: RegionName, ahead: tuple[Reason, ...], since: Instant) -> Because:
    """What an application waits for that needs a region which is ahead."""
    return Because(reason_of(Why.AHEAD, RECOVER, ahead=ahead), region, since)


def told(region: RegionName, ahead: Ahead) -> Event:
    """For the log of events, once for each."""
    what = reason_of(Happening.REGION_AHEAD, RECOVER, region=region, ahead=ahead.reason)
    return Event("region.ahead", application=ahead.application, region=region, what=what)


# ------------------------------------------------------------------------------------------------ offers


def offer(application: Application, is_open: Callable[[RegionName], bool]) -> Application:
    """Notes that the regions that are open are going to be sent what was decided last. To be saved before it
    is sent."""
    offered, due = dict(application.offered), dict[RegionName, Offer]()
    last: tuple[DesiredState, Offer] | None = None
    for region, state in application.desired:
        known = offered.get(region)
        if (known is None or known.epoch != state.epoch) and is_open(region):
            if last is None or last[0] != state:  # regions that shall be alike mostly follow each other
                last = state, offer_of(state)
            due[region] = last[1]
    return replace(application, offered=ByRegion((offered | due).items()).sorted()) if due else application


def offer_of(state: DesiredState) -> Offer:
    """As an agent that has accepted it will name it: times are floats on the wire."""
    groups = tuple(_as_sent(group) for group in state.groups)
    return Offer(state.epoch, fingerprint_of_state(replace(state, groups=groups)))


def _as_sent(group: DesiredGroup) -> DesiredGroup:
    sent, template = _with_floats(group), _template_as_sent(group.template)
    return replace(sent, template=template) if template is not sent.template else sent


@lru_cache(maxsize=TEMPLATES_MAX)
def _template_as_sent(template: HostTemplate) -> HostTemplate:
    return replace(_with_floats(template), probe=_with_floats(template.probe))


def _with_floats(value: Value) -> Value:
    names = (each.name for each in fields(value) if each.name.endswith(("_seconds", "_at")))
    times: dict[str, Any] = {
        name: float(known) for name in names if not isinstance(known := getattr(value, name), float)
    }
    return replace(value, **times) if times else value


def offers(before: Application, after: Application) -> list[tuple[RegionName, DesiredState]]:
    """What is due to be sent once `after` is saved."""
    if after.offered is before.offered:
        return []
    return [
        (region, state)
        for region, state in after.desired
        if after.offered_to(region) != before.offered_to(region) and is_offered(after, region)
    ]


def is_offered(application: Application, region: RegionName) -> bool:
    """Whether what was decided last for this region is saved as offered to it, so that it may be sent."""
    offer, state = application.offered_to(region), application.desired_in(region)
    return offer is not None and state is not None and offer.epoch == state.epoch
