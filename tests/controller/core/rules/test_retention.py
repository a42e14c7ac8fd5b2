"""Whatever the rules of retention say, what a rollback, a release that waits or a retry needs stays."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from repave_controller.core.commands.rollback import Rollback
from repave_controller.core.domain.application import Application, GroupState, Instant, Part, ServerGroup
from repave_controller.core.domain.by_region import ByRegion
from repave_controller.core.domain.naming import format_group
from repave_controller.core.domain.reasons import Refused
from repave_controller.core.domain.rollout import GroupNumber
from repave_controller.core.rules.retention import (
    AUDIT_LEAST,
    DAY_SECONDS,
    EVENTS_LEAST,
    HISTORY_LEAST,
    Rule,
    Rules,
    keeps_audit,
    keeps_event,
    keeps_package,
    keeps_receipt,
    keeps_rollout,
    keeps_spec,
    needed_by,
    receipt_key,
)
from repave_protos.protocol.values import ApplicationName, Digest, RegionName
from tests.fakes.controller.scheduled import an_order
from tests.fakes.templates import a_template

SHOP = ApplicationName("shop")
NOW = Instant(1e9)
LONG_AGO = Instant(1.0)
REGIONS = (RegionName("oslo"), RegionName("paris"))
rules = st.builds(Rule, st.sampled_from([0.0, 0.001, 1.0, 1000.0]), st.sampled_from([0, 1, 5, 1000]))
ages = st.sampled_from([0.0, 3600.0, 2 * DAY_SECONDS, 5000 * DAY_SECONDS])


def all_of(rule: Rule) -> Rules:
    return Rules(rule, rule, rule, rule, rule)


def digest_of(number: int) -> Digest:
    return Digest(f"{number:064x}")


def a_group(number: int, states: dict[RegionName, GroupState]) -> ServerGroup:
    parts = ByRegion(
        Part(region, 1, state, proven=1, left_traffic_at=Instant(float(number)))
        for region, state in states.items()
    )
    return ServerGroup(
        format_group("shop", number),
        GroupNumber(number),
        f"{number}.0",
        digest_of(number),
        parts,
        a_template(("./app",)),
        Instant(0),
    )


@st.composite
def applications(draw: st.DrawFn) -> Application:
    """Groups that are there, some that are gone, and releases that wait."""
    newest = draw(st.integers(2, 30))
    numbers = draw(st.lists(st.integers(1, newest - 1), unique=True, max_size=8))
    states = st.sampled_from([GroupState.WARM, GroupState.FAILED, GroupState.RETIRING])
    live = [a_group(newest, dict.fromkeys(REGIONS, GroupState.SERVING))]
    past = []
    for number in sorted(numbers):
        if draw(st.booleans()):
            live.append(a_group(number, {draw(st.sampled_from(REGIONS)): draw(states)}))
        else:
            past.append(a_group(number, dict.fromkeys(REGIONS, GroupState.WARM)))
    orders = draw(st.integers(0, 2))
    return Application(
        SHOP,
        "shop",
        GroupNumber(newest + 1),
        groups=tuple(sorted(live, key=lambda each: each.number)),
        past=tuple(past[::-1]),
        rollouts_total=newest,
        queue=tuple(
            replace(an_order(str(n)), key=f"key{n}", digest=digest_of(newest + 1 + n)) for n in range(orders)
        ),
    )


@given(applications(), rules, st.integers(0, 10_000), st.integers(1, 31))
def test_what_a_rollback_may_name_is_kept_with_its_package_and_its_spec(
    application: Application, rule: Rule, newer: int, number: int
) -> None:
    """Asked of the command itself: any group that it would go back to."""
    name = format_group("shop", number)
    try:
        changed, _ = Rollback(to=name).apply(application, {}, "ann", "", NOW)
    except Refused:
        return
    needed, target = needed_by([application]), changed.rollout
    assert target is not None
    digests = {group.digest for group in changed.groups}
    assert all(keeps_package(all_of(rule), needed, each, LONG_AGO, newer, NOW) for each in digests)
    assert keeps_spec(all_of(rule), needed, SHOP, name, number, LONG_AGO, NOW)


@given(applications(), rules, st.integers(0, 10_000))
def test_what_is_anywhere_or_waits_is_kept(application: Application, rule: Rule, newer: int) -> None:
    needed = needed_by([application])
    digests = {each.digest for each in (*application.groups, *application.past)}
    digests |= {each.digest for each in application.queue}
    for digest in digests:
        assert keeps_package(all_of(rule), needed, digest, LONG_AGO, newer, NOW)
    for order in application.queue:
        key = receipt_key(SHOP, "release", order.key)
        assert keeps_receipt(all_of(rule), needed, key, LONG_AGO, newer, NOW)


@given(rules, ages, st.integers(0, 10_000))
def test_the_young_and_the_newest_are_kept(rule: Rule, age: float, newer: int) -> None:
    application = Application(SHOP, "shop", GroupNumber(newer + 101), rollouts_total=newer + 100)
    needed, at, number = needed_by([application]), Instant(NOW - age), 100
    if age < DAY_SECONDS:
        assert keeps_package(all_of(rule), needed, digest_of(1), at, newer, NOW)
        assert keeps_receipt(all_of(rule), needed, "any", at, newer, NOW)
    assert newer >= EVENTS_LEAST or keeps_event(all_of(rule), at, newer, NOW)
    assert newer >= AUDIT_LEAST or keeps_audit(all_of(rule), at, newer, NOW)
    if newer < HISTORY_LEAST:
        assert keeps_rollout(all_of(rule), needed, SHOP, number, at, NOW)
        assert keeps_spec(all_of(rule), needed, SHOP, "shop-v100", number, at, NOW)
    assert keeps_rollout(all_of(rule), needed, "never-heard-of", number, at, NOW)


@given(rules, ages, st.integers(0, 100_000))
def test_nothing_goes_without_a_bound_and_all_else_by_the_one_that_is_met_first(
    rule: Rule, age: float, newer: int
) -> None:
    kept = rule.keeps(age, newer)
    assert kept == (Rule(days=rule.days).keeps(age, newer) and Rule(count=rule.count).keeps(age, newer))
    assert Rule().keeps(age, newer)
    assert not kept or rule.keeps(age / 2, newer), "what is younger stays with it"
    assert not kept or rule.keeps(age, newer // 2), "and what has fewer newer ones"
