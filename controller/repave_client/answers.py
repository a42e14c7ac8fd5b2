"""The types of what the API gives, as docs/openapi.json describes it.

Written by `python -m tests.support.openapi`, and held to that document by a test. Later controllers may give
more than is here.
"""

from __future__ import annotations

from typing import Any, Literal, NotRequired, TypedDict


class AcceptedAnswer(TypedDict):
    """A command was saved and is being carried out."""

    application: str
    group: str
    rollout: int
    kind: str
    is_queued: bool
    is_joined: bool


class AdoptedHostItem(TypedDict):
    """A host that was found."""

    region: str
    name: str
    address: str
    port: int
    trouble: str


class AdoptionAnswer(TypedDict):
    """What was found, and what came of it."""

    application: str
    group: str
    is_joined: bool
    is_dry_run: bool
    serves: bool
    hosts: list[AdoptedHostItem]
    notes: list[str]
    problems: list[str]


class AgeItem(TypedDict):
    """How old and how worn the hosts of a group in one region are, as its agent reported last."""

    application: str
    region: str
    group: str
    state: str
    hosts: int
    oldest_at: str | None
    max_age_seconds: float
    aged: int
    drifted: int
    outdated: int
    tainted: int
    replacing: int
    due_at: str | None
    worn: list[WornItem]


class AgeItems(TypedDict):
    """One of the API's answers."""

    items: list[AgeItem]
    next: NotRequired[str]


class AgentItem(TypedDict):
    """An agent that joined, with its newest certificate."""

    name: str
    region: str
    agent: str
    state: str
    connected: bool
    role: str
    serial: str
    joined_at: str
    joined_from: str
    issued_at: str
    expires_at: str
    revoked_at: str | None
    revoked_by: str


class AgentItems(TypedDict):
    """One of the API's answers."""

    items: list[AgentItem]
    next: NotRequired[str]


class AnalysesAnswer(TypedDict):
    """All looks at the new group of a rollout that are kept, in order of time."""

    application: str
    rollout: int
    items: list[LookItem]


class AnalysisItem(TypedDict):
    """What looks at the new group have said so far: `analyses` of the application has their numbers."""

    gate: str
    region: str
    run: int
    looks: int
    judged: int
    count: int
    said: list[str]
    ending: str
    score: float | None
    text: str


class ApplicationItem(TypedDict):
    """One line about an application."""

    generation: NotRequired[str]
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


class ApplicationItems(TypedDict):
    """One of the API's answers."""

    items: list[ApplicationItem]
    next: NotRequired[str]


class ApplicationRegionItem(TypedDict):
    """One application in one region."""

    name: str
    connected: bool
    ahead: str
    since: str | None
    current: bool
    troubles: list[str]
    traffic_address: str
    dns: DnsItem | None
    scaling: NotRequired[ScalingItem | None]
    groups: list[RegionGroupItem]


class ApplicationStatus(TypedDict):
    """All about an application."""

    generation: NotRequired[str]
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
    fronts: list[FrontItem]
    current_rollout: RolloutItem | None
    queue: QueueAnswer
    gates: list[GateItem]
    waits: list[GateItem]
    because: list[BecauseItem]
    region_items: list[ApplicationRegionItem]


class ApplicationSummary(TypedDict):
    """All about an application that fits a screen."""

    generation: NotRequired[str]
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
    fronts: list[FrontItem]
    current_rollout: RolloutSummary | None
    queue: QueueAnswer
    gates: list[GateItem]
    waits: list[GateItem]
    because: list[BecauseAlike]
    region_items: list[ApplicationRegionItem]
    alike: list[RegionsAlike]
    regions_left: int
    waits_left: int


class ApplicationTimes(TypedDict):
    """When an application's releases may move."""

    application: str
    windows: list[str]
    open: list[SpanItem]
    freezes: list[SpecFreezeItem]
    held: str
    opens_at: str | None
    guards: list[BecauseItem]


class ApprovedAnswer(TypedDict):
    """The proposal, and the release that it became."""

    proposal: PromotionItem
    accepted: AcceptedAnswer


