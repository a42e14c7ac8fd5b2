"""How many hosts a region is to have, and what would come of another number, as the API tells it."""

from datetime import UTC, datetime

from pydantic import Field

from repave_controller.api.answers.answer import Answer
from repave_controller.core.domain.application import Application
from repave_controller.core.planning.sizes import SizePlan
from repave_controller.wording.render import text_of
from repave_controller.wording.scaling import bounds_text
from repave_protos.protocol.values import RegionName


class ScalingItem(Answer):
    """Of a region whose number of hosts is chosen within bounds."""

    min: int
    max: int
    by: str = Field(description="requests, queue or metric; command: only by those who ask for it.")
    target: float = Field(description="What each host is to have; 0 with command.")
    hosts: int = Field(description="The number that is in force; 0: nothing serves there.")
    text: str = Field(description="The bounds, in words.")
    before: int = Field(description="Before it was changed last; 0: never.")
    changed_at: datetime | None
    changed_by: str
    reason: str = Field(description="Why it was.")
    trouble: str = Field(description="Why the number is not as the load asks.")


class SizeChangeItem(Answer):
    """Of a server group in a region."""

    group: str
    region: str
    size: int
    new_size: int
    hosts: int = Field(
        description="That it is to have now: a group that is being released has a part of its size."
    )
    new_hosts: int


class SizePlanAnswer(Answer):
    """What other numbers of hosts would do."""

    application: str
    changes: list[SizeChangeItem]
    starts_hosts: int
    ends_hosts: int = Field(description="They are drained first.")
    problems: list[str] = Field(description="Why it would be refused now; empty when it would not.")


def scaling_item(application: Application, region: RegionName) -> ScalingItem | None:
    scaling = application.policy.scaling.find(region)
    if scaling is None:
        return None
    serving, sized = application.serving_in(region), application.sized.find(region)
    is_changed = sized is not None and sized.before > 0
    return ScalingItem(
        min=scaling.least,
        max=scaling.most,
        by=scaling.by,
        target=scaling.target,
        hosts=serving.size(region) if serving is not None else 0,
        text=bounds_text(scaling),
        before=sized.before if sized is not None else 0,
        changed_at=datetime.fromtimestamp(sized.at, UTC) if sized is not None and is_changed else None,
        changed_by=sized.by if sized is not None else "",
        reason=text_of(sized.reason) if sized is not None else "",
        trouble=text_of(sized.trouble) if sized is not None else "",
    )


def size_plan_answer(plan: SizePlan) -> SizePlanAnswer:
    return SizePlanAnswer(
        application=plan.application,
        changes=[
            SizeChangeItem(
                group=each.group,
                region=each.region,
                size=each.before,
                new_size=each.size,
                hosts=each.count,
                new_hosts=each.wanted,
            )
            for each in plan.changes
        ],
        starts_hosts=sum(max(0, each.wanted - each.count) for each in plan.changes),
        ends_hosts=sum(max(0, each.count - each.wanted) for each in plan.changes),
        problems=[text_of(each) for each in plan.problems],
    )
