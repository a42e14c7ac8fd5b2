"""How a release goes, as written in a spec: the strategy and the waves. strategies/ has what they become."""

import itertools
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Annotated, Any, Self

from pydantic import Field, GetJsonSchemaHandler, model_validator
from pydantic_core import PydanticCustomError

from repave_controller.core.domain.application import FULL_PERCENT, Policy
from repave_controller.core.domain.bounds import REGIONS_MAX, SIZE_MAX
from repave_controller.core.domain.rollout import Step, Wave
from repave_controller.core.strategies import presets
from repave_controller.core.strategies.checks import objection
from repave_controller.core.strategies.presets import Pace, Stage
from repave_controller.spec.analysis import Analyse, AnalysisSection, plan_of
from repave_controller.spec.quantities import Duration, PositiveDuration, PositiveShare, Share, wrong
from repave_controller.spec.regions import Region
from repave_controller.spec.sections import Line, Section, as_written, contradiction
from repave_protos.protocol.values import FULL_WEIGHT_BP, RegionName

STEPS_MAX = 50
REST = "rest"


class Approval(Section):
    """A person must say yes; or may say no within a time, after which it goes on by itself."""

    role: Line = Field("", description="Role that must say yes; any person if left out.")
    unless_objected: PositiveDuration | None = Field(
        None, description="After so long it goes on, if no person has objected (`repave object`, or a pause)."
    )

    expires: Duration | None = Field(
        None,
        description="How long it is waited for, before that is a failure; 0s: for ever; "
        "guards.approval_expires if left out. After an objection it counts from there.",
    )

    distinct: bool = Field(
        True, description="Whether who released may not approve too, where people have accounts."
    )

    @model_validator(mode="before")
    @classmethod
    def _from_role(cls, written: Any) -> Any:
        """A text is the role."""
        if isinstance(written, str):
            return {"role": written}
        if not isinstance(written, dict | Approval):
            raise wrong("write a role, or a mapping such as {role: sre, unless_objected: 30m}")
        return written


class _OrText:
    """In the schema, a text as well."""

    def __get_pydantic_json_schema__(self, core: Any, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"anyOf": [{"type": "string"}, handler(core)]}


Approve = Annotated[Approval, _OrText()]


def _takes_two(approve: Approval | None) -> bool:
    return approve is None or approve.distinct


def _role(approve: Approval | None) -> str | None:
    return approve.role if approve is not None else None


def _objection_seconds(approve: Approval | None) -> float:
    return approve.unless_objected or 0.0 if approve is not None else 0.0


def _expires_seconds(approve: Approval | None, general: float) -> float:
    """`general`: of an approval that does not say."""
    return general if approve is None or approve.expires is None else approve.expires


ANALYSE = (
    "Compares the new group with the old one meanwhile: true, or what differs from the section `analysis`."
)


class BlueGreen(Section):
    """The whole new group beside the old one, then all traffic at once."""

    warm: Duration = Field(
        as_written("5m"),
        description="How long the new group is watched after the flip; if it falls ill, traffic goes back.",
    )
    analyse: Analyse | None = Field(None, description=ANALYSE)
    approve: Approve | None = Field(None, description="Role that must say yes before the flip.")

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        plan_of(self.analyse, None, self.warm)
        return self


class Highlander(Section):
    """As blue/green; then nothing of the old group is kept."""

    warm: Duration = Field(as_written("5m"), description="How long the new group is watched after the flip.")
    analyse: Analyse | None = Field(None, description=ANALYSE)

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        plan_of(self.analyse, None, self.warm)
        return self


class StageSection(Section):
    """One share of the traffic, and what happens before the next one."""

    traffic: PositiveShare = Field(description="Share of the requests that the new group gets.")
    hold: Duration = Field(as_written("0s"), description="How long it is watched at this share.")
    analyse: Analyse | None = Field(None, description=ANALYSE)
    approve: Approve | None = Field(None, description="Role that must say yes before the next step.")

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        plan_of(self.analyse, None, self.hold)
        return self

    def stage(self, expires_seconds: float, general: AnalysisSection | None) -> Stage:
        return Stage(
            round(self.traffic * 100),
            self.hold,
            _role(self.approve),
            _objection_seconds(self.approve),
            _expires_seconds(self.approve, expires_seconds),
            _takes_two(self.approve),
            plan_of(self.analyse, general, self.hold),
        )


