"""How large a spec may be, and what is said of a larger one: of each list and number that counts regions or
hosts."""

from typing import Any

import pytest
from pydantic import ValidationError

from repave_controller.core.commands.steering import request_size
from repave_controller.core.domain.application import Application, GroupState, Instant, Part, ServerGroup
from repave_controller.core.domain.bounds import HOSTS_MAX, REGIONS_MAX, SIZE_MAX
from repave_controller.core.domain.by_region import ByRegion
from repave_controller.core.domain.reasons import Refusal, Refused
from repave_controller.core.domain.rollout import GroupNumber
from repave_controller.spec.spec import Spec, compile_order
from repave_controller.wording.render import text_of
from repave_protos.protocol import bounds
from repave_protos.protocol.values import ApplicationName, Digest, GroupName, RegionName
from tests.fakes.templates import a_template


def regions(count: int, size: int) -> list[dict[str, Any]]:
    return [{"name": f"r{number:04}", "size": size} for number in range(count)]


def spec(**changes: object) -> dict[str, Any]:
    written: dict[str, object] = {
        "repave": 1,
        "app": "hello",
        "artifact": {"uri": "./app"},
        "host": {"image": "local", "run": "./serve"},
        "health": {"http": {"port": 8080}},
        "traffic": {"port": 8000},
        "regions": regions(2, 3),
        "strategy": {"blue_green": {}},
    }
    return written | changes


LARGEST: dict[str, dict[str, Any]] = {
    "as many regions and hosts as there may be": {"regions": regions(REGIONS_MAX, HOSTS_MAX // REGIONS_MAX)},
    "as many hosts in a region": {"regions": regions(HOSTS_MAX // SIZE_MAX, SIZE_MAX)},
    "a wave that names them all": {
        "regions": regions(REGIONS_MAX, 1),
        "waves": [{"regions": [f"r{number:04}" for number in range(REGIONS_MAX)][:1]}, {"regions": "rest"}],
    },
    "as many at once": {"waves": [{"regions": "rest", "parallel": REGIONS_MAX}]},
    "as many failures": {"rollback": {"failures": REGIONS_MAX}},
    "as many hosts that must be there": {"guards": {"min_hosts": SIZE_MAX}, "regions": regions(2, SIZE_MAX)},
}
TOO_LARGE: dict[str, tuple[dict[str, Any], str]] = {
    "a region too many": ({"regions": regions(REGIONS_MAX + 1, 1)}, "at most 5000 items"),
    "a host too many in a region": ({"regions": regions(1, SIZE_MAX + 1)}, "less than or equal to 10000"),
    "a host too many in all": (
        {"regions": [*regions(HOSTS_MAX // SIZE_MAX, SIZE_MAX), {"name": "one", "size": 1}]},
        "100,001 hosts in all regions together, at most 100,000: share them between applications",
    ),
    "too many at once": ({"waves": [{"regions": "rest", "parallel": REGIONS_MAX + 1}]}, "equal to 5000"),
    "too many failures": ({"rollback": {"failures": REGIONS_MAX + 1}}, "less than or equal to 5000"),
}


@pytest.mark.parametrize("name", LARGEST)
def test_the_largest_spec_is_taken(name: str) -> None:
    read = Spec.model_validate(spec(**LARGEST[name]))
    order = compile_order(read, Digest("1" * 64), "1")
    assert sum(len(wave.regions) for wave in order.waves) in (0, len(order.sizes))


@pytest.mark.parametrize("name", TOO_LARGE)
def test_a_larger_one_is_refused_with_the_bound(name: str) -> None:
    changes, said = TOO_LARGE[name]
    with pytest.raises(ValidationError) as caught:
        Spec.model_validate(spec(**changes))
    assert said in str(caught.value)


def test_agents_take_what_specs_may_ask_for() -> None:
    assert SIZE_MAX <= bounds.HOSTS_MAX
    assert HOSTS_MAX <= bounds.HOSTS_MAX, "one answer may name all hosts"


def test_a_group_grows_no_further_than_a_spec_may_ask_for() -> None:
    places = [RegionName(f"r{number}") for number in range(HOSTS_MAX // SIZE_MAX + 1)]
    parts = ByRegion(Part(region, SIZE_MAX - 1, GroupState.SERVING) for region in sorted(places)[:-1])
    parts = parts.put(Part(sorted(places)[-1], len(places) - 1, GroupState.SERVING)).sorted()
    name, template = GroupName("hello-v001"), a_template(("./serve",))
    group = ServerGroup(name, GroupNumber(1), "1", Digest("1" * 64), parts, template, Instant(0))
    hello = Application(ApplicationName("hello"), "hello", GroupNumber(2), groups=(group,))
    with pytest.raises(Refused) as caught:
        request_size(hello, ((places[0], SIZE_MAX),), "ann", "", Instant(1))
    assert caught.value.kind is Refusal.TOO_MANY_HOSTS
    said = text_of(caught.value.reason)
    assert said.startswith("hello-v001 would have 100,001 hosts in all regions together, at most 100,000")
