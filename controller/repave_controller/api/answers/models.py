"""What the HTTP API takes and gives, version 1. The CLI prints these as they are.

Times are ISO 8601 in UTC; durations end in `_seconds`, weights in `_bp` (basis points of requests).
"""

from datetime import datetime
from typing import Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from repave_controller.api.answers.answer import Answer
from repave_controller.api.answers.fronts import FrontItem
from repave_controller.api.answers.reasons import FactValue, RemedyItem
from repave_controller.api.answers.scaling import ScalingItem
from repave_controller.api.answers.secrets import SecretItem
from repave_protos.daemon.printable import is_printable
from repave_protos.protocol.bounds import BUNDLE_LENGTH_MAX

Item = TypeVar("Item", bound=BaseModel)
SPEC_LENGTH_MAX = 1024 * 1024
REASON_LENGTH_MAX = 500
OF_LINES = ("spec", "text", "reason", "signature")


class Body(Answer):
    """Unknown fields are refused: they are misspelt ones. So are values of another type: "3" is no number."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    @field_validator("*")
    @classmethod
    def _shows_itself(cls, value: object, info: ValidationInfo) -> object:
        """Names and versions stand in rows of tables and logs."""
        if isinstance(value, str) and info.field_name not in OF_LINES and not is_printable(value):
            raise ValueError("expected characters that can be seen, none that control a terminal")
        return value


class Items(Answer, Generic[Item]):
    """Every list answers so, also an empty one."""

    items: list[Item]
    next: str = Field(
        default="", description="Ask with cursor=this for those that follow; empty or not there: no more do."
    )


# --------------------------------------------------------------------------------------------- asked for


class PlanRequest(Body):
    """A spec and the package it is to be released with."""

    spec: str = Field(max_length=SPEC_LENGTH_MAX, description="The text of repave.yaml.")
    filename: str = Field("repave.yaml", max_length=200, description="How errors call the spec.")
    digest: str = Field(pattern=r"^[0-9a-f]{64}$", description="SHA-256 of the package.")
    version: str = Field("", max_length=100, description="What people call it; the digest's start if empty.")
    keep_sizes: bool = Field(False, description="Regions that are served keep the sizes they have now.")
    signature: str = Field(
        "",
        max_length=BUNDLE_LENGTH_MAX,
        description="Of the package: what minisign or signify wrote, or a bundle of sigstore. Empty: the one "
        "that was kept of it.",
    )


class SpecFile(Body):
    """One file of a spec."""

    name: str = Field(max_length=4096, description="How errors call it.")
    text: str = Field(max_length=SPEC_LENGTH_MAX)


class OutlineRequest(Body):
    """What does this spec say of its release? Changes nothing, and asks no region."""

    files: tuple[SpecFile, ...] = Field(
        strict=False, min_length=1, max_length=20, description="Later ones overlay the first."
    )
    version: str = Field("", max_length=100, description="Put into the names of package and signature.")


class ForetellRequest(PlanRequest):
    """What would a release of this spec do? Changes nothing."""

    will_push: bool = Field(
        False, description="The package will be stored first; that it is not is no problem."
    )


class ReleaseRequest(PlanRequest):
    """Release it."""

    reason: str = Field("", max_length=REASON_LENGTH_MAX)
    by: str = Field("", max_length=100, description="Who asks, for the history.")
    queue: bool = Field(False, description="Behind a running rollout: wait (true) or be refused (false).")
    latest: bool = Field(False, description="Wait as with queue, and drop the releases that waited before.")
    replace: bool = Field(False, description="What runs goes back at once; this begins when it is there.")
    plan: str = Field("", max_length=40, description="Refuse unless the plan still has this id.")
    force: bool = Field(False, description="Even where a region says that it has no room.")


class OutlineAnswer(Answer):
    """What a client has to know before it asks for the release."""

    application: str = Field(description="Whose release it is: app, or app-stack.")
    sizes: dict[str, int] = Field(description="Region to hosts; the least of bounds.")
    program: str = Field(description="The first word of host.run.")
    uri: str = Field(description="artifact.uri, as written.")
    package: str = Field(description="The same with version and application put in.")
    signature: str = Field(description="artifact.signature, with them put in; empty: not said.")
    sha256: str = Field(description="artifact.sha256: a digest, required, or empty.")
    text: str = Field(description="The text to ask for the release with: several files merged.")
    scaled: list[str] = Field([], description="Regions whose number of hosts is chosen within bounds.")


class ArtifactRequest(Body):
    """Fetch the package that a spec names by https:// or s3://, unless it is here."""

    spec: str = Field(max_length=SPEC_LENGTH_MAX, description="The text of repave.yaml.")
    filename: str = Field("repave.yaml", max_length=200, description="How errors call the spec.")
    version: str = Field("", max_length=100, description="Which one; put into the address.")
    digest: str = Field("", pattern=r"^([0-9a-f]{64})?$", description="What it must be, if that is known.")