class ArtifactAnswer(TypedDict):
    """A package that is being fetched; once `is_stored`, with its digest."""

    id: str
    uri: str
    is_stored: bool
    is_new: bool
    received_bytes: int
    total_bytes: int | None
    digest: str
    has_signature: bool


class AuditAnswer(TypedDict):
    """Rows of the audit log. `installation` begins its chain."""

    items: list[AuditItem]
    next: NotRequired[str]
    installation: str


class AuditItem(TypedDict):
    """A row: `text` is JSON, and exactly what `hash` is of."""

    number: int
    text: str
    hash: str


class BakeItem(TypedDict):
    """One that is under way, or has failed: then `error` says why."""

    region: str
    digest: str
    name: str
    step: str
    since: str
    image: str
    error: str


class BakedAnswer(TypedDict):
    """Images of all regions, what is under way, and the regions that could not be asked."""

    items: list[BakedItem]
    next: NotRequired[str]
    bakes: list[BakeItem]
    asked: list[str]
    unreachable: dict[str, str]


class BakedItem(TypedDict):
    """One image in which a package is unpacked already."""

    region: str
    image: str
    name: str
    digest: str
    base: str
    by: str
    made_at: str
    is_current: bool


class BecauseAlike(TypedDict):
    """Regions that wait for the same; `region` is the first."""

    count: int
    names: list[str]
    kind: str
    text: str
    facts: dict[str, str | int | float | list[str] | None]
    region: str
    since: str | None
    until: str | None
    then: str
    remedy: RemedyItem | None


class BecauseItem(TypedDict):
    """One thing that is waited for."""

    kind: str
    text: str
    facts: dict[str, str | int | float | list[str] | None]
    region: str
    since: str | None
    until: str | None
    then: str
    remedy: RemedyItem | None


class BrowserAnswer(TypedDict):
    """Where the browser goes."""

    handle: str
    url: str


class CalendarAnswer(TypedDict):
    """`items`: applications with windows or freezes of their own, or that are held back now."""

    begins_at: str
    ends_at: str
    items: list[ApplicationTimes]


class CheckItem(TypedDict):
    """One finding of the controller's own examination."""

    name: str
    state: str
    text: str
    remedy: str


class ClueItem(TypedDict):
    """What speaks for it, or against it."""

    kind: str
    text: str
    facts: dict[str, str | int | float | list[str] | None]


class ComparedItem(TypedDict):
    """Which groups are compared in a region."""

    region: str
    target: str
    origin: str


class ControllerItem(TypedDict):
    """A controller of the installation."""

    name: str
    state: str
    since: str
    version: str
    url: str
    agents: str
    asked: bool
    lease_seconds: float | None
    shards: list[int]
    applications: int
    regions: list[str]
    problems: list[str]


class ControllersAnswer(TypedDict):
    """The controllers that share the store."""

    items: list[ControllerItem]
    next: NotRequired[str]
    problems: list[str]


class DeadItem(TypedDict):
    """A notice that its target never took."""

    sequence: int
    kind: str
    at: str
    tries: int
    error: str


class DeliveryItem(TypedDict):
    """One webhook that came."""

    hook: str
    id: str
    sender_id: str
    received_at: str
    event: str
    state: str
    text: str
    application: str
    version: str
    digest: str
    branch: str
    commit: str
    rollout: int
    tries: int
    retry_at: str | None
    ended_at: str | None
    asked: int


class DeliveryItems(TypedDict):
    """One of the API's answers."""

    items: list[DeliveryItem]
    next: NotRequired[str]


class DeviceAnswer(TypedDict):
    """What to show a person who logs in on another device."""

    handle: str
    user_code: str
    verification_uri: str
    verification_uri_complete: str
    expires_seconds: float
    interval_seconds: float


class DiskAnswer(TypedDict):
    """What takes the controller's disk."""

    place: str
    free_bytes: int
    total_bytes: int
    store_bytes: int
    packages_bytes: int
    store: list[TableItem]
    packages: list[PackedItem]
    baked_images: dict[str, int]
    removed_next: list[FreedItem]
    held: str


