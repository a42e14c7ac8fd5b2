"""Plans that were shown are remembered, up to a bound, to say what has changed since."""

from dataclasses import replace

import pytest

from repave_controller.core.domain.reasons import Refused
from repave_controller.core.planning.plan import never_released, plan_id
from repave_controller.core.planning.shown_plans import PLANS_REMEMBERED_MAX, ShownPlans
from repave_controller.wording.render import text_of
from tests.fakes.controller.stepping import HELLO, an_order

NOBODY = never_released(HELLO, "hello")


def refusal(plans: ShownPlans, plan: str, version: str) -> str:
    with pytest.raises(Refused) as refused:
        plans.check(plan, NOBODY, replace(an_order("a"), version=version))
    assert refused.value.rule == "plan-changed"
    return text_of(refused.value.reason)


def test_what_holds_is_let_through_also_when_nobody_remembers_it() -> None:
    order = an_order("a")
    ShownPlans().check(plan_id(NOBODY, order).lower(), NOBODY, order)


def test_no_more_than_so_many_are_remembered_and_the_oldest_are_forgotten() -> None:
    plans = ShownPlans()
    orders = [replace(an_order("a"), version=str(number)) for number in range(PLANS_REMEMBERED_MAX + 1)]
    for order in orders:
        plans.remember(NOBODY, order)
    oldest, newest = plan_id(NOBODY, orders[0]), plan_id(NOBODY, orders[-1])
    assert "the spec, the package or the application" in refusal(plans, oldest, "x")
    assert f"changed since: the version ({PLANS_REMEMBERED_MAX} -> x);" in refusal(plans, newest, "x")