class SignedRequest(Body):
    """Who asks, and why; both are kept."""

    reason: str = Field("", max_length=REASON_LENGTH_MAX)
    by: str = Field("", max_length=100, description="Who asks, for the history.")


class RenewRequest(SignedRequest):
    """Replace every host of the group that serves by a fresh one."""


class TaintRequest(SignedRequest):
    """Replace one host by a fresh one."""

    region: str = Field("", max_length=200, description="Where it is, if hosts of several have its name.")


class RecoveryRequest(Body):
    """Adopt what regions run that are ahead of a store which was restored or lost."""

    application: str = Field("", max_length=200, description="Only this one; empty: all.")
    serving: str = Field("", max_length=200, description="Who serves where regions disagree: a group.")
    dry_run: bool = Field(False, description="Only say what would be adopted.")
    id: str = Field("", max_length=40, description="Refuse unless the regions still run what has this id.")
    by: str = Field("", max_length=100)


# ------------------------------------------------------------------------------------------------- given


class ArtifactAnswer(Answer):
    """A package that is being fetched; once `is_stored`, with its digest."""

    id: str
    uri: str
    is_stored: bool
    is_new: bool = Field(description="It was not here before.")
    received_bytes: int
    total_bytes: int | None = Field(description="null: the server has not said.")
    digest: str
    has_signature: bool = Field(description="Where settings ask for one: it is there, for a release.")


class AcceptedAnswer(Answer):
    """A command was saved and is being carried out."""

    application: str
    group: str = Field(description="The group that is to take the traffic; empty while queued.")
    rollout: int
    kind: str
    is_queued: bool
    is_joined: bool = Field(description="An equal request had started it, or all is as it asks already.")


class TaintAnswer(Answer):
    """The host is replaced, once a fresh one is there."""

    application: str
    region: str
    group: str
    host: str
    is_joined: bool = Field(description="An equal request had been accepted already.")


class BecauseItem(Answer):
    """One thing that is waited for."""

    kind: str = Field(description="What it is, such as soak, agent-away or guard.")
    text: str
    facts: dict[str, FactValue]
    region: str
    since: datetime | None
    until: datetime | None
    then: str = Field(description="What follows when it has come, and when it does not.")
    remedy: RemedyItem | None


class GateItem(Answer):
    """What a person may let the rollout go past now."""

    gate: str
    kind: str = Field(
        description="approval; objection: it goes on by itself unless a person objects; time: a soak, a "
        "bake; analysis: looks at the new group."
    )
    regions: list[str] = Field(description="That are at it; empty where the whole rollout is.")
    role: str = Field(description="The role that may approve; empty: any operator.")
    distinct: bool = Field(description="Who released may not approve, where people have accounts.")
    command: str


class StepItem(Answer):
    """One step of a rollout."""

    kind: str
    text: str
    state: str = Field(description="done, running, waiting or skipped.")


class TrackItem(Answer):
    """How far one region is."""

    region: str
    phase: str = Field(description="waiting, running, done, undoing, undone, skipped or held.")
    step: int = Field(description="From 0.")
    kind: str = Field(description="Of the step it is in; empty when it is in none.")
    since: datetime | None
    reason: str = Field(description="Why it was undone or skipped, or has yet to follow.")
    group: str = Field(description="Which it gets.")
    origin: str = Field(description="Which served before; empty where none did.")


