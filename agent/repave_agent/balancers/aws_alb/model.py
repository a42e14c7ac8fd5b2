"""What an Application Load Balancer shall look like, and the one call that brings it nearer. Pure.

Each group has a target group, and each application a place where its requests come in: a listener of its own,
or a rule in one of the operator's. There one action forwards to the groups that share the traffic, so another
share and a switch are one call. AWS asks only targets of groups that some rule names; so a rule that no
request fits names all groups of the application, and health is known before the first request.
"""

import hashlib
import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from repave_agent.balancers.shares import application_of
from repave_agent.core.ports import Backend, Frontend, Route, Server, Structure
from repave_protos.protocol.values import FULL_WEIGHT_BP, ApplicationName, GroupName, Probe, Timeouts

OWNER, GROUP, APPLICATION, PART = "repave-owner", "repave-group", "repave-application", "repave-part"
"""Tags of what is repave's. Names alone would take a stranger's for ours."""
HOSTS = "repave-hosts-"
"""Tags of a target group, numbered: which host has which address, for AWS knows addresses only."""
HOSTS_TAGS_MAX, TAG_CHARACTERS_MAX = 40, 256
NAME_CHARACTERS_MAX = 32
TESTERS, TRAFFIC, IDLE = "testers", "traffic", "idle"
PRIORITIES = {TESTERS: 40_001, TRAFFIC: 40_002, IDLE: 40_003}
"""Rules of the operator's own that come first have lower numbers."""
NOT_A_CLIENT = "192.0.2.1/32"
"""Kept for documentation: no request comes from it."""
FORWARDED_MAX = 5
"""Target groups that one action may name."""
SHARES = 1_000
WEIGHT_MAX = 999
STATUS_MIN, STATUS_MAX = 200, 499
"""What a check may expect."""
ANY_STATUS = f"{STATUS_MIN}-{STATUS_MAX}"
DRAIN_ATTRIBUTE, DRAIN_SECONDS_MAX = "deregistration_delay.timeout_seconds", 3_600


@dataclass(frozen=True, slots=True)
class Check:
    """How AWS asks a target whether it is healthy. Whole seconds."""

    port: int
    path: str
    expect: str
    interval: int
    timeout: int
    healthy_after: int
    unhealthy_after: int

    def body(self) -> dict[str, Any]:
        return {
            "HealthCheckProtocol": "HTTP",
            "HealthCheckPort": str(self.port),
            "HealthCheckPath": self.path,
            "HealthCheckIntervalSeconds": self.interval,
            "HealthCheckTimeoutSeconds": self.timeout,
            "HealthyThresholdCount": self.healthy_after,
            "UnhealthyThresholdCount": self.unhealthy_after,
            "Matcher": {"HttpCode": self.expect},
        }


@dataclass(frozen=True, slots=True)
class Target:
    address: str
    port: int

    def body(self) -> dict[str, Any]:
        return {"Id": self.address, "Port": self.port}


@dataclass(frozen=True, slots=True)
class TargetGroup:
    """`targets`: those that take requests. `hosts`: the text of the tags that name all servers."""

    group: GroupName
    targets: frozenset[Target]
    hosts: tuple[str, ...]
    check: Check
    drain_seconds: int
    id: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Testers:
    """Requests with this mark go to that group. `by`: header or cookie."""

    by: str
    name: str
    value: str
    group: GroupName


@dataclass(frozen=True, slots=True)
class Listener:
    """Where the requests of an application come in. `shares`: groups with weights, none as long as there is
    no route. `idle`: groups whose health is asked for without traffic. `rule`: its own in an operator's
    listener; else it has all of the listener. `rules`: of testers and idle groups. The last three: ARNs."""

    application: ApplicationName
    port: int
    shares: tuple[tuple[GroupName, int], ...] = ()
    testers: Testers | None = None
    idle: tuple[GroupName, ...] = ()
    id: str = field(default="", compare=False)
    rule: str = field(default="", compare=False)
    rules: Mapping[str, str] = field(default_factory=dict, compare=False)

    @property
    def groups(self) -> set[GroupName]:
        named = {group for group, _ in self.shares} | set(self.idle)
        return named | ({self.testers.group} if self.testers is not None else set())


Taken = tuple[str, str, int]
"""("port", "", 80), ("priority", ARN of a listener, 40001), ("name", name of a target group, 0)."""


