"""What a release would do, as the API tells it."""

from typing import Literal

from pydantic import Field

from repave_controller.api.answers.answer import Answer
from repave_controller.api.answers.fronts import FrontItem, front_items
from repave_controller.api.answers.reasons import FactValue, RemedyItem, facts_of, remedy_item
from repave_controller.api.answers.secrets import SecretItem, secret_items
from repave_controller.core.domain.jobs import Job, Moment
from repave_controller.core.domain.rollout import Wave
from repave_controller.core.planning.plan import Plan, RegionPlan
from repave_controller.core.planning.prices import Rates
from repave_controller.core.rules.guards import Guard
from repave_controller.core.steps.step import describe
from repave_controller.wording.render import text_of
from repave_controller.wording.scaling import bounds_text


class PlanLine(Answer):
    """What a step of the release would do."""

    kind: str
    text: str


class PlanMoment(Answer):
    """A region once a step is entered."""

    new_hosts: int
    old_hosts: int
    weight_bp: int
    seconds: float
    baseline_hosts: int = Field(
        0, description="Fresh ones of the old version, which the new ones are compared with."
    )


class PlanWave(Answer):
    """Regions that go together."""

    regions: list[str]
    bake_seconds: float
    approve: str | None
    unless_objected_seconds: float = Field(description="After so long no approval is needed; 0: it is.")
    expires_seconds: float = Field(description="The approval is waited for so long; 0: for ever.")
    parallel: int
    lockstep: bool


class GuardItem(Answer):
    """A rule, and what it says now."""

    rule: str
    refuses: bool
    text: str
    facts: dict[str, FactValue]
    remedy: RemedyItem | None


class RatesItem(Answer):
    """What hosts cost an hour, in one currency; what of it is not known is left out, never 0."""

    currency: str
    hourly_now: float
    hourly_peak: float = Field(description="At the moment when the hosts of both groups cost most.")
    hourly_kept: float = Field(description="Once the release has succeeded, while old groups are kept.")
    hourly_after: float = Field(description="Once these are gone.")
    extra: float = Field(
        description="Of the whole release, more than going on as now: each step in its shortest time, groups "
        "that are kept after it for all of theirs, machines of the first size that the spec names."
    )


class PlanRegion(Answer):
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
    rates: RatesItem | None = Field(description="null: the price of some host is not known.")
    moments: list[PlanMoment] = Field(description="One a step.")
    scaling: str = Field("", description="Within what, and by what, the number of its hosts is chosen.")


class PlanJob(Answer):
    """A command that would run once."""

    moment: str = Field(description="before, after or on_rollback.")
    name: str
    run: list[str]
    region: str
    timeout_seconds: float
    retries: int


class PlanAnswer(Answer):
    """What a release would do; `id` holds as long as nothing changes."""

    id: str
    application: str
    group: str
    version: str
    signer: str = Field(
        description="The key or identity that signed the package, where settings ask for one."
    )
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
    cost: float | None = Field(description="What it costs more than going on as now, in the one currency.")
    currency: str
    rates: list[RatesItem] = Field(description="One for each currency, of the regions with a price.")
    unpriced: list[str] = Field(description="Of what a price is not known, by region.")
    prices_as_of: str = Field(description="The date of the controller's table of prices, where it counts.")
    fronts: list[FrontItem] = Field(
        description="The ways by which clients would reach it, the main one first."
    )
    jobs: list[PlanJob] = Field(description="What runs once in it, in the order in which it does.")
    secrets: list[SecretItem] = Field(description="Where those of its hosts are kept.")
    changes: list[str] = Field(description="In what it differs from the group that serves.")
    guards: list[GuardItem]
    back: Literal["", "switch", "grow", "build"] = Field(
        description="What going back takes after it: one switch, hosts first, or a group built again."
    )
    problems: list[str] = Field(description="Why it would be refused now; empty when it would not.")
    hint: str = Field(description="A shorter way; empty where there is none.")
    warnings: list[str] = Field(
        description="What its analyses will not see in their time, by the rate that the spec expects."
    )
    drained: list[str] = Field(description="Its regions that stay out of DNS, as a person has asked.")
    failed: list[str] = Field(description="Failed groups whose hosts are kept to be looked at.")
    keep_failed_seconds: float = Field(
        description="How long the hosts of this release are kept, should it fail; 0: they end at once."
    )
    worker: bool = Field(False, description="It takes no requests: weights are shares of the work.")


