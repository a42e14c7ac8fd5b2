"""The section `regions` of a spec: where hosts are, how many, and what differs there from the other
regions."""

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_serializer, model_validator
from pydantic_core import PydanticKnownError

from repave_controller.core.domain.bounds import SIZE_MAX
from repave_controller.core.domain.scaling import Scaling
from repave_controller.spec.quantities import (
    Amount,
    PositiveDuration,
    PositiveShare,
    Price,
    Share,
    Sizes,
    wrong,
)
from repave_controller.spec.sections import (
    Environment,
    KindName,
    Label,
    Line,
    MachineImage,
    Section,
    as_written,
    check_region_name,
    contradiction,
)
from repave_protos.protocol.values import RegionName

QUERY_LENGTH_MAX = 4096
EVERY_SECONDS_MIN = 1.0
WINDOW_SECONDS_MAX = 1800.0
STEADY_SECONDS_MAX = 6 * 3600.0
BY_GROUP = ("{group}", "{version}")
NO_CPU = (
    "repave does not see the CPU of hosts: take by: metric, with a query of one of the controller's sources "
    "that says how busy a host is, and value: average"
)
METRIC_ONLY = ("source", "query", "value")
CHOSEN_ONLY = ("target", "every", "over", "steady", "tolerance", "step")


class RegionHost(Section):
    """What a fresh host is made of in this region, where that is not what `host` says."""

    image: MachineImage | None = Field(None, description="As host.image.")
    size: Sizes | None = Field(None, description="As host.size.")
    spot: bool | None = Field(None, description="As host.spot.")


def _check_by(written: object) -> object:
    if written == "cpu":
        raise wrong(NO_CPU)
    return written


class SizeSection(Section):
    """How many hosts: a number, or bounds within which it is chosen."""

    min: Annotated[int, Field(ge=1, le=SIZE_MAX)] = Field(
        description="Never fewer; a first release begins with so many."
    )
    max: Annotated[int, Field(ge=1, le=SIZE_MAX)] = Field(description="Never more.")
    by: Annotated[Literal["requests", "queue", "metric"], BeforeValidator(_check_by)] | None = Field(
        None,
        description="What the number follows: `requests` that the region's balancer counts; its `queue`, "
        "those in flight; or a `metric`, which a query reads. If left out, only `repave scale` changes it.",
    )
    target: Amount | None = Field(
        None, description="What each host is to have: requests a second, in flight, or of the metric."
    )
    source: Line | None = Field(None, description="Of a metric: a source of the controller's settings.")
    query: Annotated[str, Field(min_length=1, max_length=QUERY_LENGTH_MAX)] | None = Field(
        None, description="Of a metric: what the source is asked for, with {application} and {region}."
    )
    value: Literal["total", "average"] = Field(
        "total",
        description="Of a metric: what all hosts have together, such as jobs that wait; or what each has, "
        "such as CPU.",
    )
    every: PositiveDuration = Field(as_written("15s"), description="How often the numbers are looked at.")
    over: PositiveDuration = Field(as_written("1m"), description="The time whose mean counts.")
    steady: PositiveDuration = Field(
        as_written("5m"), description="How long fewer hosts would have done before some of them end."
    )
    tolerance: Share = Field(as_written("10%"), description="So far off the target nothing changes.")
    step: PositiveShare = Field(
        as_written("50%"),
        description="At most this share of the hosts comes or goes at once, and at least one.",
    )

    @model_validator(mode="before")
    @classmethod
    def _from_number(cls, written: Any) -> Any:
        """A number is both bounds."""
        if isinstance(written, dict | SizeSection):
            return written
        if isinstance(written, bool) or not isinstance(written, int):
            raise PydanticKnownError("int_type")
        if written < 1:
            raise PydanticKnownError("greater_than_equal", {"ge": 1})
        if written > SIZE_MAX:
            raise PydanticKnownError("less_than_equal", {"le": SIZE_MAX})
        return {"min": written, "max": written}

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        if self.min > self.max:
            raise contradiction(
                f"min can't be more than max: at least {self.min}, at most {self.max} hosts",
                ("min",),
                ("max",),
            )
        given = self.model_fields_set
        if self.by is None:
            idle = next((name for name in (*METRIC_ONLY, *CHOSEN_ONLY) if name in given), None)
            if idle is not None:
                raise contradiction(
                    "nothing chooses the number: say by what (requests, queue or metric), or leave this out",
                    (idle,),
                )
            return self
        if self.target is None:
            raise contradiction("say what each host is to have of it: target: 50", ("by",))
        if self.by == "metric":
            self._check_metric()
        elif idle := next((name for name in METRIC_ONLY if name in given), None):
            raise contradiction(
                f"the balancer's numbers need no {idle}: leave it out, or write by: metric", ("by",), (idle,)
            )
        self._check_times()
        return self

    def _check_metric(self) -> None:
        if self.source is None or self.query is None:
            raise contradiction(
                "say where it is read and what is asked: source: prometheus, query: ...", ("by",)
            )
        named = next((each for each in BY_GROUP if each in self.query), None)
        if named is not None:
            raise contradiction(
                f"the hosts of all groups in the region count: leave {named} out of the query", ("query",)
            )

    def _check_times(self) -> None:
        if self.every < EVERY_SECONDS_MIN:
            raise contradiction("at least 1s", ("every",))
        if self.over > WINDOW_SECONDS_MAX:
            raise contradiction("at most 30m: a longer mean tells too late", ("over",))
        if not self.over <= self.steady <= STEADY_SECONDS_MAX:
            raise contradiction(
                "hosts end only after a time at least as long as what a mean is taken of, and at most 6h: "
                "over <= steady <= 6h",
                ("steady",),
                ("over",),
            )

    @model_serializer(mode="wrap")
    def _as_written(self, write: Any) -> Any:
        return write(self) if self.is_range else self.min

    @property
    def is_range(self) -> bool:
        return self.by is not None or self.min < self.max

    def scaling(self, region: str) -> Scaling:
        return Scaling(
            RegionName(region),
            self.min,
            self.max,
            self.by or "command",
            self.target or 0.0,
            self.source or "",
            self.query or "",
            self.value == "average",
            self.every,
            self.over,
            self.steady,
            self.tolerance,
            self.step,
        )


class _OrNumber:
    """In the schema, a number as well."""

    def __get_pydantic_json_schema__(self, core: Any, handler: Any) -> dict[str, Any]:
        return {"anyOf": [{"type": "integer", "minimum": 1, "maximum": SIZE_MAX}, handler(core)]}


class Region(Section):
    """A place with hosts of the application."""

    name: Annotated[str, AfterValidator(check_region_name)] = Field(description="As its agent is set up.")
    provider: KindName | None = Field(
        None,
        description="What must make hosts there: `local`, `ssh_pool` or `openstack`; the region's own if "
        "left out.",
    )
    size: Annotated[SizeSection, _OrNumber()] = Field(
        description="How many hosts: a number, or bounds and what it follows within them."
    )
    env: Environment = Field({}, description="Environment of the command here: beside host.env, and over it.")
    host: RegionHost | None = Field(None, description="What a host is made of here, over `host`.")
    labels: dict[Label, Label] = Field({}, description="Any marks, for waves to choose by: {tier: edge}.")
    cost_per_hour: Price | None = Field(None, description="What a host costs an hour here.")

    @property
    def hosts(self) -> int:
        """That a first release has."""
        return self.size.min

    @property
    def scaling(self) -> Scaling | None:
        """None: the number is that of the spec."""
        return self.size.scaling(self.name) if self.size.is_range else None