class DnsItem(TypedDict):
    """The region's record of an application in DNS."""

    name: str
    state: str
    ttl_seconds: int
    trouble: str
    drained: bool
    drained_by: str
    drained_reason: str
    drained_at: str | None
    clients_until: str | None


class DoctorAnswer(TypedDict):
    """How the controller is. `disk` is null where it could not be examined."""

    items: list[CheckItem]
    next: NotRequired[str]
    version: str
    now: str
    disk: NotRequired[DiskAnswer | None]


class DoneAnswer(TypedDict):
    """What was done."""

    text: str


class DraftAnswer(TypedDict):
    """What a plan was made of. Ask for the plan again to see what it is now."""

    id: str
    application: str
    version: str
    asked_at: str
    spec: str
    filename: str
    digest: str
    keep_sizes: bool


class DraftItem(TypedDict):
    """A plan that was shown."""

    id: str
    application: str
    version: str
    asked_at: str


class DraftItems(TypedDict):
    """One of the API's answers."""

    items: list[DraftItem]
    next: NotRequired[str]


class EventItem(TypedDict):
    """Something that was decided or that happened."""

    sequence: int
    at: str
    kind: str
    text: str
    application: str
    region: str
    group: str
    host: str
    by: str


class EventItems(TypedDict):
    """One of the API's answers."""

    items: list[EventItem]
    next: NotRequired[str]


class FlipItem(TypedDict):
    """From then on a region's balancer split requests so."""

    at: float
    region: str
    weights_bp: dict[str, int]


class FreedItem(TypedDict):
    """What the next removal takes; with `at_least` there is more."""

    kind: str
    rows: int
    bytes: int
    at_least: bool


class FreezeItem(TypedDict):
    """A freeze that a person added."""

    id: str
    begins_at: str
    ends_at: str
    zone: str
    is_on: bool
    applications: list[str]
    reason: str
    by: str
    added_at: str


class FreezesAnswer(TypedDict):
    """The freezes of the whole installation."""

    everything: FullFreezeItem | None
    items: list[FreezeItem]


class FrontItem(TypedDict):
    """One way in, at the traffic address of each region."""

    name: str
    protocol: str
    port: int
    matches: str
    redirect_from: int


class FullFreezeItem(TypedDict):
    """Who froze everything, when, why."""

    by: str
    reason: str
    at: str


class GateItem(TypedDict):
    """What a person may let the rollout go past now."""

    gate: str
    kind: str
    regions: list[str]
    role: str
    distinct: bool
    command: str


class GitOpsAnswer(TypedDict):
    """All of them, by name."""

    items: list[GitOpsItem]


class GitOpsFile(TypedDict):
    """A spec of the folder, beside what runs."""

    path: str
    application: str
    state: str
    text: str
    version: str
    digest: str
    runs_version: str
    runs_digest: str
    at: str
    retry_at: NotRequired[str | None]


class GitOpsItem(TypedDict):
    """A repository of the settings."""

    name: str
    repository: str
    branch: str
    path: str
    policy: str
    commit: str
    looked_at: str | None
    error: str
    files: list[GitOpsFile]


class GroupItem(TypedDict):
    """A server group over all its regions."""

    application: str
    name: str
    version: str
    digest: str
    state: str
    size: int
    verified: int
    regions: list[str]
    weight_bp: dict[str, int]
    created_at: str
    warm_until: str | None
    failed_until: str | None
    secrets: list[SecretItem]
    machine_image: str
    machine_sizes: list[str]
    spot: bool
    adopted: NotRequired[bool]
    baseline_of: NotRequired[str]
    worker: NotRequired[bool]


class GroupItems(TypedDict):
    """One of the API's answers."""

    items: list[GroupItem]
    next: NotRequired[str]


class GroupTrafficItem(TypedDict):
    """One server group, over all regions that were asked. Each column has a number for each slot."""

    name: str
    version: str
    requests: list[int]
    errors: list[int]
    share: list[float | None]
    response_ms: list[float | None]


class GuardItem(TypedDict):
    """A rule, and what it says now."""

    rule: str
    refuses: bool
    text: str
    facts: dict[str, str | int | float | list[str] | None]
    remedy: RemedyItem | None


