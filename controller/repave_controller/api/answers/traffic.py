"""The traffic of an application's server groups, by slots of time."""

from datetime import UTC, datetime

from pydantic import Field

from repave_controller.api.answers.answer import Answer
from repave_controller.core.domain.application import Application
from repave_controller.operations.traffic import Figures, GroupFigures


class GroupTrafficItem(Answer):
    """One server group, over all regions that were asked. Each column has a number for each slot."""

    name: str
    version: str = Field(description="Empty: the group is gone.")
    requests: list[int]
    errors: list[int] = Field(description="Answers of 500 and above; a balancer's own are among them.")
    share: list[float | None] = Field(description="Of all requests, 0 to 1; null: there were none.")
    response_ms: list[float | None] = Field(
        description="Until hosts begin to answer: the mean of some hundred requests; null: there were none."
    )


class FlipItem(Answer):
    """From then on a region's balancer split requests so."""

    at: float = Field(description="Unix time.")
    region: str
    weights_bp: dict[str, int] = Field(
        description="Group to basis points, as the balancer acknowledged them."
    )


class TrafficAnswer(Answer):
    """What the balancers have counted. Slots without any request before the first are left out."""

    application: str
    step_seconds: int
    at: list[int] = Field(description="When each slot begins, Unix time.")
    items: list[GroupTrafficItem]
    flips: list[FlipItem]
    kept_since: dict[str, datetime] = Field(
        description="Region to since when its agent counts; it keeps a day."
    )
    unknown: dict[str, str] = Field(description="Region to why nothing is known of it.")


def traffic(figures: Figures, application: Application) -> TrafficAnswer:
    totals = [figures.total(slot) for slot in range(len(figures.at))]
    versions = {str(each.name): each.version for each in application.groups}
    return TrafficAnswer(
        application=application.name,
        step_seconds=figures.step_seconds,
        at=list(figures.at),
        items=[_item(name, versions.get(name, ""), each, totals) for name, each in figures.groups.items()],
        flips=[
            FlipItem(at=flip.at, region=region, weights_bp={str(name): bp for name, bp in flip.shares})
            for region, flip in figures.flips
        ],
        kept_since={
            str(region): datetime.fromtimestamp(at, UTC) for region, at in figures.kept_since.items()
        },
        unknown={str(region): why for region, why in figures.unknown.items()},
    )


def _item(name: str, version: str, figures: GroupFigures, totals: list[int]) -> GroupTrafficItem:
    return GroupTrafficItem(
        name=name,
        version=version,
        requests=list(figures.requests),
        errors=list(figures.errors),
        share=[
            round(own / total, 4) if total else None
            for own, total in zip(figures.requests, totals, strict=True)
        ],
        response_ms=[None if each is None else round(each * 1000, 1) for each in figures.response_seconds],
    )