class Wave(Answer):
    """How its regions go."""

    bake_seconds: float
    approve: str | None = Field(description="Role that must say yes before the wave.")
    unless_objected_seconds: float = Field(description="After so long it need not; 0: it must.")
    expires_seconds: float = Field(description="It is waited for so long; 0: for ever.")
    parallel: int = Field(description="How many at once; 0: all.")
    lockstep: bool


class WaveItem(Wave):
    """Regions that go together."""

    regions: list[TrackItem]


class PassItem(Answer):
    """What a person let go on."""

    gate: str
    kind: str = Field(description="approved, skipped, overridden or objected.")
    at: datetime
    by: str
    role: str
    reason: str
    regions: list[str] = Field(description="Where; empty: in all.")


class AnalysisItem(Answer):
    """What looks at the new group have said so far: `analyses` of the application has their numbers."""

    gate: str
    region: str = Field(description="Empty: those of a wave together.")
    run: int = Field(description="Which time that the step was entered, from 1.")
    looks: int = Field(description="Made in this run, errors too.")
    judged: int
    count: int = Field(description="How many have to be judged.")
    said: list[str] = Field(description="Outcomes of the last looks, the newest last.")
    ending: str = Field(description="passed, failed, undecided or unjudged; empty: it goes on.")
    score: float | None = Field(description="Of the last look; null: it had none.")
    text: str = Field(description="What decided in the last look; empty: all was well, or there was none.")


class JobItem(Answer):
    """An attempt of a job; or a job that was not tried yet."""

    moment: str = Field(description="before, after or on_rollback.")
    name: str
    region: str
    state: str = Field(description="waiting, asked, running, succeeded, failed, stopped or unknown.")
    attempt: int = Field(description="From 1; 0: it was not tried yet.")
    host: str = Field(description="As `logs` names it; empty before the first attempt.")
    asked_at: datetime | None
    began_at: datetime | None
    ended_at: datetime | None
    exit_code: int | None
    text: str = Field(description="What it waits for, or how it ended.")
    log_tail: str = Field(description="The end of what it has printed, once it is over.")
    settled: str = Field(
        description="What a person has said of it: again, done or failed; left: it was left."
    )
    settled_by: str
    settled_reason: str


class RolloutFields(Answer):
    """One release or rollback, without its waves."""

    number: int
    kind: str
    group: str
    version: str
    origin: str
    phase: str = Field(description="running, paused, undoing, succeeded, rolled-back, aborted or held.")
    steps: list[StepItem]
    step: int = Field(description="The step that the slowest region is in, from 0.")
    passes: list[PassItem]
    paused_by: str
    started_at: datetime
    started_by: str
    reason: str
    ended_at: datetime | None
    outcome: str = Field(description="Why it went back, was aborted or held.")
    analyses: list[AnalysisItem]
    jobs: list[JobItem] = Field(description="In the order in which they run, with all their attempts.")


class RolloutItem(RolloutFields):
    """One release or rollback."""

    waves: list[WaveItem] = Field(description="Empty in a brief history.")


ADOPTED = "It was there before repave, which made none of its hosts and ends none."
WORKER = "It takes no requests: its weight is counted as its share of the work."
BASELINE_OF = (
    "The group whose version it has, where it is fresh hosts to compare a new group with; else empty."
)


class RegionGroupItem(Answer):
    """A server group in one region, as its agent reported it last."""

    name: str
    version: str
    state: str = Field(description="new, serving, warm or retiring.")
    size: int
    launching: int
    starting: int
    healthy: int
    verified: int
    unhealthy: int
    failed: int
    destroying: int
    balancer_up: int
    weight_bp: int = Field(description="As the balancer acknowledged it.")
    wanted_weight_bp: int
    in_flight: int
    launched_total: int
    destroyed_total: int
    trouble: str
    secrets: list[SecretItem]
    adopted: bool = Field(False, description=ADOPTED)
    baseline_of: str = Field("", description=BASELINE_OF)
    worker: bool = Field(False, description=WORKER)


