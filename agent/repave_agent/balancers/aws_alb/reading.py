"""What AWS's lists say of one load balancer: as a model, and in the agent's own words. Pure."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from repave_agent.balancers.aws_alb.model import (
    ANY_STATUS,
    APPLICATION,
    GROUP,
    HOSTS,
    IDLE,
    PART,
    SHARES,
    TESTERS,
    TRAFFIC,
    Call,
    Check,
    Listener,
    State,
    Taken,
    Target,
    TargetGroup,
    Testers,
    check_of,
    drain_of,
    hosts_text,
    shares_of,
)
from repave_agent.balancers.cloud.reading import fronts_at, in_order
from repave_agent.core.ports import Backend, Frontend, Route, Server, Structure
from repave_protos.protocol.values import (
    BY_REQUEST,
    FULL_WEIGHT_BP,
    USUAL_TIMEOUTS,
    ApplicationName,
    GroupName,
    HostName,
    Probe,
    Split,
)

Json = dict[str, Any]
DRAINING = "draining"
"""The state of targets that were deregistered."""


@dataclass(frozen=True, slots=True)
class Lists:
    """As AWS gives them; `groups` only ours, and `names` of the others that are called so. By ARN: `rules` of
    listeners, `health` and `drains` (seconds) of target groups, and the `tags` of all that is ours."""

    listeners: list[Json]
    rules: Mapping[str, list[Json]]
    groups: list[Json]
    health: Mapping[str, list[Json]]
    drains: Mapping[str, int]
    tags: Mapping[str, Mapping[str, str]]
    operators: tuple[str, ...] = ()
    names: frozenset[str] = frozenset()


@dataclass(slots=True)
class _Found:
    """Of one application, while its rules are read."""

    listener: Json
    action: list[Json]
    rule: str = ""
    rules: dict[str, Json] = field(default_factory=dict)


def state_of(lists: Lists) -> State:
    ours = lists.tags
    groups = {each.group: each for each in (_target_group(found, lists) for found in lists.groups)}
    names = {each.id: group for group, each in groups.items()}
    found: dict[ApplicationName, _Found] = {}
    strays: list[Call] = []
    for listener in lists.listeners:
        arn = listener["ListenerArn"]
        if application := ours.get(arn, {}).get(APPLICATION):
            if application in found:
                strays.append(Call("delete_listener", {"ListenerArn": arn}, f"{application} once more"))
            else:
                found[ApplicationName(application)] = _Found(listener, listener["DefaultActions"])
    for listener in lists.listeners:
        for rule in lists.rules.get(listener["ListenerArn"], ()):
            tags = ours.get(rule["RuleArn"], {})
            if PART in tags:
                _note_rule(ApplicationName(tags[APPLICATION]), tags[PART], rule, listener, found)
    mine = {each.listener["ListenerArn"] for each in found.values() if not each.rule}
    others = [each for each in lists.listeners if each["ListenerArn"] not in mine]
    operators = {
        each["Port"]: each["ListenerArn"] for each in others if each["ListenerArn"] in lists.operators
    }
    return State(
        groups,
        {application: _listener(application, each, names) for application, each in found.items()},
        operators,
        frozenset(_taken(lists, [each for each in others if each["Port"] not in operators])),
        tuple(strays),
        (lists.listeners, lists.rules),
    )


def _taken(lists: Lists, others: list[Json]) -> Iterator[Taken]:
    for listener in others:
        yield "port", "", listener["Port"]
    for arn, rules in lists.rules.items():
        for rule in rules:
            if rule["RuleArn"] not in lists.tags and rule["Priority"].isdigit():
                yield "priority", arn, int(rule["Priority"])
    for name in lists.names:
        yield "name", name, 0


def _note_rule(
    application: ApplicationName,
    part: str,
    rule: Json,
    listener: Json,
    found: dict[ApplicationName, _Found],
) -> None:
    if part == TRAFFIC:
        known = found.setdefault(application, _Found(listener, rule["Actions"], rule["RuleArn"]))
        known.listener, known.action, known.rule = listener, rule["Actions"], rule["RuleArn"]
        return
    found.setdefault(application, _Found(listener, [])).rules[part] = rule


def _listener(application: ApplicationName, found: _Found, names: Mapping[str, GroupName]) -> Listener:
    testers, idle = found.rules.get(TESTERS), found.rules.get(IDLE)
    return Listener(
        application,
        found.listener["Port"],
        _shares(found.action, names),
        _testers(testers, names) if testers is not None else None,
        tuple(group for group, _ in _shares(idle["Actions"], names)) if idle is not None else (),
        found.listener["ListenerArn"],
        found.rule,
        {part: rule["RuleArn"] for part, rule in found.rules.items()},
    )


def _shares(actions: list[Json], names: Mapping[str, GroupName]) -> tuple[tuple[GroupName, int], ...]:
    """A group that is not ours counts as one without a name, so it is not taken for what was wanted."""
    shares = []
    for action in actions:
        listed = (action.get("ForwardConfig") or {}).get("TargetGroups") or []
        if not listed and action.get("TargetGroupArn"):
            listed = [{"TargetGroupArn": action["TargetGroupArn"]}]
        for each in listed:
            shares.append((names.get(each["TargetGroupArn"], GroupName("")), int(each.get("Weight", 1))))
    return tuple(shares)


def _testers(rule: Json, names: Mapping[str, GroupName]) -> Testers | None:
    ((group, _),) = _shares(rule["Actions"], names) or ((GroupName(""), 0),)
    config = rule["Conditions"][0].get("HttpHeaderConfig") or {}
    name, values = str(config.get("HttpHeaderName", "")), config.get("Values") or [""]
    value = str(values[0])
    if name.lower() == "cookie" and len(values) > 1:
        cookie, _, value = value.partition("=")
        return Testers("cookie", cookie, value, group)
    return Testers("header", name, value, group)


def _target_group(found: Json, lists: Lists) -> TargetGroup:
    arn = found["TargetGroupArn"]
    tags = lists.tags[arn]
    numbered = sorted(
        (int(key.removeprefix(HOSTS)), text) for key, text in tags.items() if key.startswith(HOSTS)
    )
    check = Check(
        int(found["HealthCheckPort"]) if found["HealthCheckPort"].isdigit() else int(found["Port"]),
        found.get("HealthCheckPath", ""),
        (found.get("Matcher") or {}).get("HttpCode", ""),
        found["HealthCheckIntervalSeconds"],
        found["HealthCheckTimeoutSeconds"],
        found["HealthyThresholdCount"],
        found["UnhealthyThresholdCount"],
    )
    return TargetGroup(
        GroupName(tags[GROUP]),
        frozenset(targets_in(lists.health.get(arn, ()))),
        tuple(text for _, text in numbered),
        check,
        lists.drains.get(arn, 0),
        arn,
    )


def targets_in(health: Iterable[Json], *states: str) -> Iterable[Target]:
    """Those that are registered; with `states`, those in one of these."""
    for each in health:
        state = each["TargetHealth"]["State"]
        if state in states if states else state != DRAINING:
            yield Target(each["Target"]["Id"], int(each["Target"]["Port"]))


# ------------------------------------------------------------------------------------------ our own words


def structure_in(state: State, known: Structure) -> Structure:
    """As it is there. What AWS can't hold (order, how requests are told apart, the whole probe) is as `known`
    where that is what was made there."""
    frontends = [
        Frontend(
            name,
            listener.port,
            *_of_clients(listener, known.frontend(name)),
            fronts_at(listener.port, "http", known.frontend(name)),
        )
        for name, listener in in_order(state.listeners, [each.application for each in known.frontends])
    ]
    backends = [
        _backend(each, known.backend(group))
        for group, each in in_order(state.groups, [each.group for each in known.backends])
    ]
    return Structure(tuple(frontends), tuple(backends))


def _of_clients(listener: Listener, known: Frontend | None) -> tuple[Split, float]:
    if known is not None:
        return known.split, known.client_seconds
    testers = listener.testers
    if testers is None:
        return BY_REQUEST, USUAL_TIMEOUTS.client_seconds
    by: Any = testers.by
    split = Split(tester_by=by, tester_name=testers.name, tester_value=testers.value)
    return split, USUAL_TIMEOUTS.client_seconds


def _backend(found: TargetGroup, known: Backend | None) -> Backend:
    timeouts = known.timeouts if known is not None else USUAL_TIMEOUTS
    if drain_of(timeouts) != found.drain_seconds and found.drain_seconds > 0:
        timeouts = replace(timeouts, server_seconds=float(found.drain_seconds))
    probe = _probe(found.check)
    if known is not None and check_of(known.probe) == found.check:
        probe = known.probe
    fronts = known.fronts if known is not None else ()
    return Backend(found.group, _servers(found, known), probe, timeouts, fronts)


def _servers(found: TargetGroup, known: Backend | None) -> tuple[Server, ...]:
    """Those that are named, in order, then targets of which only the address is known."""
    if known is not None and hosts_text(found.group, known.servers, known.probe.port) == found.hosts:
        there = {each: Target(each.address, each.port) for each in known.servers}
        if found.targets <= set(there.values()):  # tags hold only so many
            return tuple(replace(each, is_enabled=at in found.targets) for each, at in there.items())
    servers = []
    for word in " ".join(found.hosts).split():
        name, _, place = word.partition("=")
        address, _, port = place.partition("/")
        target = Target(address, int(port or found.check.port))
        host = HostName(f"{found.group}{name}" if name.startswith("-") else name)
        servers.append(Server(host, target.address, target.port, target in found.targets))
    named = {Target(each.address, each.port) for each in servers}
    unnamed = sorted(found.targets - named, key=lambda each: (each.address, each.port))
    servers += [Server(HostName(each.address), each.address, each.port) for each in unnamed]
    return tuple(servers)


def _probe(check: Check) -> Probe:
    times = (check.interval, check.timeout, check.healthy_after, check.unhealthy_after)
    if check.expect == ANY_STATUS:
        return Probe("tcp", check.port, "/", 200, (), *times)
    expect = int(check.expect[:3]) if check.expect[:3].isdigit() else 200
    return Probe("http", check.port, check.path, expect, (), *times)


def routes_in(state: State, known: Iterable[Route]) -> tuple[Route, ...]:
    """As they are given there; one that has the weights that were asked for is exactly what was asked for."""
    asked = {route.application: route for route in known}
    found = []
    for name, listener in state.listeners.items():
        route, testers = asked.get(name), listener.testers
        if route is None or shares_of(route) != listener.shares:
            route = _route(name, listener.shares)
        if route is not None:
            found.append(replace(route, testers=testers.group if testers is not None else None))
    return tuple(found)


def _route(application: ApplicationName, shares: tuple[tuple[GroupName, int], ...]) -> Route | None:
    """None when no group has any weight."""
    given = [(group, weight) for group, weight in shares if weight]
    if len(given) < 2:
        return Route(application, given[0][0]) if given else None
    (first, weight), (second, more), *_ = given
    second_bp = round(more * SHARES / (weight + more)) * FULL_WEIGHT_BP // SHARES
    return Route(application, first, second, second_bp)