class History(TypedDict):
    """Rollouts, newest first."""

    items: list[RolloutItem]
    dropped_through: int
    next: int


class HookItem(TypedDict):
    """A hook of the settings."""

    name: str
    sender: str
    application: str
    policy: str
    path: str
    deliveries: int
    failed: int
    last_at: str | None


class HooksAnswer(TypedDict):
    """All hooks, by name."""

    items: list[HookItem]


class HostItem(TypedDict):
    """One host, asked of its agent just now."""

    name: str
    application: str
    region: str
    group: str
    phase: str
    address: str
    port: int
    digest: str
    age_seconds: float
    healthy_seconds: float
    trouble: str
    log_tail: str
    worn: str
    gone_at: str | None
    public_address: NotRequired[str]
    adopted: NotRequired[bool]
    baseline: NotRequired[bool]
    probes: NotRequired[list[ProbeItem]]


class HostsAnswer(TypedDict):
    """Hosts, and the regions that could not be asked."""

    items: list[HostItem]
    next: NotRequired[str]
    unreachable: dict[str, str]


class ImageItem(TypedDict):
    """A package in the store."""

    digest: str
    name: str
    size_bytes: int
    files: int
    pushed_at: str


class ImageItems(TypedDict):
    """One of the API's answers."""

    items: list[ImageItem]
    next: NotRequired[str]


class JobItem(TypedDict):
    """An attempt of a job; or a job that was not tried yet."""

    moment: str
    name: str
    region: str
    state: str
    attempt: int
    host: str
    asked_at: str | None
    began_at: str | None
    ended_at: str | None
    exit_code: int | None
    text: str
    log_tail: str
    settled: str
    settled_by: str
    settled_reason: str


class LiveMessage(TypedDict):
    """What the stream has: an event named as the topic, with its snapshot as data. `reset`: what the tab
    has kept is of another controller, or of one that has begun anew."""

    topic: str


class LogItem(TypedDict):
    """Lines that one host printed. `cut`: something is missing before them. `trouble`: why there are none,
    of the host or of its region. A stream that follows tells of a host first, though it has no lines."""

    region: str
    host: NotRequired[str]
    group: NotRequired[str]
    lines: NotRequired[list[str]]
    gone_at: NotRequired[str | None]
    cut: NotRequired[bool]
    trouble: NotRequired[str]
    position: NotRequired[str]


class LookItem(TypedDict):
    """One look of an analysis."""

    gate: str
    region: str
    run: int
    look: int
    judged: int
    count: int
    at: str
    since: float
    until: float
    regions: list[ComparedItem]
    judge: str
    outcome: str
    score: float | None
    pass_score: float | None
    marginal_score: float | None
    is_final: bool
    text: str
    metrics: list[MetricLookItem]


class MachineItem(TypedDict):
    """One machine of a region's pool."""

    region: str
    name: str
    address: str
    state: str
    host: str
    since: str | None
    reason: str


class MetricLookItem(TypedDict):
    """One metric of a look."""

    name: str
    kind: str
    unit: str
    source: str
    query: str
    total: str
    verdict: str
    rule: str
    text: str
    trouble: str
    is_critical: bool
    is_muted: bool
    baseline: SideItem | None
    canary: SideItem | None
    effect: float | None
    difference: float | None
    interval: list[float]
    p: float | None
    threshold: float | None
    step_seconds: float
    begins_at: float
    baseline_series: SeriesItem | None
    canary_series: SeriesItem | None


class NewTokenAnswer(TypedDict):
    """A new token. It is not shown again."""

    token: str
    item: TokenItem


class NoticeTargetItem(TypedDict):
    """A target of the settings."""

    name: str
    kind: str
    place: str
    state: str
    cursor: int
    waiting: int
    delivered: int
    delivered_at: str | None
    tries: int
    retry_at: str | None
    error: str
    dead_total: int
    dead: list[DeadItem]


class NoticeTargetsAnswer(TypedDict):
    """All of them, by name."""

    items: list[NoticeTargetItem]


class OrphanItem(TypedDict):
    """One host that no desired state is known to name."""

    name: str
    region: str
    group: str
    application: str
    phase: str
    age_seconds: float
    unclaimed_seconds: float
    state: str