Stages = Annotated[tuple[StageSection, ...], Field(strict=False, min_length=1, max_length=STEPS_MAX)]


def _growing(
    stages: Sequence[StageSection], expires_seconds: float = 0.0, general: AnalysisSection | None = None
) -> list[Stage]:
    """The stages, with all of the traffic as the last one. Raises where a share does not grow."""
    for index, (before, after) in enumerate(itertools.pairwise(stages)):
        if after.traffic <= before.traffic:
            raise contradiction(
                f"shares must grow: {after.traffic:g}% comes after {before.traffic:g}%",
                ("steps", index + 1, "traffic"),
            )
    found = [each.stage(expires_seconds, general) for each in stages]
    if found[-1].weight_bp < FULL_WEIGHT_BP:
        found.append(Stage(FULL_WEIGHT_BP))
    return found


class Canary(Section):
    """A small share of the traffic first, with as many new hosts as it takes, then more and more."""

    steps: Stages = Field(description="The shares, growing; all of the traffic comes last.")
    headroom: Share = Field(
        as_written("20%"), description="How many more hosts the new group has than its share would take."
    )
    min_hosts: Annotated[int, Field(ge=1, le=SIZE_MAX)] = Field(
        1, description="At least so many new hosts in every region at every share, or all of a smaller one."
    )

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        _growing(self.steps)
        return self


class Rolling(Section):
    """Old hosts go as new ones come: both groups move in the same shares."""

    steps: Stages = Field(description="The shares, growing; all of the traffic comes last.")
    first: Annotated[str, Field(pattern="^(new|old)$")] = Field(
        "new",
        description="`new`: fresh hosts come before old ones go. `old`: old ones go first, so that no more "
        "hosts are needed than there are; guards.min_capacity must allow it.",
    )

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        _growing(self.steps)
        if self.first == "old" and self.steps[0].traffic == FULL_PERCENT:
            raise contradiction(
                "all old hosts would go before a new one is there: begin with a smaller share",
                ("steps", 0, "traffic"),
                ("first",),
            )
        return self


class Phased(Section):
    """The whole new group first, then growing shares of the traffic."""

    steps: Stages = Field(description="The shares, growing; all of the traffic comes last.")

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        _growing(self.steps)
        return self


class OwnStep(Section):
    """One step of a list of one's own: exactly one of these."""

    scale: Share | Annotated[int, Field(ge=1, le=SIZE_MAX)] | None = Field(
        None, description="Have so many new hosts: a share of the region's size, or a number."
    )
    verify: Annotated[dict[str, str], Field(max_length=0)] | None = Field(
        None, description="Wait until they are proven: {}."
    )
    weight: Share | None = Field(None, description="Give them this share of the traffic.")
    soak: Duration | None = Field(None, description="Watch them for so long.")
    analyse: Analyse | None = Field(
        None, description="Compare them with the old group: true, or what differs from section `analysis`."
    )
    approve: Approve | None = Field(None, description="Wait for a person with this role.")
    keep: Duration | None = Field(None, description="Leave all as it is for so long.")
    retire: Share | None = Field(None, description="Let old hosts go until this share of them is left.")

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        given = [name for name in type(self).model_fields if getattr(self, name) is not None]
        if len(given) != 1:
            there = ", ".join(type(self).model_fields)
            raise wrong(f"a step is exactly one of: {there}; for example - weight: 50%")
        return self

    def step(self, pace: Pace, expires_seconds: float, general: AnalysisSection | None) -> Step:
        if isinstance(self.scale, int):
            return presets.up(pace, 0.0, self.scale)[0]
        if self.scale is not None:
            return presets.up(pace, self.scale)[0]
        if self.verify is not None:
            return presets.up(pace, FULL_PERCENT)[1]
        if self.weight is not None:
            return presets.weight(round(self.weight * 100))
        if self.soak is not None:
            return presets.soak(self.soak)
        if (plan := plan_of(self.analyse, general)) is not None:
            return presets.analyse(plan)
        if self.keep is not None:
            return presets.keep(self.keep)
        if self.retire is not None:
            return presets.retire(pace, self.retire)
        return presets.approval(
            _role(self.approve) or "",
            _objection_seconds(self.approve),
            _expires_seconds(self.approve, expires_seconds),
            _takes_two(self.approve),
        )