@dataclass(frozen=True, slots=True)
class State:
    """All of one load balancer that is repave's. As read, also: `operators`, ARNs of the listeners in which
    rules may be made, by port; `taken`, what strangers have; `strays`, calls that end what is there twice;
    `raw`, listeners and rules as AWS gives them."""

    groups: dict[GroupName, TargetGroup] = field(default_factory=dict)
    listeners: dict[ApplicationName, Listener] = field(default_factory=dict)
    operators: Mapping[int, str] = field(default_factory=dict, compare=False)
    taken: frozenset["Taken"] = field(default=frozenset(), compare=False)
    strays: tuple["Call", ...] = field(default=(), compare=False)
    raw: Any = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Call:
    """One call of the library. `of`: what it changes. `part`: the group or application that it is for.
    `refusal`: why it needs not be tried."""

    name: str
    body: dict[str, Any]
    of: str
    part: str = ""
    refusal: str = ""

    def __str__(self) -> str:
        return f"{self.name} of {self.of}"


@dataclass(frozen=True, slots=True)
class Place:
    """What new things are made in. `mark`: whose they are."""

    load_balancer: str
    vpc: str
    mark: str

    def tags(self, **more: str) -> list[dict[str, str]]:
        """`more` without "repave-"."""
        marks = {OWNER: self.mark, **{f"repave-{name}": value for name, value in more.items()}}
        return tags_body(marks)


# ---------------------------------------------------------------------------------------------- wanted


def wanted_state(structure: Structure, routes: tuple[Route, ...]) -> State:
    """What shall be there, without ARNs."""
    given = {route.application: route for route in routes}
    groups = {each.group: _target_group(each) for each in structure.backends}
    listeners = {
        each.application: _listener(each, given.get(each.application), groups) for each in structure.frontends
    }
    return State(groups, listeners)


def _target_group(backend: Backend) -> TargetGroup:
    """A server that is not enabled ends what it has while it is deregistered."""
    return TargetGroup(
        backend.group,
        frozenset(Target(each.address, each.port) for each in backend.servers if each.is_enabled),
        hosts_text(backend.group, backend.servers, backend.probe.port),
        check_of(backend.probe),
        drain_of(backend.timeouts),
    )


def drain_of(timeouts: Timeouts) -> int:
    """A host that says nothing for so long is given up; one that leaves has as long to answer."""
    return min(DRAIN_SECONDS_MAX, math.ceil(timeouts.server_seconds))


def check_of(probe: Probe) -> Check:
    """AWS asks over HTTP only, without headers or a name of the host. What it can't ask, the agent asks
    alone, and AWS takes any answer that is no error of the server's."""
    is_asked = probe.kind == "http" and not probe.headers and not probe.host
    interval = min(300, max(5, math.ceil(probe.interval_seconds)))
    return Check(
        port=probe.port,
        path=probe.path if probe.kind == "http" else "/",
        expect=str(probe.expect_status) if is_asked else ANY_STATUS,
        interval=interval,
        timeout=min(120, interval - 1, max(2, math.ceil(probe.timeout_seconds))),
        healthy_after=min(10, max(2, probe.healthy_after)),
        unhealthy_after=min(10, max(2, probe.unhealthy_after)),
    )


def hosts_text(group: GroupName, servers: tuple[Server, ...], usual_port: int) -> tuple[str, ...]:
    """Texts of tags: `-3=10.0.0.7` is the host shop-v001-3 of shop-v001, at the usual port."""
    lines = [""]
    for server in servers:
        name = server.host.removeprefix(group) if server.host.startswith(f"{group}-") else server.host
        word = f"{name}={server.address}" + (f"/{server.port}" if server.port != usual_port else "")
        if len(lines[-1]) + len(word) < TAG_CHARACTERS_MAX:
            lines[-1] = f"{lines[-1]} {word}".lstrip()
        else:
            lines.append(word)
    return tuple(lines[:HOSTS_TAGS_MAX])


def _listener(frontend: Frontend, route: Route | None, groups: Collection[GroupName]) -> Listener:
    testers = None
    if route is not None and route.testers is not None:
        split = frontend.split
        testers = Testers(split.tester_by, split.tester_name, split.tester_value, route.testers)
    own = sorted(group for group in groups if application_of(group) == frontend.application)
    shares = shares_of(route) if route is not None else ()
    return Listener(frontend.application, frontend.port, shares, testers, tuple(own[-FORWARDED_MAX:]))


def shares_of(route: Route) -> tuple[tuple[GroupName, int], ...]:
    """500 of 10,000: 950 and 50. A group that shall have some is never left without."""
    if route.second is None:
        return ((route.first, 1),)
    second = round(route.second_bp * SHARES / FULL_WEIGHT_BP)
    if 0 < route.second_bp < FULL_WEIGHT_BP:
        second = min(max(second, 1), WEIGHT_MAX)
    return (
        (route.first, min(SHARES - second, WEIGHT_MAX)),
        (route.second, min(second, WEIGHT_MAX)),
    )


# ---------------------------------------------------------------------------------------------- the way