def plan_answer(plan: Plan, version: str, signer: str = "") -> PlanAnswer:
    return PlanAnswer(
        id=plan.id,
        application=plan.application,
        group=plan.group,
        version=version,
        signer=signer,
        origin=plan.origin or "",
        strategy=plan.strategy,
        steps=[PlanLine(kind=step.kind, text=describe(step)) for step in plan.steps],
        waves=[_wave(each) for each in plan.waves],
        regions=[_plan_region(region) for region in plan.regions],
        keeps=list(plan.keeps),
        destroys=list(plan.destroys),
        creates_hosts=sum(region.creates for region in plan.regions),
        destroys_hosts=sum(region.destroys for region in plan.regions),
        peak_hosts=sum(region.peak for region in plan.regions),
        at_least_seconds=plan.at_least_seconds,
        extra_host_hours=round(plan.extra_host_hours, 2),
        cost=round(plan.rates[0].extra, 2) if len(plan.rates) == 1 else None,
        currency=plan.rates[0].currency if len(plan.rates) == 1 else "",
        rates=[_rates(each) for each in plan.rates],
        unpriced=list(plan.unpriced),
        prices_as_of=plan.prices_as_of,
        fronts=front_items(plan.fronts, plan.port),
        jobs=[_job(moment, job) for moment, job in plan.jobs.named],
        secrets=secret_items(plan.secrets),
        drained=list(plan.drained),
        changes=list(plan.changes),
        guards=[_guard(each) for each in plan.guards],
        back=plan.back,
        problems=[text_of(each) for each in plan.problems],
        hint=text_of(plan.hint),
        warnings=[text_of(each) for each in plan.warnings],
        failed=list(plan.failed),
        keep_failed_seconds=plan.keep_failed_seconds,
        worker=plan.is_worker,
    )


def _job(moment: Moment, job: Job) -> PlanJob:
    return PlanJob(
        moment=str(moment),
        name=job.name,
        run=list(job.run),
        region=job.region or "",
        timeout_seconds=job.timeout_seconds,
        retries=job.retries,
    )


def _wave(wave: Wave) -> PlanWave:
    return PlanWave(
        regions=list(wave.regions),
        bake_seconds=wave.bake_seconds,
        approve=wave.approve,
        unless_objected_seconds=wave.unless_objected_seconds,
        expires_seconds=wave.expires_seconds,
        parallel=wave.parallel,
        lockstep=wave.is_lockstep,
    )


def _guard(guard: Guard) -> GuardItem:
    return GuardItem(
        rule=guard.rule,
        refuses=guard.refuses,
        text=text_of(guard.reason),
        facts=facts_of(guard.reason),
        remedy=remedy_item(guard.reason),
    )


def _plan_region(region: RegionPlan) -> PlanRegion:
    return PlanRegion(
        name=region.name,
        wave=region.wave + 1,
        creates=region.creates,
        keeps_warm=region.keeps_warm,
        destroys=region.destroys,
        peak=region.peak,
        floor=region.floor,
        extra_host_hours=round(region.extra_host_hours, 2),
        cost=None if region.cost is None else round(region.cost, 2),
        rates=None if region.rates is None else _rates(region.rates),
        moments=[
            PlanMoment(
                new_hosts=each.new_hosts,
                old_hosts=each.old_hosts,
                baseline_hosts=each.baseline_hosts,
                weight_bp=each.weight_bp,
                seconds=each.seconds,
            )
            for each in region.moments
        ],
        scaling=bounds_text(region.scaling) if region.scaling is not None else "",
    )


def _rates(rates: Rates) -> RatesItem:
    return RatesItem(
        currency=rates.currency,
        hourly_now=round(rates.now, 4),
        hourly_peak=round(rates.peak, 4),
        hourly_kept=round(rates.kept, 4),
        hourly_after=round(rates.after, 4),
        extra=round(rates.extra, 2),
    )
