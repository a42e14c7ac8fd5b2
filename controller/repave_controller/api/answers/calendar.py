"""When releases may move: windows and freezes as times, and what holds a release back now."""

from collections.abc import Iterable
from datetime import datetime
from functools import lru_cache

from pydantic import Field

from repave_controller.api.answers import models, views
from repave_controller.api.answers.answer import Answer
from repave_controller.core.domain.application import Application, Because, Observed
from repave_controller.core.domain.freezes import Freezes, held
from repave_controller.core.domain.instants import DAY_SECONDS, Instant
from repave_controller.core.domain.reasons import Rule
from repave_controller.core.domain.windows import Window, describe, openings
from repave_controller.wording.render import text_of


class SpanItem(Answer):
    """A time."""

    begins_at: datetime
    ends_at: datetime


class SpecFreezeItem(SpanItem):
    """A freeze of an application's spec."""

    zone: str
    reason: str


class ApplicationTimes(Answer):
    """When an application's releases may move."""

    application: str
    windows: list[str] = Field(description="As the spec has them; none: always, but for freezes.")
    open: list[SpanItem] = Field(description="Between the answer's times, by the windows alone.")
    freezes: list[SpecFreezeItem] = Field(description="Of its spec.")
    held: str = Field(description="Why nothing of it may move now; empty: it may.")
    opens_at: datetime | None = Field(description="When it may again, as far as it is known.")
    guards: list[models.BecauseItem] = Field(description="What holds its running rollout back now.")


class CalendarAnswer(Answer):
    """`items`: applications with windows or freezes of their own, or that are held back now."""

    begins_at: datetime
    ends_at: datetime
    items: list[ApplicationTimes]


def times_of(
    application: Application,
    freezes: Freezes,
    because: Iterable[Because],
    seen: Observed,
    now: Instant,
    days: int,
) -> ApplicationTimes | None:
    """None where there is nothing to tell."""
    policy, today = application.policy, Instant(now - now % DAY_SECONDS)
    closed = held(freezes, application.name, policy.windows, policy.freezes, now)
    guards = [each for each in because if isinstance(each.reason.kind, Rule)]
    if not (policy.windows or policy.freezes or guards):
        return None
    return ApplicationTimes(
        application=application.name,
        windows=[describe(each) for each in policy.windows],
        open=[
            SpanItem(begins_at=views.time_of(begin), ends_at=views.time_of(end))
            for begin, end in (_openings(policy.windows, today, days) if policy.windows else ())
        ],
        freezes=[
            SpecFreezeItem(
                begins_at=views.time_of(each.begins_at),
                ends_at=views.time_of(each.ends_at),
                zone=each.zone,
                reason=each.reason,
            )
            for each in policy.freezes
            if each.ends_at > today
        ],
        held=text_of(closed.reason) if closed is not None else "",
        opens_at=views.time_of(closed.opens_at)
        if closed is not None and closed.opens_at is not None
        else None,
        guards=views.because_items(application, guards, seen),
    )


@lru_cache(maxsize=200)
def _openings(windows: tuple[Window, ...], today: Instant, days: int) -> tuple[tuple[Instant, Instant], ...]:
    """Many applications have the same windows."""
    return tuple(openings(windows, today, Instant(today + days * DAY_SECONDS)))
