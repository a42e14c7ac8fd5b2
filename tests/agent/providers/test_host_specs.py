"""Records that providers keep of their hosts are read by the next agent, those of version 0.1 too."""

import json
from dataclasses import asdict

from repave_agent.core.ports import HostSpec
from repave_agent.providers.host_specs import read_spec
from repave_protos.protocol.values import ApplicationName, Digest, GroupName, HostName
from tests.fakes.templates import a_template

SPEC = HostSpec(
    HostName("shop-v001-1"),
    GroupName("shop-v001"),
    ApplicationName("shop"),
    Digest("d" * 64),
    a_template(("./serve", "ä"), (("COLOUR", "blue"),), 9_000),
)


def test_what_was_recorded_is_read_back() -> None:
    assert read_spec(json.loads(json.dumps(asdict(SPEC)))) == SPEC


def test_a_record_of_version_0_1_still_says_what_the_host_runs_and_where() -> None:
    raw = {
        "name": "shop-v001-1",
        "group": "shop-v001",
        "application": "shop",
        "digest": "d" * 64,
        "run": ["./serve", "ä"],
        "environment": [["COLOUR", "blue"]],
        "port": 9_000,
    }
    spec = read_spec(raw)
    assert (spec.name, spec.group, spec.application) == (SPEC.name, SPEC.group, SPEC.application)
    assert (spec.digest, spec.port) == (SPEC.digest, 9_000)
    assert (spec.template.run, spec.template.environment) == (SPEC.template.run, SPEC.template.environment)
