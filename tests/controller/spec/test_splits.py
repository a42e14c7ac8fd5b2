"""How a spec says what is given to a side and who tests, and from when on testers see a release."""

import pytest

from repave_controller.core.commands.rollback import request_abort
from repave_controller.core.domain.application import Instant
from repave_controller.core.steps import Scale, Soak, Verify, Weight
from repave_controller.spec.loader import SpecError, load
from repave_controller.spec.spec import compile_order
from repave_protos.protocol.values import BY_REQUEST, Split, contradictions
from tests.fakes.controller.specs import DIGEST, SMALLEST
from tests.fakes.controller.stepping import PARIS, World

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
def test_an_inconsistent_split_is_refused_at_its_place(more: str, problem: str) -> None:
    with pytest.raises(SpecError) as caught:
        load(with_traffic(more), "repave.yaml")
    (line,) = str(caught.value).splitlines()
    assert line.partition(": ")[2].startswith(problem)


# --------------------------------------------------------------------------------------- when testers see it


def releasing(split: Split = MARKED) -> World:
    """hello-v001 serves, the release of hello-v002 has begun."""
    world = World()
    world.release("a", split=split, steps=STEPS)
    world.finish()
    world.release("b", split=split, steps=STEPS)
    return world


def who_tests(world: World) -> list[str]:
    state = world.application.desired_in(PARIS)
    assert state is not None
    assert contradictions(state) == []
    return [group.name for group in state.groups if group.takes_testers]


def at_step(world: World) -> str:
    rollout = world.application.running
    return rollout.steps[rollout.cursor].kind if rollout is not None else "over"


def test_testers_see_the_new_group_from_the_end_of_its_verification_to_that_of_the_release() -> None:
    world, seen = releasing(), []
    while at_step(world) != "over":
        seen.append((at_step(world), who_tests(world)))
        for region in world.regions.values():
            region.work()
        world.now = Instant(world.now + 2)
        world.decide()
    assert {kind for kind, testers in seen if testers} == {"weight", "soak"}
    assert {kind for kind, testers in seen if not testers} == {"scale"}  # verified in the same look
    assert who_tests(world) == []


def test_without_testers_in_the_spec_no_group_takes_any() -> None:
    world = releasing(BY_REQUEST)
    world.settle()
    assert (at_step(world), who_tests(world)) == ("soak", [])


def test_a_release_that_goes_back_loses_its_testers_at_once() -> None:
    world = releasing()
    world.settle()
    assert who_tests(world) == ["hello-v002"]
    world.application, _ = request_abort(world.application, "ann", "", world.now)
    world.decide()
    assert who_tests(world) == []
