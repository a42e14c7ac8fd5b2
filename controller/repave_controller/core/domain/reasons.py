"""Why a command is refused, a rollout waits, a rule stands against a move or a step failed: as values.

A `Reason` has a kind, the facts that its text needs, and the commands that would help. No sentence is made
here: the room `wording` has one text for each kind, and is the only place that spells a command.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Union


class Refusal(StrEnum):
    """Why a command changed nothing. Before the `/` stands the rule; the rest tells its cases apart."""

    AMBIGUOUS_HOST = "ambiguous-host"
    FIRST_STEP = "first-step"
    FREEZE_OVER = "freeze-over"
    FRONTEND_PORT_CHANGED = "frontend-port-changed"
    HELD = "held"
    HOSTS_GONE = "hosts-gone"
    KEY_REUSED = "key-reused"
    NO_GATE = "no-gate"
    NO_GATE_BUT_TIME = "no-gate/time"
    NOT_HELD = "not-held"
    NOT_PAUSED = "not-paused"
    NOT_PAUSED_BUT_GATED = "not-paused/gated"
    NOTHING_RUNNING = "nothing-running"
    NOTHING_TO_ABORT = "nothing-to-abort"
    NOTHING_TO_RENEW = "nothing-to-renew"
    NO_OLDER_GROUP = "nothing-to-roll-back-to"
    NO_OLDER_GROUP_OF_NAME = "nothing-to-roll-back-to/name"
    FIRST_RELEASE_SERVES = "nothing-to-roll-back-to/first-release"
    NO_STEP_BACK = "nothing-to-roll-back-to/step"
    NO_WAY_BACK_IN_REGION = "nothing-to-roll-back-to/region"
    PAUSED = "paused"
    PLAN_CHANGED = "plan-changed"
    PORT_TAKEN = "port-taken"
    PROMISE = "promise"
    QUEUE_FULL = "queue-full"
    REASON_MISSING = "reason-missing"
    RECOVERY_CHANGED = "recovery-changed"
    REGION_AHEAD = "region-ahead"
    REGION_DROPPED = "region-dropped"
    REGION_UNREACHABLE = "region-unreachable"
    REGIONS_DISAGREE = "regions-disagree"
    REGIONS_DISAGREE_ON_GROUP = "regions-disagree/group"
    REGIONS_DISAGREE_ON_PORT = "regions-disagree/port"
    RETIRING_GROUP = "retiring-group"
    ROLE_MISSING = "role-missing"
    ROLLOUT_RUNNING = "rollout-running"
    ROLLOUT_RUNNING_AT_ROLLBACK = "rollout-running/rollback"
    ROLLOUT_RUNNING_AT_RENEWAL = "rollout-running/renewal"
    TOO_MANY_FREEZES = "too-many-freezes"
    TOO_MANY_TAINTED = "too-many-tainted"
    UNDOING = "undoing"
    UNHEALTHY_TARGET = "unhealthy-target"
    UNKNOWN_APPLICATION = "unknown-application"
    UNKNOWN_APPLICATION_AHEAD = "unknown-application/ahead"
    UNKNOWN_FREEZE = "unknown-freeze"
    UNKNOWN_GROUP = "unknown-group"
    UNKNOWN_GROUP_SERVING = "unknown-group/serving"
    UNKNOWN_HOST = "unknown-host"
    UNKNOWN_HOST_GROUP = "unknown-host/group"
    UNKNOWN_HOST_REGION = "unknown-host/region"
    UNKNOWN_HOST_ENDING = "unknown-host/ending"
    UNKNOWN_IMAGE = "unknown-image"
    UNKNOWN_REGION = "unknown-region"
    UNKNOWN_REGION_OF_ROLLOUT = "unknown-region/rollout"
    UNKNOWN_REGION_OF_SERVICE = "unknown-region/serves"

    @property
    def rule(self) -> str:
        """What programs tell refusals apart by."""
        return self.partition("/")[0]


Kind = Refusal


@dataclass(frozen=True, slots=True)
class Remedy:
    """A command of the CLI that would help. `options` by their names; True: a flag without a value."""

    command: str
    arguments: tuple[str, ...] = ()
    options: tuple[tuple[str, str | bool], ...] = ()


def cli(command: str, *arguments: str, **options: str | bool) -> Remedy:
    """`cli("promote", "web", role="ops")`; options that are empty or False are left out."""
    given = tuple((name, value) for name, value in options.items() if value)
    return Remedy(command, arguments, given)


Fact = Union[str, int, float, None, tuple[str, ...], "Reason"]
Facts = tuple[tuple[str, Fact], ...]


@dataclass(frozen=True, slots=True)
class Reason:
    """One reason; `reason_of` makes it. Facts have the names that the text of their kind uses."""

    kind: Kind
    facts: Facts = ()
    remedies: tuple[Remedy, ...] = ()


def reason_of(kind: Kind, *remedies: Remedy, **facts: Fact) -> Reason:
    return Reason(kind, tuple(facts.items()), remedies)


class Refused(Exception):
    """A command was refused and changed nothing."""

    def __init__(self, kind: Refusal, *remedies: Remedy, **facts: Fact) -> None:
        super().__init__(kind, facts)
        self.kind = kind
        self.reason = reason_of(kind, *remedies, **facts)

    @property
    def rule(self) -> str:
        return self.kind.rule