def next_call(
    present: State, wanted: State, place: Place, without: Collection[str], *, is_hurried: bool
) -> Call | None:
    """The call that comes next; None when all is as wanted, but for the parts that are left out. A group
    comes before what sends to it and goes after it; in a hurry nothing goes."""
    calls = _calls(present, wanted, place, is_hurried=is_hurried)
    chosen = next((call for call in calls if not call.part or call.part not in without), None)
    if chosen is None or chosen.refusal:
        return chosen
    return replace(chosen, refusal=_in_the_way(chosen, present.taken))


def _calls(present: State, wanted: State, place: Place, *, is_hurried: bool) -> Iterator[Call]:
    yield from present.strays
    for group, target_group in wanted.groups.items():
        yield from _group_calls(present.groups.get(group), target_group, place)
    for listener in wanted.listeners.values():
        yield from _listener_calls(present, listener, place)
    if is_hurried:
        return
    for application, listener in present.listeners.items():
        if application not in wanted.listeners:
            yield from _closing(listener)
    used = {group for listener in present.listeners.values() for group in listener.groups}
    for group, target_group in present.groups.items():
        if group not in wanted.groups and group not in used:
            yield Call("delete_target_group", {"TargetGroupArn": target_group.id}, group)


def _group_calls(present: TargetGroup | None, wanted: TargetGroup, place: Place) -> Iterator[Call]:
    group = wanted.group
    refusal = _impossible(wanted.check)

    def call(name: str, **body: Any) -> Call:
        return Call(name, body, group, group, refusal)

    if present is None:
        is_ipv6 = any(":" in text for text in wanted.hosts)
        yield call(
            "create_target_group",
            Name=target_group_name(place.load_balancer, group),
            Protocol="HTTP",
            Port=wanted.check.port,
            VpcId=place.vpc,
            TargetType="ip",
            **({"IpAddressType": "ipv6"} if is_ipv6 else {}),
            **wanted.check.body(),
            Tags=place.tags(group=group) + tags_body(_hosts_tags(wanted.hosts)),
        )
        return
    named = {"TargetGroupArn": present.id}
    if present.check != wanted.check:
        yield call("modify_target_group", **named, **wanted.check.body())
    if present.drain_seconds != wanted.drain_seconds:
        delay = {"Key": DRAIN_ATTRIBUTE, "Value": str(wanted.drain_seconds)}
        yield call("modify_target_group_attributes", **named, Attributes=[delay])
    there, tags = _hosts_tags(present.hosts), _hosts_tags(wanted.hosts)
    if changed := {key: text for key, text in tags.items() if there.get(key) != text}:
        yield call("add_tags", ResourceArns=[present.id], Tags=tags_body(changed))
    if surplus := [key for key in there if key not in tags]:
        yield call("remove_tags", ResourceArns=[present.id], TagKeys=surplus)
    if missing := wanted.targets - present.targets:
        yield call("register_targets", **named, Targets=_targets_body(missing))
    if extra := present.targets - wanted.targets:
        yield call("deregister_targets", **named, Targets=_targets_body(extra))


def _impossible(check: Check) -> str:
    if check.expect == ANY_STATUS or STATUS_MIN <= int(check.expect) <= STATUS_MAX:
        return ""
    return (
        f"an ALB takes answers of {STATUS_MIN} to {STATUS_MAX} as healthy, never {check.expect}: give "
        "health.http.expect_status one of these, or use a balancer with HAProxy"
    )


def _listener_calls(present: State, wanted: Listener, place: Place) -> Iterator[Call]:
    """Names only groups that are there: others were refused."""
    known = present.listeners.get(wanted.application)
    if known is None:
        yield _opening(present, wanted, place)
        return
    if known.port != wanted.port:  # what others see of it can't move
        yield from _closing(known)
    arns = {group: each.id for group, each in present.groups.items()}
    if known.shares != wanted.shares and all(group in arns for group, _ in wanted.shares):
        actions = [_forward(wanted.shares, arns)]
        yield (
            _of(wanted, "modify_rule", RuleArn=known.rule, Actions=actions)
            if known.rule
            else _of(wanted, "modify_listener", ListenerArn=known.id, DefaultActions=actions)
        )
    testers = wanted.testers if wanted.testers is not None and wanted.testers.group in arns else None
    if known.testers != testers:
        conditions = _conditions(testers) if testers is not None else []
        groups = [testers.group] if testers is not None else []
        yield _rule_call(known, wanted, TESTERS, groups, conditions, arns, place)
    idle = [group for group in wanted.idle if group in arns]
    if list(known.idle) != idle:
        conditions = [{"Field": "source-ip", "SourceIpConfig": {"Values": [NOT_A_CLIENT]}}]
        yield _rule_call(known, wanted, IDLE, idle, conditions, arns, place)