class OrphansAnswer(TypedDict):
    """Orphans, and the regions that could not be asked."""

    items: list[OrphanItem]
    next: NotRequired[str]
    asked: list[str]
    unreachable: dict[str, str]


class OutlineAnswer(TypedDict):
    """What a client has to know before it asks for the release."""

    application: str
    sizes: dict[str, int]
    program: str
    uri: str
    package: str
    signature: str
    sha256: str
    text: str
    scaled: NotRequired[list[str]]


class PackedItem(TypedDict):
    """The packages of an application; "": those that no group, rollback or queue needs."""

    application: str
    packages: int
    bytes: int


class PassItem(TypedDict):
    """What a person let go on."""

    gate: str
    kind: str
    at: str
    by: str
    role: str
    reason: str
    regions: list[str]


class PersonItem(TypedDict):
    """Who has logged in with the issuer, as of the last time."""

    name: str
    issuer: str
    subject: str
    teams: list[str]
    admin: bool
    at: str


class PersonItems(TypedDict):
    """One of the API's answers."""

    items: list[PersonItem]
    next: NotRequired[str]


class PlanAnswer(TypedDict):
    """What a release would do; `id` holds as long as nothing changes."""

    id: str
    application: str
    group: str
    version: str
    signer: str
    origin: str
    strategy: str
    steps: list[PlanLine]
    waves: list[PlanWave]
    regions: list[PlanRegion]
    keeps: list[str]
    destroys: list[str]
    creates_hosts: int
    destroys_hosts: int
    peak_hosts: int
    at_least_seconds: float
    extra_host_hours: float
    cost: float | None
    currency: str
    rates: list[RatesItem]
    unpriced: list[str]
    prices_as_of: str
    fronts: list[FrontItem]
    jobs: list[PlanJob]
    secrets: list[SecretItem]
    changes: list[str]
    guards: list[GuardItem]
    back: Literal["", "switch", "grow", "build"]
    problems: list[str]
    hint: str
    warnings: list[str]
    drained: list[str]
    failed: list[str]
    keep_failed_seconds: float
    worker: NotRequired[bool]


class PlanJob(TypedDict):
    """A command that would run once."""

    moment: str
    name: str
    run: list[str]
    region: str
    timeout_seconds: float
    retries: int


class PlanLine(TypedDict):
    """What a step of the release would do."""

    kind: str
    text: str


class PlanMoment(TypedDict):
    """A region once a step is entered."""

    new_hosts: int
    old_hosts: int
    weight_bp: int
    seconds: float
    baseline_hosts: NotRequired[int]


class PlanRegion(TypedDict):
    """What it would take in one region."""

    name: str
    wave: int
    creates: int
    keeps_warm: int
    destroys: int
    peak: int
    floor: int
    extra_host_hours: float
    cost: float | None
    rates: RatesItem | None
    moments: list[PlanMoment]
    scaling: NotRequired[str]


class PlanWave(TypedDict):
    """Regions that go together."""

    regions: list[str]
    bake_seconds: float
    approve: str | None
    unless_objected_seconds: float
    expires_seconds: float
    parallel: int
    lockstep: bool


class PolledAnswer(TypedDict):
    """Either still pending, or a token."""

    pending: bool
    interval_seconds: NotRequired[float]
    token: NotRequired[str]
    name: NotRequired[str]
    expires_at: NotRequired[str | None]


class PoolAnswer(TypedDict):
    """Machines of all pools, and the regions that could not be asked."""

    items: list[MachineItem]
    next: NotRequired[str]
    asked: list[str]
    unreachable: dict[str, str]


class ProbeItem(TypedDict):
    """One probe of a host by its region's agent."""

    ago_seconds: float
    took_seconds: float
    passed: bool
    said: str


