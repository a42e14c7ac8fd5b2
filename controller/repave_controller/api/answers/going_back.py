"""The plan of a rollback as the API gives it."""

from typing import Literal

from pydantic import Field

from repave_controller.api.answers.answer import Answer
from repave_controller.core.planning.going_back import RegionBack, RollbackPlan
from repave_controller.wording.render import text_of


class RegionBackItem(Answer):
    """The way back of one region."""

    name: str
    serving: str
    serving_version: str
    group: str = Field(description="Which it goes back to; of one that is built again, which it was.")
    version: str
    how: Literal["switch", "grow", "build"] = Field(
        description="switch: it runs in full; grow: it has fewer hosts than serve now; build: it has none."
    )
    has: int = Field(description="Hosts that are kept.")
    size: int = Field(description="Hosts that it shall have.")
    healthy: int
    serving_healthy: int
    is_ill: bool = Field(description="Too few of the kept hosts are healthy: it takes force and a reason.")
    is_away: bool = Field(description="It is not connected and follows when it returns.")
    at_least_seconds: float


class RollbackPlanAnswer(Answer):
    """What a rollback would do."""

    application: str
    turns_round: str = Field(description="The group whose running release goes back; empty: none runs.")
    regions: list[RegionBackItem]
    stays: dict[str, str] = Field(description="Regions that keep who serves there.")
    now: bool = Field(description="Groups grow after the switch.")
    warm: dict[str, str] = Field(description="Other groups that are kept, with their versions.")
    at_least_seconds: float
    problems: list[str] = Field(description="Why it would be refused now; empty when it would not.")


def rollback_plan_answer(plan: RollbackPlan) -> RollbackPlanAnswer:
    return RollbackPlanAnswer(
        application=plan.application,
        turns_round=plan.turns_round or "",
        regions=[_region(each) for each in plan.regions],
        stays={str(region): str(group) for region, group in plan.stays},
        now=plan.at_once,
        warm={str(name): version for name, version in plan.warm},
        at_least_seconds=max((each.at_least_seconds for each in plan.regions), default=0.0),
        problems=[text_of(each) for each in plan.problems],
    )


def _region(region: RegionBack) -> RegionBackItem:
    return RegionBackItem(
        name=region.name,
        serving=region.serving,
        serving_version=region.serving_version,
        group=region.target,
        version=region.version,
        how=region.how.value,
        has=region.has,
        size=region.size,
        healthy=region.healthy,
        serving_healthy=region.serving_healthy,
        is_ill=region.is_ill,
        is_away=region.is_away,
        at_least_seconds=region.at_least_seconds,
    )
