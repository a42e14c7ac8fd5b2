"""How a new group is compared with the old one, as written in a spec: the section `analysis`, which has what
holds for all of its analyses, and `analyse`, which stands where one is made and may say otherwise.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from repave_controller.core.analysis.judge import scores_objection
from repave_controller.core.analysis.values import (
    Direction,
    JudgeConfig,
    JudgeName,
    Metric,
    MetricKind,
    NanStrategy,
    OutlierStrategy,
)
from repave_controller.core.domain.analyses import AnalysisPlan, Reading
from repave_controller.spec.quantities import Duration, PositiveDuration, Rate, Share, wrong
from repave_controller.spec.sections import Line, Section, as_written, contradiction

LOOKS_MAX = 1000
METRICS_MAX = 50
BALANCER = "balancer"
COUNTED = ("errors", "latency", "requests")
"""What the balancer of a region counts for each server group."""
QUERY_LENGTH_MAX = 4096

Query = Annotated[str, Field(min_length=1, max_length=QUERY_LENGTH_MAX)]
Count = Annotated[int, Field(ge=0, le=LOOKS_MAX)]
Kind = Literal["rate", "count", "value"]


class JudgeSection(Section):
    """Who judges, and how strictly."""

    name: Literal["repave-v1", "kayenta-v1"] = Field(
        "repave-v1", description="`kayenta-v1` decides as NetflixACAJudge-v1.0 of Kayenta does."
    )
    pass_score: Annotated[int, Field(ge=0, le=100)] | None = Field(
        None, description="A score of so much passes; the judge's own if left out."
    )
    marginal_score: Annotated[int, Field(ge=0, le=100)] | None = Field(
        None, description="A score below this fails; in between it is for a person to say."
    )
    false_alarms: Share = Field(
        as_written("1%"),
        description="repave-v1: how often at most a good version is called bad, over all looks and metrics.",
    )
    weights: dict[Line, Share] = Field(
        {}, description="How much of the score each group of metrics has; the others share the rest."
    )

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, written: Any) -> Any:
        """A text is the name."""
        return {"name": written} if isinstance(written, str) else written

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        if why := scores_objection(self.config):
            raise contradiction(why, ("pass_score",), ("marginal_score",))
        if sum(self.weights.values()) > 100:
            raise contradiction(
                f"the weights come to {sum(self.weights.values()):g}%: at most 100%", ("weights",)
            )
        if not 0 < self.false_alarms <= 50:
            raise contradiction("more than 0% and at most 50%, such as 1%", ("false_alarms",))
        return self

    @property
    def config(self) -> JudgeConfig:
        return JudgeConfig(
            JudgeName(self.name),
            self.pass_score,
            self.marginal_score,
            tuple(sorted(self.weights.items())),
            self.false_alarms / 100,
        )


class MetricSection(Section):
    """One metric that is compared."""

    name: Line = Field(description="What people call it.")
    source: Line = Field(
        BALANCER, description="`balancer`, or a source of the controller's settings, analysis.sources."
    )
    query: Query | None = Field(
        None,
        description="What the source is asked for: of the balancer errors, latency or requests; else in the "
        "source's words, with {group}, {region}, {application} and {version} for the side.",
    )
    total: Query | None = Field(
        None, description="Of a rate: what the events are counted out of, in the source's words."
    )
    kind: Kind | None = Field(
        None, description="`rate`: events out of trials. `count`: events. `value`: a quantity (default)."
    )
    direction: Literal["increase", "decrease", "either"] = Field(
        "increase", description="Which change is bad."
    )
    critical: bool = Field(False, description="If it is worse, that alone fails the release.")
    must_have_data: bool = Field(False, description="Without numbers of it nothing passes.")
    muted: bool = Field(False, description="Shown, but counts for nothing.")
    groups: Annotated[tuple[Line, ...], Field(strict=False, max_length=METRICS_MAX)] = Field(
        (), description="Groups of metrics that it counts for."
    )
    least_effect: Share | None = Field(
        None, description="Changes by less than this share of the old group's number do not matter."
    )
    least_difference: Annotated[float, Field(ge=0)] | None = Field(
        None, description="Nor do smaller differences, in the metric's unit; of a rate in parts of one."
    )
    min_samples: Annotated[int, Field(ge=1, le=1_000_000)] | None = Field(
        None, description="With fewer requests or values nothing is decided."
    )
    missing: Literal["remove", "zero"] = Field("remove", description="What a gap in the numbers stands for.")
    outliers: Literal["keep", "remove"] = Field("keep", description="What becomes of values far off.")

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        if self.source == BALANCER:
            self._check_balancer()
        elif self.query is None:
            raise contradiction(f"say what {self.source} is asked for: query: ...", ("source",))
        elif (self.kind == "rate") != (self.total is not None):
            raise contradiction(
                "a rate is events out of a total: give both, kind: rate and total: ..., or neither",
                ("kind",),
                ("total",),
            )
        return self

    def _check_balancer(self) -> None:
        asked = self.query or self.name
        if asked not in COUNTED:
            raise contradiction(
                f"a balancer counts {', '.join(COUNTED)}, not {asked}: take one of these, or another source",
                ("query",) if self.query else ("name",),
            )
        if self.total is not None or self.kind is not None:
            raise contradiction(
                "of the balancer's numbers the kind is known: leave it out", ("kind",), ("total",)
            )

    @property
    def reading(self) -> Reading:
        asked = self.query or self.name
        is_latency = (self.source, asked) == (BALANCER, "latency")
        least = LATENCY_LEAST_SECONDS if is_latency else 0.0
        kind = BALANCER_KINDS[asked] if self.source == BALANCER else MetricKind(self.kind or "value")
        metric = Metric(
            self.name,
            kind,
            Direction(self.direction),
            is_critical=self.critical,
            must_have_data=self.must_have_data,
            is_muted=self.muted,
            groups=self.groups,
            nan=NanStrategy.REPLACE if self.missing == "zero" else NanStrategy.REMOVE,
            outliers=OutlierStrategy(self.outliers),
            least_effect=self.least_effect / 100 if self.least_effect is not None else None,
            min_samples=self.min_samples,
            least_difference=least if self.least_difference is None else self.least_difference,
            unit="s" if is_latency else "",
        )
        return Reading(metric, self.source, asked, self.total or "")


BALANCER_KINDS = {"errors": MetricKind.RATE, "latency": MetricKind.VALUE, "requests": MetricKind.COUNT}
LATENCY_LEAST_SECONDS = 0.0015
"""Balancers tell whole milliseconds: a difference of one may be none."""

USUAL: tuple[Mapping[str, Any], ...] = (
    {"name": "errors", "critical": True, "must_have_data": True},
    {"name": "latency"},
)
"""What the balancer counts anyway."""


class AnalyseSection(Section):
    """One analysis; what it does not say is as in the section `analysis`."""

    interval: PositiveDuration | None = Field(None, description="From one look to the next.")
    count: Annotated[int, Field(ge=1, le=LOOKS_MAX)] | None = Field(
        None, description="How many looks have to be judged; beside `hold` or `warm` it follows from these."
    )
    warm_up: Duration | None = Field(
        None, description="So long after the step before nothing is counted: caches fill, pools connect."
    )
    look_back: PositiveDuration | None = Field(
        None, description="How much time a look sees; all since the warm-up if left out."
    )
    failure_limit: Count | None = Field(None, description="So many looks may find it worse.")
    inconclusive_limit: Count | None = Field(
        None, description="So many looks may find neither; if left out, only the last one may not."
    )
    error_limit: Count | None = Field(None, description="So many looks in a row may find no numbers.")
    source_deadline: PositiveDuration | None = Field(
        None, description="So long without a look that could be judged, then the release is held."
    )
    on_inconclusive: Literal["hold", "rollback", "pass"] | None = Field(
        None,
        description="What becomes of a release that can't be told from the old one surely enough; a marginal "
        "one never passes.",
    )
    ends_early: bool | None = Field(
        None, description="Whether it goes on as soon as the new group is clearly as good."
    )
    by: Literal["wave", "region"] | None = Field(
        None, description="Whose numbers are put together; a wave's in lock-step, else each region's alone."
    )
    baseline: Literal["current", "fresh"] | None = Field(
        None, description="What it is compared with: the hosts that serve, or fresh ones of the old version."
    )
    judge: JudgeSection | None = Field(None, description="Who judges.")
    metrics: (
        Annotated[tuple[MetricSection, ...], Field(strict=False, min_length=1, max_length=METRICS_MAX)] | None
    ) = Field(
        None, description="What is compared; errors and latency as the balancer counts them if left out."
    )

    @model_validator(mode="before")
    @classmethod
    def _from_true(cls, written: Any) -> Any:
        """`true`: as the section `analysis` says."""
        if written is False:
            raise wrong("leave it out, or write true, or a mapping such as {count: 10}")
        return {} if written is True else written

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        names = [each.name for each in self.metrics or ()]
        twice = next((index for index, name in enumerate(names) if name in names[:index]), None)
        if twice is not None:
            raise contradiction(f"{names[twice]} is there twice", ("metrics", twice, "name"))
        if self.metrics is not None and all(each.muted for each in self.metrics):
            raise contradiction("all metrics are muted: nothing would be judged", ("metrics",))
        return self


class AnalysisSection(AnalyseSection):
    """What holds for every analysis of this application that does not say otherwise."""

    expected_rate: Rate | None = Field(
        None, description="Requests of the application, such as 20/s: the plan says if that is too few."
    )


class _OrTrue:
    """In the schema, `true` as well."""

    def __get_pydantic_json_schema__(self, core: Any, handler: Any) -> dict[str, Any]:
        return {"anyOf": [{"const": True}, handler(core)]}


Analyse = Annotated[AnalyseSection, _OrTrue()]

DEFAULTS: Mapping[str, Any] = {
    "interval": 60.0,
    "count": 10,
    "warm_up": 0.0,
    "failure_limit": 0,
    "error_limit": 4,
    "source_deadline": 600.0,
    "on_inconclusive": "hold",
    "ends_early": False,
    "baseline": "current",
}


def plan_of(
    analyse: AnalyseSection | None, general: AnalysisSection | None, seconds: float = 0.0
) -> AnalysisPlan | None:
    """`seconds`: for how long the stage holds, where it says so. Raises where they don't agree."""
    if analyse is None:
        return None

    def asked(name: str) -> Any:
        for section in (analyse, general):
            value = getattr(section, name, None)
            if value is not None:
                return value
        return DEFAULTS.get(name)

    warm_up, interval, count = asked("warm_up"), asked("interval"), asked("count")
    if seconds:
        interval, count = _within(analyse, seconds, warm_up, interval)
    judge = asked("judge") or JudgeSection.model_validate({})
    metrics = asked("metrics") or tuple(MetricSection.model_validate(each) for each in USUAL)
    return AnalysisPlan(
        judge=replace(judge.config, is_sliding=asked("look_back") is not None),
        readings=tuple(each.reading for each in metrics),
        interval_seconds=interval,
        count=count,
        warm_up_seconds=warm_up,
        look_back_seconds=asked("look_back") or 0.0,
        failure_limit=asked("failure_limit"),
        inconclusive_limit=asked("inconclusive_limit"),
        error_limit=asked("error_limit"),
        source_deadline_seconds=asked("source_deadline"),
        on_inconclusive=asked("on_inconclusive"),
        may_end_early=asked("ends_early"),
        scope=asked("by") or "",
        baseline=asked("baseline"),
        expected_rate=general.expected_rate or 0.0 if general is not None else 0.0,
    )


def _within(analyse: AnalyseSection, seconds: float, warm_up: float, interval: float) -> tuple[float, int]:
    """(interval, count) of the looks in a time that is given, up to its end."""
    if analyse.count is not None:
        raise contradiction(
            "how long it is watched says how many looks there are: leave out count, or that time",
            ("analyse", "count"),
        )
    left = seconds - warm_up
    if left <= 0:
        raise contradiction(
            f"the warm-up of {warm_up:g} s leaves nothing of the {seconds:g} s that it is watched",
            ("analyse", "warm_up"),
        )
    if interval > left:
        if analyse.interval is not None:
            raise contradiction(
                f"no look comes within the {left:g} s that are left: a shorter interval, or a longer time",
                ("analyse", "interval"),
            )
        interval = left
    count = min(LOOKS_MAX, int(left / interval + 1e-9))
    return left / count, count