class DnsItem(Answer):
    """The region's record of an application in DNS."""

    name: str = Field(description="What clients look up; empty while its agent has not said.")
    state: str = Field(description="in, out, or unknown while its agent can't tell.")
    ttl_seconds: int = Field(description="So long resolvers may answer with what they have.")
    trouble: str = Field(description="Why it is not as it should be.")
    drained: bool = Field(description="A person has asked for it to be out.")
    drained_by: str
    drained_reason: str
    drained_at: datetime | None
    clients_until: datetime | None = Field(
        description="Once it is out: until then clients may still come, as resolvers remember it."
    )


class ApplicationRegionItem(Answer):
    """One application in one region."""

    name: str
    connected: bool
    ahead: str = Field(description="Why it waits for repave controller recover; empty when it does not.")
    since: datetime | None
    current: bool = Field(description="It has confirmed the newest desired state.")
    troubles: list[str] = Field(description="What is wrong there as a whole: provider, pool, balancer.")
    traffic_address: str
    dns: DnsItem | None = Field(description="None: its agent keeps no record of it.")
    scaling: ScalingItem | None = Field(
        None, description="None: the number of its hosts is that of the spec."
    )
    groups: list[RegionGroupItem]


class RegionPage(Items[ApplicationRegionItem]):
    """Some regions of an application, in its order."""


class ApplicationItem(Answer):
    """One line about an application."""

    generation: str = Field(
        default="",
        description="Of what is decided now: a command with it as If-Match is refused once that has changed.",
    )

    name: str
    serving: str
    version: str
    phase: str
    rollout: str
    hosts: int
    verified: int
    regions: int
    port: int
    queued: int


class QueuedItem(Answer):
    """A release that waits."""

    number: int = Field(description="Of those that ever waited, from 1.")
    version: str
    digest: str
    regions: list[str]
    by: str
    reason: str
    queued_at: datetime | None
    replaces: bool = Field(description="It begins once what it replaces has gone back.")


class QueueAnswer(Items[QueuedItem]):
    """The releases that wait, the next one first."""

    stands: str = Field(description="Why none begins until a person goes on; empty while they go on.")
    since: datetime | None
    remedy: RemedyItem | None


class ApplicationStatus(ApplicationItem):
    """All about an application."""

    fronts: list[FrontItem] = Field(description="The ways by which clients reach it, the main one first.")
    current_rollout: RolloutItem | None
    queue: QueueAnswer
    gates: list[GateItem] = Field(description="Approvals that are waited for.")
    waits: list[GateItem] = Field(description="Times that a person may end: soaks, bakes, for objections.")
    because: list[BecauseItem]
    region_items: list[ApplicationRegionItem]


class WhyAnswer(Answer):
    """What an application waits for."""

    application: str
    text: str
    because: list[BecauseItem]
    troubles: dict[str, list[str]] = Field(description="Region to what is wrong there as a whole.")
    secrets: dict[str, list[SecretItem]] = Field(
        description="Group to where the secrets of its hosts are kept; groups without any are left out."
    )


class GroupItem(Answer):
    """A server group over all its regions."""

    application: str
    name: str
    version: str
    digest: str = Field(description="Of its package; empty of an adopted group.")
    state: str
    size: int
    verified: int
    regions: list[str]
    weight_bp: dict[str, int] = Field(description="Region to basis points, as acknowledged.")
    created_at: datetime
    warm_until: datetime | None
    failed_until: datetime | None = Field(
        description="Of one that failed: how long its hosts are kept to be looked at."
    )
    secrets: list[SecretItem]
    machine_image: str = Field(description="As the spec names it; empty: that of each region's settings.")
    machine_sizes: list[str] = Field(
        description="As the spec names them, best first; empty: that of each region's settings."
    )
    spot: bool = Field(description="Its machines may be taken back by their cloud at any time.")
    adopted: bool = Field(False, description=ADOPTED)
    baseline_of: str = Field("", description=BASELINE_OF)
    worker: bool = Field(False, description=WORKER)


class ProbeItem(Answer):
    """One probe of a host by its region's agent."""

    ago_seconds: float = Field(description="Since it was answered, or given up.")
    took_seconds: float
    passed: bool
    said: str = Field(description="What the answer was.")