def _opening(present: State, wanted: Listener, place: Place) -> Call:
    tags = place.tags(application=wanted.application, part=TRAFFIC)
    if operators := present.operators.get(wanted.port):
        anything = [{"Field": "path-pattern", "PathPatternConfig": {"Values": ["*"]}}]
        return _of(
            wanted,
            "create_rule",
            ListenerArn=operators,
            Priority=PRIORITIES[TRAFFIC],
            Conditions=anything,
            Actions=[_forward((), {})],
            Tags=tags,
        )
    return _of(
        wanted,
        "create_listener",
        LoadBalancerArn=place.load_balancer,
        Protocol="HTTP",
        Port=wanted.port,
        DefaultActions=[_forward((), {})],
        Tags=tags,
    )


def _in_the_way(call: Call, taken: frozenset[Taken]) -> str:
    """What a stranger has that the call would make; "" when it is free. AWS's own answer is no sign of it:
    the library repeats a call whose answer was lost, and is then told of what it has made itself."""
    body = call.body
    if call.name == "create_listener" and ("port", "", body["Port"]) in taken:
        return taken_text(body["Port"])
    if call.name == "create_rule" and ("priority", body["ListenerArn"], body["Priority"]) in taken:
        return f"priority {body['Priority']} is that of a rule which is not repave's: give that one another"
    if call.name == "create_target_group" and ("name", body["Name"], 0) in taken:
        return f"there is a target group {body['Name']} which is not repave's: delete that one"
    return ""


def taken_text(port: int) -> str:
    return (
        f"port {port} of the load balancer is that of a listener which is not repave's: name that one in "
        "aws_alb.listeners, or give the application another traffic.port"
    )


def _rule_call(
    known: Listener,
    wanted: Listener,
    what: str,
    groups: list[GroupName],
    conditions: list[dict[str, Any]],
    arns: Mapping[GroupName, str],
    place: Place,
) -> Call:
    """Makes, changes or ends one of the listener's rules."""
    rule = known.rules.get(what, "")
    if not groups:
        return _of(wanted, "delete_rule", what, RuleArn=rule)
    action = _forward(tuple((group, 1) for group in groups), arns)
    given: dict[str, Any] = {"Conditions": conditions, "Actions": [action]}
    if rule:
        return _of(wanted, "modify_rule", what, RuleArn=rule, **given)
    tags = place.tags(application=wanted.application, part=what)
    return _of(
        wanted, "create_rule", what, ListenerArn=known.id, Priority=PRIORITIES[what], **given, Tags=tags
    )


def _closing(listener: Listener) -> Iterator[Call]:
    """The rules of a listener go with it."""
    if not listener.rule:
        yield _of(listener, "delete_listener", ListenerArn=listener.id, part="")
        return
    for what, rule in (*listener.rules.items(), (TRAFFIC, listener.rule)):
        yield _of(listener, "delete_rule", what, RuleArn=rule, part="")


def _of(listener: Listener, name: str, what: str = "", part: str | None = None, **body: Any) -> Call:
    of = f"{listener.application}/{what}" if what else str(listener.application)
    return Call(name, body, of, listener.application if part is None else part)


def _forward(shares: tuple[tuple[GroupName, int], ...], arns: Mapping[GroupName, str]) -> dict[str, Any]:
    if not shares:
        closed = {"StatusCode": "503", "ContentType": "text/plain", "MessageBody": "nothing serves this yet"}
        return {"Type": "fixed-response", "FixedResponseConfig": closed}
    groups = [{"TargetGroupArn": arns[group], "Weight": weight} for group, weight in shares]
    config = {"TargetGroups": groups, "TargetGroupStickinessConfig": {"Enabled": False}}
    return {"Type": "forward", "ForwardConfig": config}


def _conditions(testers: Testers) -> list[dict[str, Any]]:
    """A cookie is looked for in the header that has all of them."""
    if testers.by == "cookie":
        pair = f"{testers.name}={testers.value}"
        return [_header("Cookie", [pair, f"{pair};*", f"*; {pair}", f"*; {pair};*"])]
    return [_header(testers.name, [testers.value])]


def _header(name: str, values: list[str]) -> dict[str, Any]:
    return {"Field": "http-header", "HttpHeaderConfig": {"HttpHeaderName": name, "Values": values}}


def target_group_name(load_balancer: str, group: GroupName) -> str:
    """Unique in the account, and readable: rp-5f3a90-shop-v012."""
    digest = hashlib.sha256(f"{load_balancer}/{group}".encode()).hexdigest()[:8]
    begin = f"rp-{digest}-"
    return begin + group.replace(".", "-")[-(NAME_CHARACTERS_MAX - len(begin)) :].strip("-")


def tags_body(tags: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def _hosts_tags(hosts: tuple[str, ...]) -> dict[str, str]:
    return {f"{HOSTS}{number}": text for number, text in enumerate(hosts)}


def _targets_body(targets: Collection[Target]) -> list[dict[str, Any]]:
    return [each.body() for each in sorted(targets, key=lambda target: (target.address, target.port))]