class Problem(TypedDict):
    """Why a request was refused, or failed (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    rule: str
    problems: list[ProblemPlace]
    facts: dict[str, str | int | float | list[str] | None]
    remedy: RemedyItem | None


class ProblemPlace(TypedDict):
    """One thing that is wrong. Of a spec also where it stands; of a body the field alone."""

    field: str
    message: str
    file: NotRequired[str]
    line: NotRequired[int]
    column: NotRequired[int]
    fix: NotRequired[str]


class PromotionItem(TypedDict):
    """The newest proposal for an application."""

    application: str
    source: str
    promotion: str
    version: str
    digest: str
    state: str
    text: str
    proposed_at: str
    by: str
    ended_at: str | None


class PromotionsAnswer(TypedDict):
    """All of them, by application."""

    items: list[PromotionItem]


class QueueAnswer(TypedDict):
    """The releases that wait, the next one first."""

    items: list[QueuedItem]
    next: NotRequired[str]
    stands: str
    since: str | None
    remedy: RemedyItem | None


class QueuedItem(TypedDict):
    """A release that waits."""

    number: int
    version: str
    digest: str
    regions: list[str]
    by: str
    reason: str
    queued_at: str | None
    replaces: bool


class RatesItem(TypedDict):
    """What hosts cost an hour, in one currency; what of it is not known is left out, never 0."""

    currency: str
    hourly_now: float
    hourly_peak: float
    hourly_kept: float
    hourly_after: float
    extra: float


class RecoveryAnswer(TypedDict):
    """What was adopted, or would be; no items when no region is ahead."""

    items: list[RecoveryItem]
    next: NotRequired[str]
    id: str
    incarnation: int | None
    waiting: dict[str, str]


class RecoveryItem(TypedDict):
    """One application that regions know better than the store."""

    application: str
    serving: str
    adopted: bool
    refused: str
    notes: list[str]
    lines: list[RecoveryLine]


class RecoveryLine(TypedDict):
    """One group in one region, as its agent has accepted it."""

    application: str
    region: str
    group: str
    state: str
    hosts: int
    weight_bp: int
    version: str
    digest: str
    is_stored: bool


class RegionBackItem(TypedDict):
    """The way back of one region."""

    name: str
    serving: str
    serving_version: str
    group: str
    version: str
    how: Literal["switch", "grow", "build"]
    has: int
    size: int
    healthy: int
    serving_healthy: int
    is_ill: bool
    is_away: bool
    at_least_seconds: float


class RegionGroupItem(TypedDict):
    """A server group in one region, as its agent reported it last."""

    name: str
    version: str
    state: str
    size: int
    launching: int
    starting: int
    healthy: int
    verified: int
    unhealthy: int
    failed: int
    destroying: int
    balancer_up: int
    weight_bp: int
    wanted_weight_bp: int
    in_flight: int
    launched_total: int
    destroyed_total: int
    trouble: str
    secrets: list[SecretItem]
    adopted: NotRequired[bool]
    baseline_of: NotRequired[str]
    worker: NotRequired[bool]


class RegionItem(TypedDict):
    """A region and its agent."""

    name: str
    connected: bool
    ahead: str
    since: str
    troubles: list[str]
    provider: str
    balancer: str
    agent_version: str
    traffic_address: str
    dns: str
    applications: int
    hosts: int
    launching: int
    destroying: int
    reported_at: str | None
    unused: bool
    instance: str
    by_lease: bool
    stand_by: str
    rival: str


class RegionItems(TypedDict):
    """One of the API's answers."""

    items: list[RegionItem]
    next: NotRequired[str]


class RegionPage(TypedDict):
    """Some regions of an application, in its order."""

    items: list[ApplicationRegionItem]
    next: NotRequired[str]


class RegionsAlike(TypedDict):
    """Regions of which the same can be said; the hosts of their groups are added up."""

    count: int
    names: list[str]
    connected: bool
    ahead: str
    current: bool
    troubles: list[str]
    groups: list[RegionGroupItem]


class RehearsalAnswer(TypedDict):
    """What `repave simulate -o json` prints. Times are seconds from the release command."""

    application: str
    is_fine: bool
    sizes_from: str
    is_whole_code: bool
    boot_seconds: float
    ill_after_seconds: float
    outage_seconds: float
    regions: list[dict[str, Any]]
    calm: dict[str, Any]
    rollbacks: list[dict[str, Any]]
    faults: list[dict[str, Any]]
    seeds: dict[str, Any]
    advice: list[dict[str, Any]]
    unhelped: list[Any]
    broken_promises: list[Any]


