"""An Application Load Balancer: how it is found, read and changed.

Which call comes next is model.py's; what the answers mean, reading.py's.
"""

import asyncio
from collections.abc import Collection
from typing import Any

from repave_agent.balancers.aws_alb.model import (
    DRAIN_ATTRIBUTE,
    OWNER,
    Call,
    Place,
    State,
    next_call,
    tags_body,
    taken_text,
    wanted_state,
)
from repave_agent.balancers.aws_alb.reading import Lists, routes_in, state_of, structure_in, targets_in
from repave_agent.balancers.cloud.load_balancer import StaleError
from repave_agent.clients.aws.service import AwsService
from repave_agent.clients.faults import GoneError
from repave_agent.core.ports import (
    BackendView,
    BalancerError,
    Clock,
    Frontend,
    RefusedError,
    Route,
    Structure,
)
from repave_protos.protocol.values import GroupName

TAGS_AT_ONCE = 20
"""Things whose tags one call tells."""
PREFIX = "rp-"
SEEN_LATER = ("DuplicateListener", "DuplicateTargetGroupName", "PriorityInUse", "ResourceInUse")
"""What AWS says of things that it has just made or let go, and of what was asked for twice: the next look
tells what is there."""
MARK_NAME_MAX, MARK_VALUE_MAX = 40, 80
"""Of testers. A header's name has 40 at most, and a value 128 with what cookies need around it."""


