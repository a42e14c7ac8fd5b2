"""Which rows of the store, and which packages, are no longer kept. Whatever the rules say, nothing goes that
a rollback, a release that waits or a client's retry still needs.

Of most kinds the oldest go first; only specs and packages that are needed stay while younger ones go.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from repave_controller.core.domain.application import Application
from repave_controller.core.domain.instants import Instant
from repave_protos.protocol.values import NO_PACKAGE, ApplicationName, Digest

DAY_SECONDS = 86_400.0
EVENTS_LEAST = 1000
"""The newest: the clock and the numbers of events go on from them."""
HISTORY_LEAST = 10
"""The newest rollouts and specs of each application."""
AUDIT_LEAST = 1000
YOUNG_SECONDS = DAY_SECONDS
"""A younger receipt or package stays, however many there are: clients repeat requests, and releases follow
pushes."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A row goes when it is older than `days`, or when `count` newer ones are there. 0: no such bound."""

    days: float = 0.0
    count: int = 0

    def keeps(self, age_seconds: float, newer: int) -> bool:
        is_old = self.days > 0 and age_seconds > self.days * DAY_SECONDS
        return not is_old and not (self.count > 0 and newer >= self.count)


@dataclass(frozen=True, slots=True)
class Rules:
    """Of a controller. `history`: rollouts and specs, `analyses`: what was found at rollouts;
    both are counted by rollouts of each application."""

    events: Rule = Rule()
    receipts: Rule = Rule()
    history: Rule = Rule()
    packages: Rule = Rule()
    audit: Rule = Rule()
    analyses: Rule = Rule()


@dataclass(frozen=True, slots=True)
class Needed:
    """What stays whatever the rules say, of all applications."""

    packages: frozenset[Digest] = frozenset()
    specs: frozenset[tuple[str, str]] = frozenset()  # (application, group)
    receipts: frozenset[str] = frozenset()  # keys
    rollouts: Mapping[str, int] = field(default_factory=dict)  # application: its newest one
    groups: Mapping[str, int] = field(default_factory=dict)  # application: the number of its newest group


def needed_by(applications: Iterable[Application]) -> Needed:
    """Groups that are anywhere, that `rollback --to` may build again, that wait, that regions were told."""
    packages, specs, receipts = set[Digest](), set[tuple[str, str]](), set[str]()
    rollouts, groups = dict[str, int](), dict[str, int]()
    for each in applications:
        for group in (*each.groups, *each.past):
            packages.add(group.digest)
            specs.add((each.name, group.name))
        for _, state in each.desired:
            packages.update(group.digest for group in state.groups)
        for order in each.queue:
            packages.add(order.digest)
            receipts.add(receipt_key(each.name, "release", order.key))
        rollouts[each.name], groups[each.name] = each.rollouts_total, each.next_number - 1
    return Needed(frozenset(packages - {NO_PACKAGE}), frozenset(specs), frozenset(receipts), rollouts, groups)


def receipt_key(application: ApplicationName, kind: str, key: str) -> str:
    """What the receipt of a command is found by."""
    return f"{application}/{kind}/{key}"


def keeps_event(rules: Rules, at: Instant, newer: int, now: Instant) -> bool:
    return newer < EVENTS_LEAST or rules.events.keeps(now - at, newer)


def keeps_audit(rules: Rules, at: Instant, newer: int, now: Instant) -> bool:
    return newer < AUDIT_LEAST or rules.audit.keeps(now - at, newer)


def keeps_receipt(rules: Rules, needed: Needed, key: str, at: Instant, newer: int, now: Instant) -> bool:
    age = now - at
    return age < YOUNG_SECONDS or key in needed.receipts or rules.receipts.keeps(age, newer)


def keeps_rollout(
    rules: Rules, needed: Needed, application: str, number: int, at: Instant, now: Instant
) -> bool:
    """One of an application that is not known stays."""
    newer = needed.rollouts.get(application, 0) - number
    return newer < HISTORY_LEAST or rules.history.keeps(now - at, newer)


def keeps_analyses(
    rules: Rules, needed: Needed, application: str, number: int, at: Instant, now: Instant
) -> bool:
    """Of a rollout; those of an application's newest one stay, and of one that is not known."""
    newer = needed.rollouts.get(application, 0) - number
    return newer < 1 or rules.analyses.keeps(now - at, newer)


def keeps_spec(
    rules: Rules, needed: Needed, application: str, group: str, number: int, at: Instant, now: Instant
) -> bool:
    """`number` is that of the group."""
    newer = needed.groups.get(application, 0) - number
    is_needed = (application, group) in needed.specs
    return is_needed or newer < HISTORY_LEAST or rules.history.keeps(now - at, newer)


def keeps_package(
    rules: Rules, needed: Needed, digest: Digest, at: Instant, newer: int, now: Instant
) -> bool:
    """`at`: when it was pushed, or pushed again, last."""
    age = now - at
    return age < YOUNG_SECONDS or digest in needed.packages or rules.packages.keeps(age, newer)
