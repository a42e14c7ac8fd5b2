"""The rights in deploy are those that keeping records needs, and no others."""

import json
from typing import Any, cast

from ruamel.yaml import YAML

from repave_agent.clients.aws.service import Route53
from repave_agent.core.records import Wanted
from repave_agent.dns.route53 import KINDS, Route53Records
from repave_agent.runtime.records import settle
from tests.fakes.clouds.route53 import FakeRoute53
from tests.support.paths import ROOT

CLOUD_DNS = {
    "rrsets.list": {"resourceRecordSets.list"},
    "changes.create": {
        "changes.create",
        "resourceRecordSets.create",
        "resourceRecordSets.delete",
        "resourceRecordSets.update",
    },
}
"""Of Google's reference: what each call that dns/cloud_dns.py makes needs, below `dns.`."""


async def test_the_policy_for_route_53_allows_the_calls_that_are_made_and_no_others() -> None:
    fake = FakeRoute53()
    records = Route53Records("paris", lambda: "home", cast("Route53", fake), "Z1", 60, 0)
    wish = Wanted("web.example.com", ("192.0.2.1",), "none", is_serving=True, is_served=True)
    await settle(records, wish, lambda: None)
    await settle(records, Wanted(wish.name, wish.addresses, "even_last", True, True), lambda: None)
    called = {f"route53:{''.join(word.capitalize() for word in name.split('_'))}" for name in fake.calls}
    policy: dict[str, Any] = json.loads((ROOT / "deploy" / "aws" / "dns-policy.json").read_text())
    assert {each["Action"] for each in policy["Statement"]} == called
    (condition,) = policy["Statement"][1]["Condition"].values()
    assert set(condition["route53:ChangeResourceRecordSetsActions"]) == fake.actions
    assert set(condition["route53:ChangeResourceRecordSetsRecordTypes"]) == set(KINDS)


def test_the_role_for_cloud_dns_has_the_rights_of_its_calls_and_no_others() -> None:
    role = YAML(typ="safe").load((ROOT / "deploy" / "gcp" / "dns-role.yaml").read_text())
    needed = {f"dns.{right}" for rights in CLOUD_DNS.values() for right in rights}
    assert set(role["includedPermissions"]) == needed