class RemedyItem(TypedDict):
    """What a person could do about it."""

    command: str
    arguments: list[str]
    options: dict[str, str | bool]
    text: str


class ReplayAnswer(TypedDict):
    """What was begun."""

    target: str
    from_sequence: int
    error: str


class RoleItem(TypedDict):
    """Who has a role for applications."""

    to: str
    role: str
    applications: str


class RolesAnswer(TypedDict):
    """The roles of the installation."""

    items: list[RoleItem]
    teams: list[TeamItem]


class RollbackPlanAnswer(TypedDict):
    """What a rollback would do."""

    application: str
    turns_round: str
    regions: list[RegionBackItem]
    stays: dict[str, str]
    now: bool
    warm: dict[str, str]
    at_least_seconds: float
    problems: list[str]


class RolloutItem(TypedDict):
    """One release or rollback."""

    number: int
    kind: str
    group: str
    version: str
    origin: str
    phase: str
    steps: list[StepItem]
    step: int
    passes: list[PassItem]
    paused_by: str
    started_at: str
    started_by: str
    reason: str
    ended_at: str | None
    outcome: str
    analyses: list[AnalysisItem]
    jobs: list[JobItem]
    waves: list[WaveItem]


class RolloutSummary(TypedDict):
    """As a rollout, with waves summed up."""

    number: int
    kind: str
    group: str
    version: str
    origin: str
    phase: str
    steps: list[StepItem]
    step: int
    passes: list[PassItem]
    paused_by: str
    started_at: str
    started_by: str
    reason: str
    ended_at: str | None
    outcome: str
    analyses: list[AnalysisItem]
    jobs: list[JobItem]
    waves: list[WaveSummary]


class RoomAnswer(TypedDict):
    """What a region's provider says of its room."""

    region: str
    hosts: int
    lack: str


class ScalingItem(TypedDict):
    """Of a region whose number of hosts is chosen within bounds."""

    min: int
    max: int
    by: str
    target: float
    hosts: int
    text: str
    before: int
    changed_at: str | None
    changed_by: str
    reason: str
    trouble: str


class ScopeItem(TypedDict):
    """A role for applications."""

    role: str
    applications: str


class SecretItem(TypedDict):
    """Where a secret of hosts is kept; what it is only hosts and their agent know."""

    name: str
    variable: str
    source: str
    where: str
    as_file: bool


class SeriesItem(TypedDict):
    """One side, step by step. Null: a step without a value."""

    values: list[float | None]
    events: list[float | None]
    trials: list[float | None]


class SideItem(TypedDict):
    """What one side of a metric came to. Null: there is nothing of it."""

    samples: int
    mean: float | None
    median: float | None
    low: float | None
    high: float | None
    events: float | None
    trials: float | None


class SizeChangeItem(TypedDict):
    """Of a server group in a region."""

    group: str
    region: str
    size: int
    new_size: int
    hosts: int
    new_hosts: int


class SizePlanAnswer(TypedDict):
    """What other numbers of hosts would do."""

    application: str
    changes: list[SizeChangeItem]
    starts_hosts: int
    ends_hosts: int
    problems: list[str]


class SpanItem(TypedDict):
    """A time."""

    begins_at: str
    ends_at: str


class SpecAnswer(TypedDict):
    """The spec that a server group was made of."""

    application: str
    group: str
    version: str
    digest: str
    text: str


class SpecFreezeItem(TypedDict):
    """A freeze of an application's spec."""

    begins_at: str
    ends_at: str
    zone: str
    reason: str


class StepItem(TypedDict):
    """One step of a rollout."""

    kind: str
    text: str
    state: str


class SuspectItem(TypedDict):
    """A release or rollback that had requests meanwhile."""

    application: str
    rollout: int
    kind: str
    group: str
    version: str
    started_at: str
    verdict: Literal["likely", "possible", "unlikely"]
    score: float
    regions: list[str]
    clues: list[ClueItem]