class Strategy(Section):
    """How a region goes from the old group to the new one: exactly one of these."""

    blue_green: BlueGreen | None = Field(None, description="All traffic at once, back at once.")
    red_black: BlueGreen | None = Field(None, description="The same under its other name.")
    canary: Canary | None = Field(None, description="Growing shares of traffic and hosts.")
    rolling: Rolling | None = Field(None, description="Old hosts go as new ones come.")
    phased: Phased | None = Field(None, description="All new hosts at once, growing shares of traffic.")
    highlander: Highlander | None = Field(None, description="Blue/green, and no old group is kept.")
    steps: Annotated[tuple[OwnStep, ...], Field(strict=False, min_length=1, max_length=STEPS_MAX)] | None = (
        Field(None, description="Steps of one's own.")
    )

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        given = [name for name in type(self).model_fields if getattr(self, name) is not None]
        empty = sorted(self.model_fields_set - set(given))
        if empty:
            raise contradiction("must be a mapping of options; write {} for the defaults", (empty[0],))
        if not given:
            raise wrong(f"say how a release goes: one of {', '.join(type(self).model_fields)}")
        if len(given) > 1:
            raise contradiction(
                f"a release goes in one way only; leave out {' or '.join(given)}",
                *((name,) for name in given),
            )
        return self

    @property
    def name(self) -> str:
        """As people write it."""
        given = next(name for name in type(self).model_fields if getattr(self, name) is not None)
        return given.replace("_", "-")

    def compile(
        self, pace: Pace, expires_seconds: float = 0.0, general: AnalysisSection | None = None
    ) -> tuple[Step, ...]:
        """The steps of a region. `expires_seconds`: of approvals that do not say for how long; `general`:
        what analyses do not say."""
        return presets.with_baselines(pace, self._compile(pace, expires_seconds, general))

    def _compile(
        self, pace: Pace, expires_seconds: float, general: AnalysisSection | None
    ) -> tuple[Step, ...]:
        flip = self.blue_green or self.red_black
        if flip is not None:
            return presets.blue_green(
                pace,
                flip.warm,
                _role(flip.approve),
                _objection_seconds(flip.approve),
                _expires_seconds(flip.approve, expires_seconds),
                _takes_two(flip.approve),
                plan_of(flip.analyse, general, flip.warm),
            )
        if self.highlander is not None:
            watched = self.highlander.warm
            return presets.highlander(pace, watched, plan_of(self.highlander.analyse, general, watched))
        if self.canary is not None:
            return presets.canary(
                pace,
                _growing(self.canary.steps, expires_seconds, general),
                self.canary.headroom,
                self.canary.min_hosts if self.canary.min_hosts > 1 else 0,
            )
        if self.rolling is not None:
            stages = _growing(self.rolling.steps, expires_seconds, general)
            return presets.rolling(pace, stages, self.rolling.first == "old")
        if self.phased is not None:
            return presets.phased(pace, _growing(self.phased.steps, expires_seconds, general))
        return tuple(each.step(pace, expires_seconds, general) for each in self.steps or ())


def check_strategy(
    strategy: Strategy,
    pace: Pace,
    policy: Policy,
    regions: Sequence[Region],
    max_surge: float | None,
    general: AnalysisSection | None = None,
) -> None:
    """Raises where the steps can't be carried out in a region one after another, or break a promise."""
    sizes = tuple(
        (RegionName(region.name), hosts)
        for region in regions
        for hosts in dict.fromkeys((region.size.min, region.size.max))
    )
    try:
        steps = strategy.compile(pace, general=general)
    except PydanticCustomError as error:  # each part agrees with itself: not with these defaults
        raise contradiction(error.message(), ("analysis",)) from None
    found = objection(steps, policy, sizes, max_surge)
    if found is None:
        return
    fields = [("strategy", strategy.name.replace("-", "_"))]
    if found.option:
        fields.append(("guards", found.option))
    raise contradiction(found.text, *fields)


