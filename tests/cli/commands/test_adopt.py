"""Which hosts the options of `repave adopt` mean."""

from typing import Any

import pytest

from repave_cli.commands.adopt import FROM, fleets
from repave_cli.transport.errors import CliError

REGIONS = ("oslo", "paris")
EMPTY: dict[str, list[str]] = {"hosts": [], **{f"from_{kind.replace('-', '_')}": [] for kind in FROM}}


def of(**given: list[str]) -> dict[str, Any]:
    return {each.pop("region"): each for each in fleets({**EMPTY, **given}, REGIONS)}


def test_hosts_are_named_for_each_region_and_a_name_may_count_for_all() -> None:
    assert of(hosts=["paris=10.0.0.1:8080,[fd00::1]:81"], from_haproxy=["oslo=old"]) == {
        "paris": {
            "kind": "hosts",
            "hosts": [{"address": "10.0.0.1", "port": 8080}, {"address": "fd00::1", "port": 81}],
        },
        "oslo": {"kind": "haproxy", "name": "old"},
    }
    assert of(from_instance_group=["web"]) == {
        region: {"kind": "instance-group", "name": "web"} for region in REGIONS
    }


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "say where the fleet is"),
        ({"hosts": ["10.0.0.1:80"]}, "say in which region"),
        ({"hosts": ["paris=10.0.0.1"]}, "write ADDRESS:PORT"),
        ({"hosts": ["paris=10.0.0.1:99999"]}, "write ADDRESS:PORT"),
        ({"hosts": ["paris="]}, "name at least one host"),
        ({"hosts": ["paris=10.0.0.1:80"], "from_haproxy": ["old"]}, "the fleet of paris is named already"),
    ],
)
def test_what_can_not_be_meant_is_refused(given: dict[str, list[str]], said: str) -> None:
    with pytest.raises(CliError, match=said):
        of(**given)
