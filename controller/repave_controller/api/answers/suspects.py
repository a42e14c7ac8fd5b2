"""Where errors have risen, and which releases explain it."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from repave_controller.api.answers.answer import Answer
from repave_controller.api.answers.queries import DAY_SECONDS, HALF_HOUR_SECONDS, Number, Query, RegionQuery
from repave_controller.api.answers.reasons import FactValue, facts_of
from repave_controller.api.answers.views import time_of
from repave_controller.core.domain.instants import Instant
from repave_controller.core.domain.reasons import Reason
from repave_controller.core.planning.suspects import Suspect, Trouble
from repave_controller.operations.suspects import Findings
from repave_controller.wording.render import text_of

Last = Annotated[Number, Field(ge=60, le=DAY_SECONDS)]


class SuspectsQuery(RegionQuery):
    """Where, and since when."""

    last: Last = Field(HALF_HOUR_SECONDS, description="Seconds, up to now; a day is kept.")


class RegionSuspectsQuery(Query):
    """Since when."""

    last: Last = Field(HALF_HOUR_SECONDS, description="Seconds, up to now; a day is kept.")


class TroubleItem(Answer):
    """Errors of an application that rose in a region."""

    application: str
    region: str
    began_at: datetime
    ended_at: datetime | None = Field(description="null: they go on.")
    rate_before: float = Field(description="Failed requests of all, 0 to 1.")
    rate: float
    requests: int = Field(description="In that time.")
    errors: int


class ClueItem(Answer):
    """What speaks for it, or against it."""

    kind: str
    text: str
    facts: dict[str, FactValue]


class SuspectItem(Answer):
    """A release or rollback that had requests meanwhile."""

    application: str
    rollout: int
    kind: str
    group: str
    version: str
    started_at: datetime
    verdict: Literal["likely", "possible", "unlikely"]
    score: float = Field(description="0 to 1, to compare suspects by.")
    regions: list[str] = Field(description="Where it has raised its share of the requests.")
    clues: list[ClueItem]


class SuspectsAnswer(Answer):
    """Without troubles there are no suspects."""

    text: str = Field(description="What it comes to, in one line.")
    troubles: list[TroubleItem]
    items: list[SuspectItem] = Field(description="The likeliest first.")
    unknown: dict[str, str] = Field(description="Region to why nothing is known of it.")
    left_out: int = Field(description="Applications whose releases were not looked at: there are too many.")


def suspects(found: Findings) -> SuspectsAnswer:
    return SuspectsAnswer(
        text=_text(found),
        troubles=[_trouble(each) for each in found.troubles],
        items=[_suspect(each) for each in found.suspects],
        unknown={str(region): why for region, why in found.unknown.items()},
        left_out=found.left_out,
    )


def _text(found: Findings) -> str:
    if not found.troubles:
        return "no errors have risen in this time"
    regions = len({each.region for each in found.troubles})
    where = f"errors have risen in {found.troubles[0].region if regions == 1 else f'{regions} regions'}"
    first = found.suspects[0] if found.suspects else None
    if first is None or first.verdict == "unlikely":
        return f"{where}, and no release explains it"
    move = first.move
    return f"{where}; {first.verdict}: the {move.kind} of {move.group} ({move.version or 'no version'})"


def _trouble(trouble: Trouble) -> TroubleItem:
    rise = trouble.rise
    return TroubleItem(
        application=trouble.application,
        region=trouble.region,
        began_at=time_of(Instant(rise.at)),
        ended_at=None if trouble.goes_on else time_of(Instant(rise.until)),
        rate_before=round(rise.before, 5),
        rate=round(rise.during, 5),
        requests=rise.requests,
        errors=rise.errors,
    )


def _suspect(suspect: Suspect) -> SuspectItem:
    move = suspect.move
    return SuspectItem(
        application=move.application,
        rollout=move.rollout,
        kind=move.kind,
        group=move.group,
        version=move.version,
        started_at=time_of(move.started_at),
        verdict=suspect.verdict,
        score=suspect.score,
        regions=sorted(move.reached),
        clues=[_clue(each) for each in suspect.clues],
    )


def _clue(clue: Reason) -> ClueItem:
    return ClueItem(kind=clue.kind, text=text_of(clue), facts=facts_of(clue))