class AlbLoadBalancer:
    """Implements LoadBalancer. `named`: a name or an ARN. `operators`: ARNs of listeners in which rules may
    be made."""

    kind, vendor = "aws_alb", "AWS"
    sees_idle = True

    def __init__(
        self, elbv2: AwsService, named: str, region: str, operators: tuple[str, ...] = (), *, clock: Clock
    ) -> None:
        self._elbv2, self.named, self._region, self._operators = elbv2, named, region, operators
        self._clock = clock
        self._found: dict[str, Any] = {}
        self._left: dict[GroupName, float] = {}  # since when they have no traffic
        self.address = ""

    # ---------------------------------------------------------------------------------------- which, whose

    async def find(self) -> None:
        if self._found:
            return
        if not self.named:
            raise BalancerError("aws_alb.load_balancer is not set: name a load balancer by its name or ARN")
        by = "LoadBalancerArns" if self.named.startswith("arn:") else "Names"
        try:
            answer = await self._elbv2.call("describe_load_balancers", **{by: [self.named]})
        except GoneError as gone:
            there = await self._elbv2.list_all("describe_load_balancers", "LoadBalancers")
            names = ", ".join(sorted(each["LoadBalancerName"] for each in there)) or "none"
            raise BalancerError(
                f"aws_alb.load_balancer: {self.named}: there is none; the account has: {names}"
            ) from gone
        (found,) = answer["LoadBalancers"]
        if found["Type"] != "application":
            raise BalancerError(
                f"aws_alb.load_balancer: {self.named} is of type {found['Type']}, which knows no weights: "
                "make one of type application"
            )
        self._found, self.address = found, found["DNSName"]

    @property
    def _there(self) -> dict[str, Any]:
        """As it was found. Raises StaleError where it was deleted meanwhile."""
        if not self._found:
            raise StaleError(f"the load balancer {self.named} was deleted: it is looked for again")
        return self._found

    @property
    def _arn(self) -> str:
        return str(self._there["LoadBalancerArn"])

    @property
    def _place(self) -> Place:
        return Place(self._arn, self._there["VpcId"], f"{self._region}/{self._there['LoadBalancerName']}")

    async def owners(self) -> list[str]:
        tags = (await self._tags([self._arn]))[self._arn]
        return [tags[OWNER]] if OWNER in tags else []

    async def own(self, owner: str) -> None:
        await self._elbv2.call("add_tags", ResourceArns=[self._arn], Tags=tags_body({OWNER: owner}))

    async def disown(self) -> None:
        await self._elbv2.call("remove_tags", ResourceArns=[self._arn], TagKeys=[OWNER])

    def how_to_disown(self, owner: str) -> str:
        return f"aws elbv2 remove-tags --resource-arns {self._arn} --tag-keys {OWNER}"

    async def _tags(self, arns: list[str]) -> dict[str, dict[str, str]]:
        """By ARN. One that is gone meanwhile counts as nothing there."""
        parts = [arns[begin : begin + TAGS_AT_ONCE] for begin in range(0, len(arns), TAGS_AT_ONCE)]
        try:
            told = await asyncio.gather(
                *(self._elbv2.call("describe_tags", ResourceArns=part) for part in parts)
            )
        except GoneError as gone:
            self._forget()
            raise BalancerError(f"the load balancer {self.named} changed while it was read: {gone}") from gone
        return {
            each["ResourceArn"]: {tag["Key"]: tag["Value"] for tag in each["Tags"]}
            for answer in told
            for each in answer["TagDescriptions"]
        }

    def _forget(self) -> None:
        """One that was deleted is looked for by its name at the next call."""
        self._found = {}

    # ------------------------------------------------------------------------------------------- looking

    async def read(self) -> State:
        (listeners, rules), groups = await asyncio.gather(self._doors(), self._groups())
        things = [each["TargetGroupArn"] for each in groups]
        things += [each["ListenerArn"] for each in listeners]
        things += [rule["RuleArn"] for each in rules.values() for rule in each if not rule["IsDefault"]]
        tags, mark = await self._tags(things), self._place.mark
        ours = {arn: each for arn, each in tags.items() if each.get(OWNER) == mark}
        names = {each["TargetGroupName"] for each in groups if each["TargetGroupArn"] not in ours}
        groups = [each for each in groups if each["TargetGroupArn"] in ours]
        arns = [each["TargetGroupArn"] for each in groups]
        health, drains = await asyncio.gather(
            self._of_each(arns, self._health), self._of_each(arns, self._drain)
        )
        return state_of(
            Lists(listeners, rules, groups, health, drains, ours, self._operators, frozenset(names))
        )

    async def _doors(self) -> tuple[list[dict[str, Any]], dict[str, list[dict[str, Any]]]]:
        """Listeners, and the rules of each."""
        try:
            listeners = await self._elbv2.list_all(
                "describe_listeners", "Listeners", LoadBalancerArn=self._arn
            )
            arns = [each["ListenerArn"] for each in listeners]
            return listeners, await self._of_each(arns, self._rules)
        except GoneError as gone:
            self._forget()
            raise BalancerError(f"the load balancer {self.named} was deleted: {gone}") from gone

    async def _rules(self, listener: str) -> list[dict[str, Any]]:
        return await self._elbv2.list_all("describe_rules", "Rules", ListenerArn=listener)

    async def _groups(self) -> list[dict[str, Any]]:
        """Those that may be ours: one that no rule names is not listed with the load balancer."""
        there = await self._elbv2.list_all("describe_target_groups", "TargetGroups")
        return [each for each in there if each["TargetGroupName"].startswith(PREFIX)]

    async def _health(self, group: str) -> list[dict[str, Any]]:
        answer = await self._elbv2.call("describe_target_health", TargetGroupArn=group)
        return list(answer["TargetHealthDescriptions"])

    async def _drain(self, group: str) -> int:
        answer = await self._elbv2.call("describe_target_group_attributes", TargetGroupArn=group)
        values = {each["Key"]: each["Value"] for each in answer["Attributes"]}
        return int(values.get(DRAIN_ATTRIBUTE, 0))

    async def _of_each(self, arns: list[str], ask: Any) -> dict[str, Any]:
        return dict(zip(arns, await asyncio.gather(*map(ask, arns)), strict=True))

    async def is_current(self, state: State, *, settles: bool) -> bool:
        """By listeners and rules. Target groups change only through this agent, or are read again soon."""
        return bool(await self._doors() == state.raw)

    def is_empty(self, state: State) -> bool:
        return not state.listeners and not state.groups

    def structure_in(self, state: State, known: Structure) -> Structure:
        return structure_in(state, known)

    def routes_in(self, state: State, structure: Structure, known: tuple[Route, ...]) -> tuple[Route, ...]:
        return routes_in(state, known)

    async def backends(
        self, state: State, structure: Structure, leaving: Collection[GroupName]
    ) -> tuple[BackendView, ...]:
        """AWS tells no connections of a target group: one that leaves counts as having one for as long as its
        hosts may take to answer."""
        groups = [each.group for each in structure.backends]
        ups = await asyncio.gather(*(self._up(state, group) for group in groups))
        now = self._clock.monotonic()
        self._left = {group: self._left.get(group, now) for group in leaving}
        return tuple(
            BackendView(group, up, int(self._may_be_busy(state, group, now)), is_exact=False)
            for group, up in zip(groups, ups, strict=True)
        )

    async def _up(self, state: State, group: GroupName) -> int:
        found = state.groups[group]
        try:
            health = await self._health(found.id)
        except GoneError:
            return 0
        return len(found.targets & frozenset(targets_in(health, "healthy")))

    def _may_be_busy(self, state: State, group: GroupName, now: float) -> bool:
        return group in self._left and now < self._left[group] + state.groups[group].drain_seconds

    def misfit(self, frontend: Frontend) -> str:
        split = frontend.split
        if split.by != "request":
            return (
                f"{frontend.application}: an ALB can't split by {split.by}: leave out traffic.split, or use a"
                " balancer with HAProxy"
            )
        is_long = len(split.tester_name) > MARK_NAME_MAX or len(split.tester_value) > MARK_VALUE_MAX
        if split.tester_by and is_long:
            return (
                f"{frontend.application}: an ALB compares at most {MARK_NAME_MAX} characters of a mark's name"
                f" and {MARK_VALUE_MAX} of its value: give testers a shorter one"
            )
        return ""

    async def taken(self, frontend: Frontend) -> str:
        listeners = await self._elbv2.list_all("describe_listeners", "Listeners", LoadBalancerArn=self._arn)
        there = [each["ListenerArn"] for each in listeners if each["Port"] == frontend.port]
        tags = await self._tags(there) if there else {}
        is_stranger = any(
            arn not in self._operators and tags[arn].get(OWNER) != self._place.mark for arn in there
        )
        return f"{frontend.application}: {taken_text(frontend.port)}" if is_stranger else ""

    async def troubles(self) -> list[str]:
        await self.find()
        try:
            answer = await self._elbv2.call("describe_load_balancers", LoadBalancerArns=[self._arn])
        except GoneError:
            self._forget()
            return [f"AWS: the load balancer {self.named} was deleted"]
        (found,) = answer["LoadBalancers"]
        state = found.get("State") or {}
        if state.get("Code") in ("failed", "active_impaired"):
            return [f"AWS: {self.named} is {state['Code']}: {state.get('Reason', 'no reason was given')}"]
        return []

    # ------------------------------------------------------------------------------------------ changing

    def wanted(self, structure: Structure, routes: tuple[Route, ...]) -> State:
        return wanted_state(structure, routes)

    def next_call(
        self, present: State, wanted: State, without: Collection[str], *, is_hurried: bool
    ) -> Call | None:
        return next_call(present, wanted, self._place, without, is_hurried=is_hurried)

    def after(self, present: State, wanted: State, call: Call) -> State | None:
        """All is read back after each change."""
        return None

    async def perform(self, call: Call) -> None:
        if call.refusal:
            raise RefusedError(call.refusal)
        try:
            await self._elbv2.call(call.name, **call.body)
        except RefusedError as error:
            if any(f": {code}: " in str(error) for code in SEEN_LATER):
                raise StaleError(str(error)) from error
            raise

    async def settle(self) -> None:
        """AWS does one call after the other."""

    async def close(self) -> None:
        await self._elbv2.close()
