"""Why a command is refused, a rollout waits, a rule stands against a move or a step failed: as values.

A `Reason` has a kind, the facts that its text needs, and the commands that would help. No sentence is made
here: the room `wording` has one text for each kind, and is the only place that spells a command.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Union


class Kind(StrEnum):
    """What a reason is. Before the `/` stands what programs go by; the rest tells cases with a text of their
    own apart."""

    @property
    def root(self) -> str:
        return self.partition("/")[0]


class Refusal(Kind):
    """Why a command changed nothing; the root is the rule."""

    ALL_PASSED = "no-gate/all-passed"
    AGENTS_DO_NOT_VERIFY = "agents-do-not-verify"
    AGENTS_DO_NOT_VERIFY_BUNDLES = "agents-do-not-verify/bundles"
    ADOPTED_OTHERWISE = "adopted-otherwise"
    ADOPTED_HOST = "adopted"
    ADOPTED_GROUP = "adopted/group"
    ADOPTED_GONE = "adopted/gone"
    AGENTS_DO_NOT_ADOPT = "agents-do-not-adopt"
    AGENTS_NOT_ENROLLED = "agents-not-enrolled"
    AMBIGUOUS_QUEUED = "ambiguous-queued"
    ALREADY_BACK = "already-back"
    AMBIGUOUS_HOST = "ambiguous-host"
    ARTIFACT_BUCKET_UNKNOWN = "artifact-bucket"
    ARTIFACT_CHANGED = "artifact-changed"
    ARTIFACT_CREDENTIAL = "artifact-credential"
    ARTIFACT_DENIED = "artifact-denied"
    ARTIFACT_NOT_FOUND = "artifact-not-found"
    ARTIFACT_OTHER = "artifact-changed/digest"
    ARTIFACT_PRIVATE = "artifact-private"
    ARTIFACT_REDIRECT = "artifact-redirect"
    ARTIFACT_TLS = "artifact-tls"
    ARTIFACT_TOO_LARGE = "artifact-too-large"
    ARTIFACT_TOO_SLOW = "artifact-too-slow"
    ARTIFACT_UNREACHABLE = "artifact-unreachable"
    AUTHORITY_IS_OPERATORS = "authority-is-operators"
    AUTHORITY_OF_SEVERAL = "authority-of-several"
    FIRST_STEP = "first-step"
    GROUP_IN_ROLLOUT = "group-in-rollout"
    GROUP_SERVES = "group-serves"
    BEING_DELETED = "being-deleted"
    GROUP_FAILED = "group-failed"
    GROUP_FAILED_AT_TAINT = "group-failed/taint"
    IN_DNS = "in-dns"
    IN_DNS_UNTIL = "in-dns/remembered"
    LAST_IN_DNS = "last-in-dns"
    LAST_REGION = "last-region"
    REGION_CONNECTED = "region-connected"
    FLEET_HOST_TWICE = "fleet/host-twice"
    FLEET_NAMED_TWICE = "fleet/region-twice"
    FLEET_NOT_FOUND = "fleet"
    FLEET_OF_OTHER_REGION = "fleet/region"
    FLEET_SILENT = "fleet/silent"
    FLEET_WITH_COMMAND = "fleet/command"
    FLEET_OF_WORKERS = "fleet/workers"
    FREEZE_OVER = "freeze-over"
    FRONTEND_PORT_CHANGED = "frontend-port-changed"
    FRONT_TURNED = "front-turned"
    WORKER_TO_SERVE = "worker-turned/to-serve"
    SERVED_TO_WORK = "worker-turned/to-work"
    LEFT_OTHERWISE = "left-otherwise"
    GATE_LEFT = "gate-left"
    HAS_RELEASES = "has-releases"
    HELD = "held"
    HOST_ADOPTED_ALREADY = "host-adopted"
    HOSTS_GONE = "hosts-gone"
    JOIN_TOKEN_UNKNOWN = "join-token"  # noqa: S105  # a name
    JOIN_TOKEN_USED = "join-token/used"  # noqa: S105  # a name
    JOIN_TOKEN_EXPIRED = "join-token/expired"  # noqa: S105  # a name
    KEY_REUSED = "key-reused"
    OTHER_CONTROLLERS = "other-controllers"
    LAST_ADMIN = "last-admin"
    MOVED = "moved"
    NO_OBJECTION = "no-objection"
    NO_GATE = "no-gate"
    NO_GATE_BUT_TIME = "no-gate/time"
    NOT_HELD = "not-held"
    JOB_NOT_OPEN = "job-not-open"
    JOB_MAY_RUN = "job-not-open/runs"
    JOB_UNFIT = "job-not-open/outcome"
    UNKNOWN_JOB = "unknown-job"
    NO_JOBS = "no-jobs"
    NOT_PAUSED = "not-paused"
    NOT_PAUSED_BUT_GATED = "not-paused/gated"
    NOTHING_RUNNING = "nothing-running"
    NOTHING_TO_ABORT = "nothing-to-abort"
    NOTHING_TO_REPLACE = "nothing-to-roll-back-to/replace"
    ROLLBACK_RUNNING = "rollout-running/replace"
    NOTHING_TO_RENEW = "nothing-to-renew"
    NO_RECORD = "no-record"
    NO_ROOM = "no-room"
    MISFIT = "no-such-host"
    STEPS_DONT_FIT = "steps"
    TOO_MANY_HOSTS = "size"
    SIZE_OUT_OF_BOUNDS = "size/bounds"
    NO_OLDER_GROUP = "nothing-to-roll-back-to"
    NO_OLDER_GROUP_OF_NAME = "unknown-group/older"
    NO_OLDER_GROUP_IN_REGION = "nothing-to-roll-back-to/history"
    FIRST_RELEASE_SERVES = "nothing-to-roll-back-to/first-release"
    NO_STEP_BACK = "nothing-to-roll-back-to/step"
    NO_WAY_BACK_IN_REGION = "nothing-to-roll-back-to/region"
    OVERRIDDEN = "overridden"
    PAUSED = "paused"
    PAUSED_ALREADY = "paused/already"
    PLAN_CHANGED = "plan-changed"
    PORT_TAKEN = "port-taken"
    PORT_NOT_SHARED = "port-not-shared"
    NO_WAY_IN = "no-way-in"
    ONLY_SWITCHES = "only-switches"
    NO_BASELINES = "no-baselines"
    NO_BASELINE_OF_ADOPTED = "no-baselines/adopted"
    PROMISE = "promise"
    QUEUE_EMPTY = "queue-empty"
    QUEUE_GOES_ON = "queue-goes-on"
    QUEUE_FIRST_REPLACES = "queue-first-replaces"
    QUEUE_FULL = "queue-full"
    REASON_MISSING = "reason-missing"
    RECOVERY_CHANGED = "recovery-changed"
    REGION_AHEAD = "region-ahead"
    REGION_DROPPED = "region-dropped"
    REGION_NAME = "region-name"
    REGION_UNREACHABLE = "region-unreachable"
    REGIONS_DISAGREE = "regions-disagree"
    REGIONS_DISAGREE_ON_GROUP = "regions-disagree/group"
    REGIONS_DISAGREE_ON_PORT = "regions-disagree/port"
    RETIRING_GROUP = "retiring-group"
    ROLE_MISSING = "role-missing"
    OWN_RELEASE = "own-release"
    ROTATING = "rotating"
    ROLLOUT_RUNNING = "rollout-running"
    ROLLOUT_RUNNING_AT_ROLLBACK = "rollout-running/rollback"
    ROLLOUT_RUNNING_AT_DELETION = "rollout-running/deletion"
    ROLLOUT_RUNNING_AT_RENEWAL = "rollout-running/renewal"
    SERVES_ALREADY = "serves-already"
    SIGNATURE_MISSING = "signature"
    SIGNATURE_UNREADABLE = "signature/unreadable"
    SIGNATURE_OF_OTHER_KEY = "signature/other-key"
    SIGNATURE_WRONG = "signature/wrong"
    TOO_MANY_FETCHES = "too-many-fetches"
    TOO_MANY_FREEZES = "too-many-freezes"
    TOO_MANY_TAINTED = "too-many-tainted"
    TOO_MANY_TOKENS = "too-many-tokens"
    TOO_MANY = "too-many"
    UNDOING = "undoing"
    UNHEALTHY_TARGET = "unhealthy-target"
    UNKNOWN_AGENT = "unknown-agent"
    UNKNOWN_APPLICATION = "unknown-application"
    UNKNOWN_APPLICATION_DELETED = "unknown-application/deleted"
    UNKNOWN_APPLICATION_AHEAD = "unknown-application/ahead"
    UNKNOWN_FREEZE = "unknown-freeze"
    UNKNOWN_GATE = "unknown-gate"
    UNKNOWN_GUARD = "unknown-guard"
    UNKNOWN_GROUP = "unknown-group"
    UNKNOWN_GROUP_SERVING = "unknown-group/serving"
    UNKNOWN_SERVER_GROUP = "unknown-group/name"
    UNKNOWN_SERVER_GROUP_BY_VERSION = "unknown-group/version"
    UNKNOWN_GROUP_REGION = "unknown-group/region"
    UNKNOWN_HOST = "unknown-host"
    UNKNOWN_HOST_GROUP = "unknown-host/group"
    UNKNOWN_HOST_REGION = "unknown-host/region"
    UNKNOWN_HOST_ENDING = "unknown-host/ending"
    UNKNOWN_QUEUED = "unknown-queued"
    UNKNOWN_IMAGE = "unknown-image"
    UNKNOWN_MEMBER = "unknown-member"
    UNKNOWN_GROUP_ASKED = "unknown-group/asked"
    UNKNOWN_REGION_ASKED = "unknown-region/asked"
    UNKNOWN_REGION = "unknown-region"
    UNKNOWN_REGION_OF_ROLLOUT = "unknown-region/rollout"
    UNKNOWN_REGION_OF_SERVICE = "unknown-region/serves"
    UNKNOWN_ROLE = "unknown-role"
    UNKNOWN_TOKEN = "unknown-token"  # noqa: S105  # a name
    UNKNOWN_TRUST = "unknown-trust"
    UNKNOWN_PERSON = "unknown-person"
    UNKNOWN_NOTICE_TARGET = "unknown-target"
    NO_PROMOTION = "no-promotion"
    UNKNOWN_HOOK = "unknown-hook"
    UNKNOWN_DELIVERY = "unknown-delivery"
    DELIVERY_WITHOUT_VERSION = "delivery-without-version"
    OTHER_ACCOUNT = "other-account"
    NO_ROLE = "no-role"
    SPENT = "spent"


class Why(Kind):
    """Why an application, a rollout or a region of it waits, or has failed."""

    # A step that is not done yet.
    SCALE = "scale"
    VERIFY = "verify"
    WEIGHT = "weight"
    BASELINE = "baseline"
    BASELINE_SHARE = "baseline/share"
    SOAK = "soak"
    SOAK_UNSEEN = "soak/unseen"
    ANALYSIS = "analysis"
    ANALYSIS_UNSEEN = "analysis/unseen"
    HEALS = "heals"
    APPROVE = "approve"
    APPROVE_WAVE = "approve/wave"
    APPROVE_UNLESS = "approve/unless"
    APPROVE_WAVE_UNLESS = "approve/wave-unless"
    KEEP = "keep"
    RETIRE = "retire"
    # A region that can't be judged.
    AGENT_AWAY = "agent-away"
    AGENT_AWAY_AT_BEGIN = "agent-away/begin"
    AGENT_AWAY_AT_UNDO = "agent-away/undo"
    AGENT_AWAY_AT_END = "agent-away/end"
    AHEAD = "ahead"
    AHEAD_OF_NOTHING = "ahead/of-nothing"
    AHEAD_UNDER_ONE_EPOCH = "ahead/one-epoch"
    AHEAD_BY_EPOCHS = "ahead/epochs"
    UNCONFIRMED = "unconfirmed"
    # A rollout, or a wave of it.
    PAUSED = "paused"
    HELD = "held"
    EARLIER_WAVES = "earlier-waves"
    MAKES_ROOM = "makes-room"
    BAKE = "bake"
    BAKE_UNSEEN = "bake/unseen"
    GUARD = "guard"
    # Jobs of a rollout.
    JOB_BEGINS = "job"
    JOB_RUNS = "job/runs"
    JOB_UNSEEN = "job/unseen"
    JOB_ENDS = "job/ends"
    JOB_FAILED = "job-failed"
    JOB_UNKNOWN = "job-unknown"
    # A region on its way back.
    GROWS_BACK = "grows-back"
    STILL_IN_TRAFFIC = "still-in-traffic"
    NOT_YET_IN_TRAFFIC = "not-yet-in-traffic"
    DRAINING = "draining"
    # Old groups and worn hosts.
    DELETING = "deleting"
    OLD_GROUP_STAYS = "old-group-stays"
    KEPT_FAILED = "kept-failed"
    RENEWAL = "renewal"
    RENEWAL_UNCONFIRMED = "renewal/unconfirmed"
    RENEWAL_FLOOR = "renewal/floor"
    # A region whose number of hosts is chosen within bounds.
    SIZE_BY_LOAD = "size-by-load"
    SIZE_BY_BOUNDS = "size-by-bounds"
    SIZE_UNKNOWN = "size-unknown"
    SIZE_AT_MOST = "size-at-most"
    SIZE_REFUSED = "size-refused"
    # A region's record in DNS.
    DRAIN = "drain"
    DRAIN_AWAY = "drain/away"
    DRAIN_UNSEEN = "drain/unseen"
    DRAIN_REMEMBERED = "drain/remembered"
    UNDRAIN = "undrain"
    # A region or a rollout that has failed, or goes back.
    AGENT_REFUSES = "agent-refuses"
    HOSTS_FAIL = "hosts-fail"
    ILL = "ill"
    NONE_UP = "ill/none-up"
    ILL_IN_STEP = "ill/step"
    ILL_WHEN_DONE = "ill/done"
    NEITHER_WHOLE = "neither-whole"
    LARGER_SIDE = "neither-whole/region"
    PROTECTED = "protected"
    IN_REFUGE = "protected/refuge"
    NOT_HEALED = "ill/not-healed"
    ANALYSIS_FAILED = "analysis-failed"
    METRIC = "metric"
    SOURCE_FAILED = "source-failed"
    ANALYSIS_UNDECIDED = "analysis-undecided"
    ANALYSIS_UNJUDGED = "analysis-unjudged"
    ANALYSIS_SILENT = "analysis-unjudged/silent"
    NO_BASELINE = "no-baseline"
    BASELINE_ILL = "no-baseline/ill"
    BASELINE_LOST = "no-baseline/lost"
    NO_PROGRESS = "no-progress"
    NOT_APPROVED = "not-approved"
    WAVE_NOT_APPROVED = "not-approved/wave"
    GUARD_FOR_TOO_LONG = "guard-for-too-long"
    NOT_UNDONE = "not-undone"
    UNDO_FAILED = "undo-failed"
    ABORTED = "aborted"
    ROLLED_BACK = "rolled-back"
    SKIPPED = "skipped"
    SERVES_ONLY_IN = "serves-only-in"
    FOLLOWS = "follows"
    LEFT_OUT = "left-out"
    IN_REGION = "left-out/follows"
    NOT_IN_REGION = "left-out/region"
    STORE_RESTORED = "store-restored"
    STEPPED_BACK = "stepped-back"
    REPLACED = "replaced"
    # Releases that wait.
    QUEUE_STANDS = "queue-stands"
    ROLLOUT_ENDED = "rollout-ended"
    QUEUED_REFUSED = "queued-refused"
    QUEUED_NO_ROOM = "queued-refused/room"
    QUEUE_ASKS_ROOM = "queue-asks-room"
    # An application that is not decided about.
    NOT_SAVED = "not-saved"
    PROMISE_BROKEN = "promise-broken"
    BUG = "bug"
    TEXT = "text"  # a person's words, or those of a store from before reasons had kinds


class Rule(Kind):
    """What a guard answers; the root is the rule, by which it is overridden."""

    FREEZE_ALL = "freeze-all"
    FREEZE = "freeze"
    WINDOW = "window"
    TIMES = "times"
    LIMIT_OF_RELEASES = "limits.releases"
    LIMIT_OF_REGIONS = "limits.regions_in_flight"
    LIMIT_OF_HOSTS = "limits.hosts_in_flight_percent"
    LIMIT_OF_EXTRA_HOSTS = "limits.extra_hosts"
    CAPACITY = "capacity"
    CAPACITY_UNKNOWN = "capacity/unknown"
    CAPACITY_FOR_SHARE = "capacity/share"
    CAPACITY_LEFT = "capacity/left"
    CAPACITY_OF_NONE = "capacity/none"
    TRAFFIC = "traffic"
    TRAFFIC_UNKNOWN = "traffic/unknown"
    TRAFFIC_TO_NONE = "traffic/none"
    TRAFFIC_PRECISION = "traffic_precision"
    TRAFFIC_SPLIT = "traffic_split"
    REGION = "region"
    ROOM = "room"
    ROOM_UNKNOWN = "room/unknown"
    ROOM_GIVEN = "room/given"
    MISFIT = "host"
    NOTIFY = "notify"


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


class Forecast(Kind):
    """What follows when that which is waited for has come, or has not; what an analysis will not see."""

    STEP = "step"
    WAVE = "wave"
    SUCCESS = "success"
    REGION_SKIPPED = "region-skipped"
    GONE_BACK = "gone-back"
    END_WITHOUT_REGION = "end-without-region"
    ERRORS_UNSEEN = "errors-unseen"
    SLOWNESS_UNSEEN = "slowness-unseen"


class Happening(Kind):
    """What an event says; which kind the event has is for programs to go by."""

    RELEASE_QUEUED = "release-queued"
    RELEASE_REPLACES = "release-replaces"
    RELEASES_SUPERSEDED = "releases-superseded"
    RELEASE_STARTED = "release-started"
    RELEASE_REFUSED = "release-refused"
    KEPT_ALREADY = "kept-already"
    CAUGHT_UP = "caught-up"
    QUEUE_STANDS = "queue-stands"
    QUEUE_RESUMED = "queue-resumed"
    QUEUE_DROPPED = "queue-dropped"
    QUEUE_MOVED = "queue-moved"
    ROLLBACK_STARTED = "rollback-started"
    BUILT_AGAIN = "built-again"
    GROWS = "grows"
    STAYS = "stays"
    GOES_BACK = "goes-back"
    PAUSED = "paused"
    RESUMED = "resumed"
    RETRIED = "retried"
    HASTENED = "hastened"
    OBJECTED = "objected"
    GATE_PASSED = "gate-passed"
    GATE_WAITING = "gate-waiting"
    GUARD_OVERRIDDEN = "guard-overridden"
    STEPPED_BACK = "stepped-back"
    REGION_ABORTED = "region-aborted"
    SIZED = "sized"
    SCALED = "scaled"
    SCALING_HELD = "scaling-held"
    SCALING_GOES_ON = "scaling-goes-on"
    STEP_ENTERED = "step-entered"
    LOOKED = "looked"
    ANALYSIS_PASSED = "analysis-passed"
    TRAFFIC_MOVED = "traffic-moved"
    TRAFFIC_PROTECTED = "traffic-protected"
    REGION_DONE = "region-done"
    REGION_SKIPPED = "region-skipped"
    REGION_FAILED = "region-failed"
    SCOPE_FAILED = "scope-failed"
    STOPPED = "stopped"
    FAILED = "failed"
    HOLDS = "holds"
    SUCCEEDED = "succeeded"
    ENDED = "ended"
    GROUP_RETIRES = "group-retires"
    BASELINE_BEGINS = "baseline-begins"
    BASELINE_ENDS = "baseline-ends"
    GROUP_RETIRED = "group-retired"
    GROUP_GIVES_WAY = "group-gives-way"
    GROUP_KEPT = "group-kept"
    GROUP_DESTROYED = "group-destroyed"
    DELETED = "deleted"
    GONE = "gone"
    JOB_ASKED = "job-asked"
    JOB_BEGAN = "job-began"
    JOB_SUCCEEDED = "job-succeeded"
    JOB_FAILED = "job-failed"
    JOB_STOPPED = "job-stopped"
    JOB_UNKNOWN = "job-unknown"
    JOB_SETTLED = "job-settled"
    REGION_LEFT = "region-left"
    REGION_DRAINED = "region-drained"
    REGION_UNDRAINED = "region-undrained"
    GROUP_RENEWED = "group-renewed"
    HOST_TAINTED = "host-tainted"
    HOST_REPLACED = "host-replaced"
    ALL_FROZEN = "all-frozen"
    ALL_UNFROZEN = "all-unfrozen"
    FREEZE_ADDED = "freeze-added"
    FREEZE_LIFTED = "freeze-lifted"
    RECOVERED = "recovered"
    ADOPTED = "adopted"
    ADOPTED_SERVES = "adopted/serves"
    REGION_AHEAD = "region-ahead"
    AGENT_INVITED = "agent-invited"
    AGENT_JOINED = "agent-joined"
    AGENT_REVOKED = "agent-revoked"
    AGENT_TOOK_OVER = "agent-took-over"
    AUTHORITY_ROTATED = "authority-rotated"
    DATABASE_CHANGED = "database-changed"


class Concern(Kind):
    """What is wrong with a controller, or with the database that several of them share."""

    FROZEN = "frozen"
    AWAY = "away"
    LEASE_ONLY = "lease-only"
    OTHER_VERSION = "other-version"
    STORE_UNREACHABLE = "store-unreachable"
    COPIED_LATE = "copied-late"
    COPIES_UNSEEN = "copies-unseen"
    NOT_ON_DISK = "not-on-disk"
    DATABASE_CHANGED = "database-changed"


class Clue(Kind):
    """What speaks for a release having brought errors, or against it."""

    ROSE_AFTER = "rose-after"
    ROSE_BEFORE = "rose-before"
    ROSE_ELSEWHERE = "rose-elsewhere"
    QUIET_THERE = "quiet-there"
    IN_ITS_GROUP = "in-its-group"
    IN_ALL_GROUPS = "in-all-groups"
    ALL_ON_IT = "all-on-it"
    NO_REQUESTS = "no-requests"
    OTHER_APPLICATION = "other-application"
    FELL_AFTER = "fell-after"
    WENT_ON = "went-on"


Fact = Union[str, int, float, None, tuple[str, ...], "Reason", tuple["Reason", ...]]
Facts = tuple[tuple[str, Fact], ...]


@dataclass(frozen=True, slots=True)
class Reason:
    """One reason; `reason_of` makes it. Facts have the names that the text of their kind uses."""

    kind: (
        Why | Rule | Refusal | Forecast | Happening | Concern | Clue
    )  # stored as text: the first with it counts
    facts: Facts = ()
    remedies: tuple[Remedy, ...] = ()


def in_words(text: str) -> Reason | None:
    """The reason that a person gave, if any."""
    return reason_of(Why.TEXT, text=text) if text else None


def reason_of(
    kind: Why | Rule | Refusal | Forecast | Happening | Concern | Clue, /, *remedies: Remedy, **facts: Fact
) -> Reason:
    return Reason(kind, tuple(facts.items()), remedies)


class Refused(Exception):
    """A command was refused and changed nothing."""

    def __init__(self, kind: Refusal, /, *remedies: Remedy, **facts: Fact) -> None:
        super().__init__(kind, facts)
        self.kind = kind
        self.reason = reason_of(kind, *remedies, **facts)

    @property
    def rule(self) -> str:
        return self.kind.root
