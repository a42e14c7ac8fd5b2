"""How a spec says what is given to a side and who tests, and from when on testers see a release."""

from dataclasses import replace

import pytest

from repave_controller.commands import request_abort, request_release
from repave_controller.model import (
    Application,
    GroupNumber,
    GroupState,
    Instant,
    Phase,
    ReleaseOrder,
    Rollout,
    Scale,
    Soak,
    Verify,
    Weight,
)
from repave_controller.plan import compile_order
from repave_controller.rollout import desired_state
from repave_controller.specfile import SpecError, load
from repave_protos.values import BY_REQUEST, DesiredState, Digest, Epoch, RegionName, Split, contradictions
from tests.fakes.scheduled import PARIS, SHOP, an_order
from tests.fakes.specs import DIGEST, SMALLEST

NOW = Instant(100.0)
MARKED = Split("cookie", "uid", "header", "X-Tester", "yes")
STEPS = (Scale(100, 60.0), Verify(60.0), Weight(500, 60.0), Soak(5.0, 60.0), Weight(10_000, 60.0))


def with_traffic(more: str) -> str:
    return SMALLEST.replace("traffic: {frontend: hello, port: 8000}", f"traffic: {{port: 8000{more}}}")


# ------------------------------------------------------------------------------------------------- the spec


@pytest.mark.parametrize(
    ("more", "split"),
    [
        ("", BY_REQUEST),
        (", split: request", BY_REQUEST),
        (", split: cookie, cookie: uid", Split("cookie", "uid")),
        (", split: header, header: X-User", Split("header", "X-User")),
        (", testers: {header: X-Tester, value: a/b=1}", Split("request", "", "header", "X-Tester", "a/b=1")),
        (
            ", split: cookie, cookie: uid, testers: {cookie: uid, value: ann@example.org}",
            Split("cookie", "uid", "cookie", "uid", "ann@example.org"),
        ),
    ],
)
def test_what_a_spec_says_of_traffic_is_in_the_release(more: str, split: Split) -> None:
    spec, _ = load(with_traffic(more), "repave.yaml")
    assert compile_order(spec, DIGEST, "1").split == split


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        (", split: user", "traffic.split: must be 'request', 'cookie' or 'header'"),
        (", split: cookie", "traffic.split: say which: add cookie: NAME, the cookie that names the user"),
        (", split: header", "traffic.split: say which: add header: NAME, the header that names the user"),
        (
            ", cookie: uid",
            "traffic.cookie: names a user only with split: cookie; this spec splits by request",
        ),
        (
            ", split: cookie, cookie: uid, header: X-User",
            "traffic.header: names a user only with split: header; this spec splits by cookie",
        ),
        (", split: cookie, cookie: 'a b'", "traffic.cookie: must be 1 to 64 letters, digits, _ . or -"),
        (", split: header, header: 'X-Úser'", "traffic.header: must be 1 to 64 letters, digits, _ . or -"),
        (
            ", testers: {value: yes}",
            "traffic.testers: say how testers are known: header: NAME or cookie: NAME",
        ),
        (
            ", testers: {header: a, cookie: b, value: yes}",
            "traffic.testers.cookie: testers are known in one way only; leave out header or cookie",
        ),
        (", testers: {header: a}", "traffic.testers.value: is missing"),
        (
            ', testers: {header: a, value: "x y"}',
            "traffic.testers.value: must be 1 to 200 letters, digits or _ . : / = + @ ~ -; anything else "
            "could be misread",
        ),
    ],
)
def test_a_split_that_nobody_can_mean_is_refused_at_its_place(more: str, problem: str) -> None:
    with pytest.raises(SpecError) as caught:
        load(with_traffic(more), "repave.yaml")
    (line,) = str(caught.value).splitlines()
    assert line.partition(": ")[2].startswith(problem)


# --------------------------------------------------------------------------------------- when testers see it


def application(split: Split = MARKED) -> Application:
    """hello-v001 serves, the release of hello-v002 is at its first step."""
    order: ReleaseOrder = replace(an_order("a"), split=split, steps=STEPS)
    first, _ = request_release(Application(SHOP, "shop", GroupNumber(1)), order, queue=False, now=NOW)
    done = replace(
        first,
        serving=GroupNumber(1),
        groups=tuple(replace(group, state=GroupState.SERVING) for group in first.groups),
        rollout=replace(running(first), phase=Phase.SUCCEEDED),
    )
    return request_release(done, replace(order, digest=Digest("b" * 64)), queue=False, now=NOW)[0]


def running(of: Application) -> Rollout:
    assert of.rollout is not None
    return of.rollout


def at(step: int, of: Application) -> Application:
    return replace(of, rollout=replace(running(of), cursor=step))


def desired(of: Application, region: RegionName = PARIS) -> DesiredState:
    state = desired_state(of, region, Epoch(1, 1, 1))
    assert contradictions(state) == []
    return state


def who_tests(of: Application) -> list[str]:
    return [group.name for group in desired(of).groups if group.takes_testers]


def test_testers_see_the_new_group_from_the_end_of_its_verification_to_that_of_the_release() -> None:
    seen = {type(step).__name__: who_tests(at(index, application())) for index, step in enumerate(STEPS)}
    assert seen["Scale"] == seen["Verify"] == []
    assert seen["Weight"] == seen["Soak"] == ["shop-v002"]
    first_weight = desired(at(2, application()))
    assert [group.weight_bp for group in first_weight.groups] == [9_500, 500]


def test_without_testers_in_the_spec_no_group_takes_any() -> None:
    assert who_tests(at(3, application(BY_REQUEST))) == []


def test_a_release_that_goes_back_loses_its_who_tests_once() -> None:
    back, _ = request_abort(at(3, application()), "ann", "", NOW)
    assert running(back).phase is Phase.UNDOING
    assert who_tests(back) == []


def test_a_region_is_told_the_split_of_the_newest_release() -> None:
    of = application(Split("header", "X-User"))
    assert desired(of).split == Split("header", "X-User")
    assert desired(replace(of, split=BY_REQUEST)).split == BY_REQUEST