class SuspectsAnswer(TypedDict):
    """Without troubles there are no suspects."""

    text: str
    troubles: list[TroubleItem]
    items: list[SuspectItem]
    unknown: dict[str, str]
    left_out: int


class TableItem(TypedDict):
    """A table of the store with its indexes; "free": what rows that are gone have left."""

    name: str
    rows: int
    bytes: int


class TaintAnswer(TypedDict):
    """The host is replaced, once a fresh one is there."""

    application: str
    region: str
    group: str
    host: str
    is_joined: bool


class TeamItem(TypedDict):
    """Who is in a team."""

    name: str
    members: list[str]


class TokenAnswer(TypedDict):
    """What makes a machine the agent of a region, once. It is shown once."""

    region: str
    url: str
    token: str
    expires_at: str
    command: str


class TokenItem(TypedDict):
    """A token, without its secret."""

    id: str
    name: str
    state: str
    scopes: list[ScopeItem]
    note: str
    created_at: str
    created_by: str
    expires_at: str
    used_at: str | None
    used_from: str
    method: str
    revoked_at: str | None
    revoked_by: str


class TokensAnswer(TypedDict):
    """Tokens, newest first."""

    items: list[TokenItem]
    next: NotRequired[str]


class TrackItem(TypedDict):
    """How far one region is."""

    region: str
    phase: str
    step: int
    kind: str
    since: str | None
    reason: str
    group: str
    origin: str


class TracksAlike(TypedDict):
    """Regions that are equally far; all else is said of the one that came there last."""

    count: int
    names: list[str]
    region: str
    phase: str
    step: int
    kind: str
    since: str | None
    reason: str
    group: str
    origin: str


class TrafficAnswer(TypedDict):
    """What the balancers have counted. Slots without any request before the first are left out."""

    application: str
    step_seconds: int
    at: list[int]
    items: list[GroupTrafficItem]
    flips: list[FlipItem]
    kept_since: dict[str, str]
    unknown: dict[str, str]


class TroubleItem(TypedDict):
    """Errors of an application that rose in a region."""

    application: str
    region: str
    began_at: str
    ended_at: str | None
    rate_before: float
    rate: float
    requests: int
    errors: int


class TrustItem(TypedDict):
    """Jobs that may log in."""

    id: str
    name: str
    issuer: str
    claims: dict[str, str]
    audience: str
    expires_seconds: float
    created_by: str
    created_at: str


class TrustsAnswer(TypedDict):
    """The first one that a job's token fits counts."""

    items: list[TrustItem]
    next: NotRequired[str]


class WaveItem(TypedDict):
    """Regions that go together."""

    bake_seconds: float
    approve: str | None
    unless_objected_seconds: float
    expires_seconds: float
    parallel: int
    lockstep: bool
    regions: list[TrackItem]


class WaveSummary(TypedDict):
    """As a wave, with the regions that are equally far in one item."""

    bake_seconds: float
    approve: str | None
    unless_objected_seconds: float
    expires_seconds: float
    parallel: int
    lockstep: bool
    regions: list[TracksAlike]


class WaysAnswer(TypedDict):
    """How people log in. With a token of an admin they always can."""

    issuer: str
    device: bool
    browser: bool


class WhoAnswer(TypedDict):
    """Who calls."""

    name: str
    kind: str
    roles: list[ScopeItem]
    teams: list[str]
    scopes: list[ScopeItem]
    token: str
    expires_at: str | None
    method: NotRequired[str]
    issuer: NotRequired[str]
    subject: NotRequired[str]
    csrf: NotRequired[str]


class WhyAnswer(TypedDict):
    """What an application waits for."""

    application: str
    text: str
    because: list[BecauseItem]
    troubles: dict[str, list[str]]
    secrets: dict[str, list[SecretItem]]


class WhySummary(TypedDict):
    """What an application waits for, that fits a screen."""

    application: str
    text: str
    because: list[BecauseAlike]
    waits_left: int
    troubles: dict[str, list[str]]
    troubles_left: int


class WornItem(TypedDict):
    """A host that is to be replaced."""

    host: str
    why: str
    text: str
    by: str
    is_replaced: bool
