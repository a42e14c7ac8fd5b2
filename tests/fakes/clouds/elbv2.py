"""Elastic Load Balancing in memory: each call is checked by Amazon's own description of it, then done as the
documentation says. Requests go where rules and weights send them."""

import itertools
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cache
from typing import Any

import botocore.session
from botocore import xform_name
from botocore.validate import validate_parameters

from repave_agent.clients.aws import AmazonOptions
from repave_agent.clients.aws.service import Elbv2
from repave_agent.clients.faults import GoneError, LostError
from repave_agent.core.ports import OutOfCapacityError, ProviderError, RefusedError

Json = dict[str, Any]
READING = ("describe_",)
KINDS = {
    "loadbalancer": "LoadBalancer",
    "listener": "Listener",
    "listener-rule": "Rule",
    "targetgroup": "TargetGroup",
}


@cache
def _shapes() -> dict[str, Any]:
    """The input of each call."""
    model = botocore.session.get_session().get_service_model("elbv2")
    return {xform_name(each): model.operation_model(each).input_shape for each in model.operation_names}


@dataclass
class FakeElb:
    """The account. `down`: addresses that are ill. `lost`: so many changes are made and never answered.
    `refused`: calls to fail, and by what. `served`: after each change, groups by port that take requests of
    which nothing is known. `changes` and `calls`: names. `repeated`: so many changes are made twice, as the
    library does it where the first answer is lost."""

    down: set[str] = field(default_factory=set)
    lost: int = 0
    repeated: int = 0
    refused: dict[str, ProviderError] = field(default_factory=dict)
    balancers: dict[str, Json] = field(default_factory=dict)
    listeners: dict[str, Json] = field(default_factory=dict)
    rules: dict[str, Json] = field(default_factory=dict)
    groups: dict[str, Json] = field(default_factory=dict)
    targets: dict[str, dict[tuple[str, int], None]] = field(default_factory=dict)
    attributes: dict[str, dict[str, str]] = field(default_factory=dict)
    tags: dict[str, dict[str, str]] = field(default_factory=dict)
    served: list[dict[int, set[str]]] = field(default_factory=list)
    changes: list[str] = field(default_factory=list)
    calls: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._numbers, self._turns = itertools.count(1), Counter[str]()

    def add(self, name: str, kind: str = "application") -> str:
        """What an operator has made; returns its ARN."""
        arn = self._arn(f"loadbalancer/app/{name}")
        self.balancers[arn] = {
            "LoadBalancerArn": arn,
            "LoadBalancerName": name,
            "DNSName": f"{name}.elb.example.com",
            "VpcId": "vpc-1",
            "Type": kind,
            "State": {"Code": "active"},
        }
        self.tags[arn] = {}
        return arn

    def add_listener(self, load_balancer: str, port: int) -> str:
        """A stranger's."""
        action = {"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "404"}}
        made = self.create_listener(LoadBalancerArn=load_balancer, Port=port, DefaultActions=[action])
        return str(made["Listeners"][0]["ListenerArn"])

    def forget_all(self) -> None:
        """What repave has made is deleted."""
        for each in (self.listeners, self.rules, self.groups, self.targets):
            each.clear()

    def client(self, check: Callable[[], None] = lambda: None) -> "FakeElbv2":
        return FakeElbv2(self, check)

    def named(self, group_arn: str) -> str:
        """The group of repave's whose target group it is."""
        return self.tags.get(group_arn, {}).get("repave-group", "?")

    # ------------------------------------------------------------------------------------------- requests

    def ask(self, port: int, headers: Mapping[str, str]) -> str:
        """Which of repave's groups answers; "" when none does."""
        (listener,) = [each for each in self.listeners.values() if each["Port"] == port]
        weights = self._weights(self._actions(listener, headers))
        total = sum(weights.values())
        if not total:
            return ""
        turn = self._turns[listener["ListenerArn"]] = self._turns[listener["ListenerArn"]] + 1
        place = turn * 617 % total  # a different order than by weight alone
        for arn, weight in weights.items():
            if place < weight:
                return self.named(arn)
            place -= weight
        raise AssertionError("a place lies within the total")

    def weights(self, port: int) -> dict[str, int]:
        """Of requests without a mark, by repave's groups."""
        (listener,) = [each for each in self.listeners.values() if each["Port"] == port]
        return {self.named(arn): weight for arn, weight in self._weights(self._actions(listener, {})).items()}

    def _actions(self, listener: Json, headers: Mapping[str, str]) -> list[Json]:
        rules = [each for each in self.rules.values() if each["ListenerArn"] == listener["ListenerArn"]]
        for rule in sorted(rules, key=lambda each: int(each["Priority"])):
            if all(_fits(each, headers) for each in rule["Conditions"]):
                return list(rule["Actions"])
        return list(listener["DefaultActions"])

    def _weights(self, actions: list[Json]) -> dict[str, int]:
        listed = [
            each for action in actions for each in action.get("ForwardConfig", {}).get("TargetGroups", ())
        ]
        return {each["TargetGroupArn"]: each["Weight"] for each in listed if each["Weight"]}

    def _used(self, group: str) -> bool:
        actions = [each["DefaultActions"] for each in self.listeners.values()]
        actions += [each["Actions"] for each in self.rules.values()]
        return any(f"'{group}'" in str(each) for each in actions)

    # ---------------------------------------------------------------------------------------------- calls

    def describe_load_balancers(self, LoadBalancerArns: Any = None, Names: Any = None) -> Json:
        there = list(self.balancers.values())
        if LoadBalancerArns or Names:
            asked = (*(LoadBalancerArns or ()), *(Names or ()))
            there = [
                each
                for each in there
                if each["LoadBalancerArn"] in asked or each["LoadBalancerName"] in asked
            ]
            if not there:
                raise GoneError("AWS: describe_load_balancers: LoadBalancerNotFound: One or more not found")
        return {"LoadBalancers": there}

    def describe_listeners(self, LoadBalancerArn: str) -> Json:
        self._must(self.balancers, LoadBalancerArn)
        return {"Listeners": [x for x in self.listeners.values() if x["LoadBalancerArn"] == LoadBalancerArn]}

    def describe_rules(self, ListenerArn: str) -> Json:
        listener = self._must(self.listeners, ListenerArn)
        rules = [each for each in self.rules.values() if each["ListenerArn"] == ListenerArn]
        last = {
            "RuleArn": f"{ListenerArn}/default",
            "Priority": "default",
            "IsDefault": True,
            "Conditions": [],
            "Actions": listener["DefaultActions"],
        }
        return {"Rules": [*rules, last]}

    def describe_target_groups(self) -> Json:
        return {"TargetGroups": list(self.groups.values())}

    def describe_target_group_attributes(self, TargetGroupArn: str) -> Json:
        self._must(self.groups, TargetGroupArn)
        found = {"deregistration_delay.timeout_seconds": "300", **self.attributes.get(TargetGroupArn, {})}
        return {"Attributes": [{"Key": key, "Value": value} for key, value in found.items()]}

    def describe_target_health(self, TargetGroupArn: str) -> Json:
        """Of a group that no rule names nothing is known."""
        self._must(self.groups, TargetGroupArn)
        told = []
        for address, port in self.targets[TargetGroupArn]:
            state = "unhealthy" if address in self.down else "healthy"
            state = state if self._used(TargetGroupArn) else "unused"
            told.append({"Target": {"Id": address, "Port": port}, "TargetHealth": {"State": state}})
        return {"TargetHealthDescriptions": told}

    def describe_tags(self, ResourceArns: list[str]) -> Json:
        assert len(ResourceArns) <= 20, "AWS tells of 20 at once"
        for arn in ResourceArns:
            self._must(self._all_of(arn), arn)
        return {
            "TagDescriptions": [
                {
                    "ResourceArn": arn,
                    "Tags": [{"Key": k, "Value": v} for k, v in self.tags.get(arn, {}).items()],
                }
                for arn in ResourceArns
            ]
        }

    def add_tags(self, ResourceArns: list[str], Tags: list[Json]) -> Json:
        for arn in ResourceArns:
            self._must(self._all_of(arn), arn)
            self._tag(arn, Tags)
        return {}

    def remove_tags(self, ResourceArns: list[str], TagKeys: list[str]) -> Json:
        for arn, key in itertools.product(ResourceArns, TagKeys):
            self.tags[arn].pop(key, None)
        return {}

    def create_target_group(self, Tags: Any = (), **given: Any) -> Json:
        if any(each["TargetGroupName"] == given["Name"] for each in self.groups.values()):
            raise RefusedError(f"AWS: create_target_group: DuplicateTargetGroupName: {given['Name']}")
        assert len(given["Name"]) <= 32, given["Name"]
        assert given["Name"].strip("-") == given["Name"], given["Name"]
        arn = self._arn(f"targetgroup/{given['Name']}")
        made = {"TargetGroupArn": arn, "TargetGroupName": given["Name"]}
        self.groups[arn] = {**made, **{key: value for key, value in given.items() if key != "Name"}}
        self.targets[arn] = {}
        self._tag(arn, Tags)
        return {"TargetGroups": [self.groups[arn]]}

    def modify_target_group(self, TargetGroupArn: str, **given: Any) -> Json:
        self._must(self.groups, TargetGroupArn).update(given)
        return {}

    def modify_target_group_attributes(self, TargetGroupArn: str, Attributes: list[Json]) -> Json:
        self._must(self.groups, TargetGroupArn)
        self.attributes[TargetGroupArn] = {each["Key"]: each["Value"] for each in Attributes}
        return {}

    def register_targets(self, TargetGroupArn: str, Targets: list[Json]) -> Json:
        self._must(self.groups, TargetGroupArn)
        self.targets[TargetGroupArn].update({(each["Id"], each["Port"]): None for each in Targets})
        return {}

    def deregister_targets(self, TargetGroupArn: str, Targets: list[Json]) -> Json:
        for each in Targets:
            self.targets[TargetGroupArn].pop((each["Id"], each["Port"]), None)
        return {}

    def delete_target_group(self, TargetGroupArn: str) -> Json:
        if self._used(TargetGroupArn):
            raise RefusedError(
                "AWS: delete_target_group: ResourceInUse: it is in use by a listener or a rule"
            )
        self.groups.pop(TargetGroupArn, None)
        self.targets.pop(TargetGroupArn, None)
        return {}

    def create_listener(self, Tags: Any = (), **given: Any) -> Json:
        same = [
            each for each in self.listeners.values() if each["LoadBalancerArn"] == given["LoadBalancerArn"]
        ]
        if any(each["Port"] == given["Port"] for each in same):
            raise RefusedError(
                "AWS: create_listener: DuplicateListener: A listener already exists on this port"
            )
        arn = self._arn("listener/app/front")
        self._check(given["DefaultActions"])
        self.listeners[arn] = {"ListenerArn": arn, **given}
        self._tag(arn, Tags)
        return {"Listeners": [self.listeners[arn]]}

    def modify_listener(self, ListenerArn: str, DefaultActions: list[Json]) -> Json:
        self._check(DefaultActions)
        found = self._must(self.listeners, ListenerArn)
        self.listeners[ListenerArn] = {**found, "DefaultActions": DefaultActions}
        return {}

    def delete_listener(self, ListenerArn: str) -> Json:
        self._must(self.listeners, ListenerArn)
        del self.listeners[ListenerArn]
        self.rules = {arn: each for arn, each in self.rules.items() if each["ListenerArn"] != ListenerArn}
        return {}

    def create_rule(self, Tags: Any = (), **given: Any) -> Json:
        self._must(self.listeners, given["ListenerArn"])
        same = [each for each in self.rules.values() if each["ListenerArn"] == given["ListenerArn"]]
        if str(given["Priority"]) in {each["Priority"] for each in same}:
            raise RefusedError("AWS: create_rule: PriorityInUse: The specified priority is in use.")
        self._check(given["Actions"])
        arn = self._arn("listener-rule/app/front")
        self.rules[arn] = {**given, "RuleArn": arn, "Priority": str(given["Priority"]), "IsDefault": False}
        self._tag(arn, Tags)
        return {"Rules": [self.rules[arn]]}

    def modify_rule(self, RuleArn: str, **given: Any) -> Json:
        self._check(given.get("Actions", []))
        self.rules[RuleArn] = {**self._must(self.rules, RuleArn), **given}
        return {}

    def delete_rule(self, RuleArn: str) -> Json:
        self._must(self.rules, RuleArn)
        del self.rules[RuleArn]
        return {}

    def _check(self, actions: list[Json]) -> None:
        for action in actions:
            listed = action.get("ForwardConfig", {}).get("TargetGroups", ())
            if len(listed) > 5:
                raise OutOfCapacityError("AWS: TooManyUniqueTargetGroupsPerLoadBalancer: at most 5")
            for each in listed:
                assert 0 <= each["Weight"] <= 999
                self._must(self.groups, each["TargetGroupArn"])

    def _tag(self, arn: str, tags: list[Json]) -> None:
        self.tags.setdefault(arn, {}).update({each["Key"]: each["Value"] for each in tags})
        assert all(len(each["Value"]) <= 256 for each in tags)

    def _all_of(self, arn: str) -> dict[str, Json]:
        kind = arn.split(":")[5].partition("/")[0]
        kinds = {"loadbalancer": self.balancers, "listener": self.listeners, "listener-rule": self.rules}
        return kinds.get(kind, self.groups)

    def _must(self, things: dict[str, Json], arn: str) -> Json:
        if arn not in things:
            kind = KINDS[arn.split(":")[5].partition("/")[0]]
            raise GoneError(f"AWS: {kind}NotFound: {arn}")
        return things[arn]

    def _arn(self, what: str) -> str:
        return f"arn:aws:elasticloadbalancing:eu-west-1:123456789012:{what}/{next(self._numbers):016x}"


def _fits(condition: Json, headers: Mapping[str, str]) -> bool:
    match condition["Field"]:
        case "path-pattern":
            return True
        case "http-header":
            config = condition["HttpHeaderConfig"]
            have = {name.lower(): value for name, value in headers.items()}.get(
                config["HttpHeaderName"].lower()
            )
            return have is not None and any(_matches(have, each) for each in config["Values"])
        case _:
            return False


def _matches(value: str, pattern: str) -> bool:
    """Without regard to case, as AWS does it."""
    plain = pattern.replace("\\*", "[*]").replace("\\?", "[?]").lower()
    return fnmatchcase(value.lower(), plain)


class FakeElbv2(Elbv2):
    """What calls it."""

    def __init__(self, account: FakeElb, check: Callable[[], None]) -> None:
        super().__init__(AmazonOptions(), check=check)
        self.account = account

    async def call(self, name: str, **wanted: Any) -> Json:
        account = self.account
        report = validate_parameters(wanted, _shapes()[name])
        assert report is None, report
        account.calls[name] += 1
        self.calls += 1
        if name.startswith("describe_"):
            return dict(getattr(account, name)(**wanted))
        self._check()
        if name in account.refused:
            raise account.refused[name]
        answer = getattr(account, name)(**wanted)
        account.changes.append(name)
        listeners = account.listeners.values()
        account.served.append({each["Port"]: set(account.weights(each["Port"])) for each in listeners})
        if account.repeated:
            account.repeated -= 1
            answer = getattr(account, name)(**wanted)
        if account.lost:
            account.lost -= 1
            raise LostError(f"AWS: {name}: the answer was lost")
        return dict(answer)
