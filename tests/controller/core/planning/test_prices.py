"""A plan's cost is that of its hosts by the hour; a price that is not known is never 0."""

from dataclasses import replace

import pytest

from repave_controller.core.domain.application import Policy, ReleaseOrder
from repave_controller.core.domain.by_region import ByRegion
from repave_controller.core.planning.plan import Plan, never_released, plan_release
from repave_controller.core.planning.prices import Price, Prices, Rates, Row
from repave_protos.protocol.values import RegionName
from tests.fakes.controller.stepping import HELLO, OSLO, PARIS, an_order, released
from tests.fakes.templates import a_template

PROVIDERS = {PARIS: "aws", OSLO: "gcp"}
TABLE = Prices(
    "2026-11-27",
    {
        ("aws", "*", ""): Row(0.1, None, "EUR"),
        ("aws", "*", "xl"): Row(0.4, 0.15, "EUR"),
        ("aws", "paris", "l"): Row(0.2, None, "EUR"),
        ("gcp", "*", ""): Row(0.1, None, "EUR"),
        ("gcp", "*", "xl"): Row(0.5, None, "EUR"),
        ("gcp", "*", "free"): Row(0.0, None, "EUR"),
    },
    PROVIDERS,
)


def of(order: ReleaseOrder, *sizes: str, is_spot: bool = False) -> ReleaseOrder:
    template = replace(order.template, machine_sizes=sizes, is_spot=is_spot)
    return replace(order, template=template)


def only(plan: Plan, region: RegionName) -> Rates | None:
    (found,) = [each.rates for each in plan.regions if each.name == region]
    return found


@pytest.mark.parametrize(
    ("region", "sizes", "is_spot", "hourly"),
    [
        (PARIS, (), False, 0.1),
        (PARIS, ("xl",), False, 0.4),
        (PARIS, ("xl", "l"), False, 0.4),
        (PARIS, ("xl",), True, 0.15),
        (PARIS, ("l",), False, 0.2),
        (PARIS, ("l",), True, None),
        (PARIS, ("m7i.large",), False, None),
        (OSLO, ("l",), False, None),
        (OSLO, ("free",), False, 0.0),
        (RegionName("rome"), (), False, None),
    ],
)
def test_a_price_is_of_provider_region_and_size_and_none_is_not_0(
    region: RegionName, sizes: tuple[str, ...], is_spot: bool, hourly: float | None
) -> None:
    template = replace(a_template(), machine_sizes=sizes, is_spot=is_spot)
    assert TABLE.of(region, template) == (None if hourly is None else Price(hourly, "EUR"))


@pytest.mark.parametrize(
    "policy", [Policy(keep_seconds=7200.0), Policy(keep_seconds=0.0)], ids=["kept", "not"]
)
def test_hosts_of_one_price_cost_their_hours(policy: Policy) -> None:
    application = released("a").application
    foretold = plan_release(application, an_order("b", policy=policy), prices=TABLE)
    region = foretold.regions[0]
    assert region.rates is not None
    assert region.rates.extra == pytest.approx(0.1 * region.extra_host_hours)
    assert region.rates.now == pytest.approx(0.3)
    assert region.rates.peak == pytest.approx(0.1 * region.peak)
    assert region.rates.kept == pytest.approx(0.1 * (3 + region.keeps_warm))
    assert region.rates.after == pytest.approx(0.3)
    (whole,) = foretold.rates
    assert whole.now == pytest.approx(0.6)
    assert (foretold.unpriced, foretold.prices_as_of) == ((), "2026-11-27")


def test_a_larger_size_costs_more_at_the_peak_and_after() -> None:
    application = released("a").application
    rates = only(plan_release(application, of(an_order("b"), "xl"), prices=TABLE), PARIS)
    assert rates is not None
    told = (rates.now, rates.peak, rates.kept, rates.after)
    assert told == pytest.approx((0.3, 1.5, 1.5, 1.2))


def test_what_has_no_price_is_named_and_left_out() -> None:
    """Of the new size in Oslo; then of the size that serves, in both."""
    application = released("a").application
    foretold = plan_release(application, of(an_order("b"), "l"), prices=TABLE)
    assert only(foretold, OSLO) is None
    assert foretold.unpriced == ("oslo: no price of gcp, l",)
    assert [each.now for each in foretold.rates] == pytest.approx([0.3])
    only_xl = replace(TABLE, rows={key: row for key, row in TABLE.rows.items() if key[2] == "xl"})
    foretold = plan_release(application, of(an_order("b"), "xl"), prices=only_xl)
    assert foretold.rates == ()
    assert foretold.unpriced == tuple(
        f"{region}: no price of {provider}, the size of its settings"
        for region, provider in PROVIDERS.items()
    )


def test_currencies_are_not_added() -> None:
    rows = {**TABLE.rows, ("gcp", "*", ""): Row(0.2, None, "USD")}
    foretold = plan_release(never_released(HELLO, "hello"), an_order(), prices=replace(TABLE, rows=rows))
    assert {each.currency: each.after for each in foretold.rates} == pytest.approx({"EUR": 0.3, "USD": 0.6})
    mixed = {**TABLE.rows, ("gcp", "*", "xl"): Row(0.5, None, "USD")}
    application = released("a").application
    foretold = plan_release(application, of(an_order("b"), "xl"), prices=replace(TABLE, rows=mixed))
    assert foretold.unpriced == ("oslo: in several currencies",)


def test_the_spec_s_own_prices_come_first_and_without_any_nothing_is_said() -> None:
    application = released("a").application
    order = replace(an_order("b"), prices=ByRegion(((PARIS, 1.0), (OSLO, 2.0))), currency="CHF")
    foretold = plan_release(application, order, prices=TABLE)
    assert {each.currency: each.now for each in foretold.rates} == pytest.approx({"CHF": 9.0})
    assert foretold.prices_as_of == ""
    foretold = plan_release(application, an_order("b"))
    assert (foretold.rates, foretold.unpriced) == ((), ())


def test_a_table_with_a_fault_is_told_and_not_used() -> None:
    foretold = plan_release(
        released("a").application,
        an_order("b"),
        prices=Prices(providers=PROVIDERS, fault="prices: line 2: no"),
    )
    assert foretold.rates == ()
    assert foretold.unpriced[0] == "prices: line 2: no"