class HostItem(Answer):
    """One host, asked of its agent just now."""

    name: str
    application: str
    region: str
    group: str
    phase: str
    address: str
    port: int
    digest: str = Field(description="Of its package; empty of an adopted host.")
    age_seconds: float
    healthy_seconds: float
    trouble: str
    log_tail: str
    worn: str = Field(description="Why it is to be replaced; empty when it is not.")
    gone_at: datetime | None = Field(description="When it ended; null while it is there.")
    public_address: str = Field("", description="Where it is reached from outside; empty: not known.")
    adopted: bool = Field(False, description=ADOPTED)
    baseline: bool = Field(False, description="Of a group that a new one is compared with.")
    probes: list[ProbeItem] = Field(
        [],
        description="The newest first. Empty where not asked for, and where its balancer alone asks it.",
    )


class HostsAnswer(Items[HostItem]):
    """Hosts, and the regions that could not be asked."""

    unreachable: dict[str, str] = Field(description="Region to reason.")


class WornItem(Answer):
    """A host that is to be replaced."""

    host: str
    why: str = Field(description="tainted, age, drift, renewal, asked or unknown.")
    text: str
    by: str
    is_replaced: bool = Field(description="Its fresh host is being made, or it is being ended.")


class AgeItem(Answer):
    """How old and how worn the hosts of a group in one region are, as its agent reported last."""

    application: str
    region: str
    group: str
    state: str
    hosts: int
    oldest_at: datetime | None = Field(description="When the oldest host was launched.")
    max_age_seconds: float = Field(description="0: none is too old.")
    aged: int = Field(description="Hosts that are too old.")
    drifted: int = Field(description="Hosts that are no longer as they were made.")
    outdated: int = Field(description="Hosts that a renewal has still to replace.")
    tainted: int
    replacing: int = Field(description="Hosts that are being replaced now.")
    due_at: datetime | None = Field(description="When the next host will be too old.")
    worn: list[WornItem] = Field(description="At most 100 by the region's report, and those tainted.")


class OrphanItem(Answer):
    """One host that no desired state is known to name."""

    name: str
    region: str
    group: str
    application: str
    phase: str
    age_seconds: float
    unclaimed_seconds: float = Field(
        description="For how long no desired state is known to name it; 0: unknown."
    )
    state: str = Field(description="What becomes of it, in words.")


class OrphansAnswer(Items[OrphanItem]):
    """Orphans, and the regions that could not be asked."""

    asked: list[str] = Field(description="The regions that have answered.")
    unreachable: dict[str, str] = Field(description="Region to reason.")


class RegionItem(Answer):
    """A region and its agent."""

    name: str
    connected: bool
    ahead: str = Field(description="Why it waits for repave controller recover; empty when it does not.")
    since: datetime
    troubles: list[str] = Field(description="What is wrong there as a whole: provider, pool, balancer.")
    provider: str
    balancer: str
    agent_version: str
    traffic_address: str
    dns: str = Field(description="How its agent keeps records in DNS; empty: it keeps none.")
    applications: int
    hosts: int
    launching: int = Field(description="Hosts that are being made, or have not been healthy yet.")
    destroying: int = Field(description="Hosts that are being destroyed.")
    reported_at: datetime | None = Field(
        description="When its last report came; null: none has since it connected."
    )
    unused: bool = Field(description="No application is in it.")
    instance: str = Field(description="The agent that acts there, by the name of its state directory.")
    by_lease: bool = Field(description="It acts by lease, for another agent stands by.")
    stand_by: str = Field(description="The agent that stands by and takes over; empty when there is none.")
    rival: str = Field(
        description="Another agent of it that was refused of late, and takes over only if asked to; or empty."
    )


class ControllerItem(Answer):
    """A controller of the installation."""

    name: str
    state: str = Field(description="live; frozen: its session is there, but it renews no lease; or away.")
    since: datetime = Field(description="When it started; of one that is not live, when its lease ended.")
    version: str
    url: str = Field(description="Where people reach it.")
    agents: str = Field(description="Where agents reach it.")
    asked: bool = Field(description="It is the one that answers.")
    lease_seconds: float | None = Field(description="Until its lease ends; null: it has the store alone.")
    shards: list[int] = Field(description="Those that it decides for.")
    applications: int = Field(description="How many are in its shards.")
    regions: list[str] = Field(description="Those whose agents are connected to it.")
    problems: list[str]