def check_scopes(steps: Sequence[Step], waves: Sequence[Wave]) -> None:
    """Raises where the numbers of a wave are to be put together whose regions don't go together."""
    plans = [step.analysis for step in steps if step.analysis is not None]
    loose = next((index for index, wave in enumerate(waves) if not wave.is_lockstep), None)
    if loose is not None and any(plan.scope == "wave" for plan in plans):
        raise contradiction(
            f"by: wave judges regions together, and those of wave {loose + 1} are not in lock-step: write "
            "by: region, or lockstep: true",
            ("waves", loose),
        )


# ------------------------------------------------------------------------------------------------ waves


class WaveSection(Section):
    """Regions that go together."""

    regions: (
        Annotated[str, Field(max_length=200)]
        | Annotated[tuple[Line, ...], Field(strict=False, min_length=1, max_length=REGIONS_MAX)]
    ) = Field(description="Names, patterns (eu-*) or labels (tier=edge); `rest`: all that no wave names.")
    parallel: Annotated[int, Field(ge=1, le=REGIONS_MAX)] | None = Field(
        None, description="How many at once; all if left out."
    )
    bake: Duration = Field(
        as_written("0s"), description="How long the wave is watched, from its end to the next wave."
    )
    approve: Approve | None = Field(None, description="Role that must say yes before the wave.")
    lockstep: bool | None = Field(
        None,
        description="No region begins a step before all of the wave have done the one before; true if "
        "parallel is left out.",
    )

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        if self.lockstep and self.parallel is not None:
            raise contradiction(
                "in lock-step all regions of a wave go together; leave out parallel",
                ("parallel",),
                ("lockstep",),
            )
        return self

    @property
    def patterns(self) -> tuple[str, ...]:
        return (self.regions,) if isinstance(self.regions, str) else self.regions


def compile_waves(
    sections: Sequence[WaveSection], regions: Sequence[Region], expires_seconds: float = 0.0
) -> tuple[Wave, ...]:
    """The regions of each wave, by name. Raises where a region is in no wave or in two, or none matches.
    `expires_seconds`: of approvals that do not say for how long."""
    if not sections:
        return ()
    taken: dict[str, int] = {}
    chosen: list[list[str]] = []
    for index, section in enumerate(sections):
        found: list[str] = []
        for pattern in section.patterns:
            found += _matching(pattern, regions, taken, index)
        chosen.append(list(dict.fromkeys(found)))
        taken.update((name, index) for name in chosen[-1])
    for index, section in enumerate(sections):
        if REST in section.patterns:
            chosen[index] += [region.name for region in regions if region.name not in taken]
            taken.update((name, index) for name in chosen[index])
    lost = [region.name for region in regions if region.name not in taken]
    if lost:
        raise contradiction(f"{', '.join(lost)}: in no wave; add - regions: rest", ("waves",))
    pairs = zip(sections, chosen, strict=True)
    return tuple(_wave(section, names, expires_seconds) for section, names in pairs if names)


def _wave(section: WaveSection, names: Sequence[str], expires_seconds: float) -> Wave:
    is_lockstep = section.parallel is None if section.lockstep is None else section.lockstep
    return Wave(
        tuple(RegionName(name) for name in names),
        section.parallel or 0,
        section.bake,
        _role(section.approve),
        is_lockstep,
        _objection_seconds(section.approve),
        _expires_seconds(section.approve, expires_seconds) if section.approve is not None else 0.0,
        _takes_two(section.approve),
    )


def _matching(pattern: str, regions: Sequence[Region], taken: dict[str, int], index: int) -> list[str]:
    if pattern == REST:
        return []
    found = [region.name for region in regions if _matches(pattern, region)]
    if not found:
        there = ", ".join(region.name for region in regions)
        raise contradiction(f"no region is called {pattern}; there are: {there}", ("waves", index, "regions"))
    is_exact = pattern in found
    twice = [name for name in found if name in taken]
    if twice and is_exact:
        raise contradiction(
            f"{twice[0]} is in wave {taken[twice[0]] + 1} already", ("waves", index, "regions")
        )
    return [name for name in found if name not in taken]


def _matches(pattern: str, region: Region) -> bool:
    name, is_label, value = pattern.partition("=")
    if is_label:
        return region.labels.get(name) == value
    return fnmatchcase(region.name, pattern)