class ControllersAnswer(Items[ControllerItem]):
    """The controllers that share the store."""

    problems: list[str] = Field(description="What is wrong with the database that they share.")


class EventItem(Answer):
    """Something that was decided or that happened."""

    sequence: int
    at: datetime
    kind: str
    text: str
    application: str
    region: str
    group: str
    host: str
    by: str


class History(Answer):
    """Rollouts, newest first."""

    items: list[RolloutItem]
    dropped_through: int = Field(description="Rollouts up to this number are no longer kept; 0: all are.")
    next: int = Field(description="Ask with cursor=this for those that follow; 0: there are no more.")


class ImageItem(Answer):
    """A package in the store."""

    digest: str
    name: str
    size_bytes: int
    files: int
    pushed_at: datetime


class CheckItem(Answer):
    """One finding of the controller's own examination."""

    name: str
    state: str = Field(description="ok, warn or fail.")
    text: str
    remedy: str


class TableItem(Answer):
    """A table of the store with its indexes; "free": what rows that are gone have left."""

    name: str
    rows: int
    bytes: int


class PackedItem(Answer):
    """The packages of an application; "": those that no group, rollback or queue needs."""

    application: str
    packages: int
    bytes: int


class FreedItem(Answer):
    """What the next removal takes; with `at_least` there is more."""

    kind: str
    rows: int
    bytes: int = Field(description="About.")
    at_least: bool


class DiskAnswer(Answer):
    """What takes the controller's disk."""

    place: str
    free_bytes: int
    total_bytes: int
    store_bytes: int
    packages_bytes: int
    store: list[TableItem]
    packages: list[PackedItem]
    baked_images: dict[str, int] = Field(description="How many there are, by region; they are in its cloud.")
    removed_next: list[FreedItem]
    held: str = Field(description='Why history and packages are all kept for now; "" if they are not.')


class DoctorAnswer(Items[CheckItem]):
    """How the controller is. `disk` is null where it could not be examined."""

    version: str
    now: datetime
    disk: DiskAnswer | None = None


class RecoveryLine(Answer):
    """One group in one region, as its agent has accepted it."""

    application: str
    region: str
    group: str
    state: str = Field(description="What it becomes: serving, warm or retiring.")
    hosts: int
    weight_bp: int
    version: str
    digest: str
    is_stored: bool = Field(description="Its package is in this store; fresh hosts need it.")


class RecoveryItem(Answer):
    """One application that regions know better than the store."""

    application: str
    serving: str
    adopted: bool
    refused: str = Field(description="Why it can't be adopted, and what to do; empty when it can.")
    notes: list[str] = Field(description="What is assumed, and what to do afterwards.")
    lines: list[RecoveryLine]


class RecoveryAnswer(Items[RecoveryItem]):
    """What was adopted, or would be; no items when no region is ahead."""

    id: str
    incarnation: int | None = Field(description="The new life of the store, if anything was adopted.")
    waiting: dict[str, str] = Field(description="Regions that are ahead still, and why.")


# ---------------------------------------------------------------------------------------------- problems


class ProblemPlace(Answer):
    """One thing that is wrong. Of a spec also where it stands; of a body the field alone."""

    field: str
    message: str
    file: str = ""
    line: int = 0
    column: int = 0
    fix: str = ""


class Problem(Answer):
    """Why a request was refused, or failed (RFC 9457)."""

    type: str = Field(description="urn:repave:problem: and the rule.")
    title: str = Field(description="The rule in words.")
    status: int
    detail: str = Field(description="What is wrong, for people, with what to do about it where it is known.")
    rule: str = Field(description="What programs go by.")
    problems: list[ProblemPlace] = Field(description="Each place that is wrong, of a spec or a body.")
    facts: dict[str, FactValue] = Field(description="What the detail is made of.")
    remedy: RemedyItem | None = Field(description="What a person could do about it; null: nothing is known.")
