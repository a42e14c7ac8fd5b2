"""Which settings of the spec would have to change: no value is guessed, each was seen to help."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from repave_controller.spec.spec import Spec
from repave_simulation.rehearsal.trials import Outcome, Trial, rehearse
from repave_simulation.scenarios.staging import Stage, order_of, patience_of

DOUBLINGS_MAX = 6
SHARES = (90.0, 80.0, 75.0, 66.0, 50.0)
DAY = 86_400.0

Path = tuple[str | int, ...]
"""Names of options, and places in lists, counted from 0."""
Good = Callable[[Stage, Trial, Outcome], bool]


@dataclass(frozen=True, slots=True)
class Setting:
    """A field of the spec, as docs/spec.md calls it, and where a Spec has it."""

    field: str
    path: "Path"
    is_share: bool = False

    def of(self, spec: Spec) -> Any:
        if self.field == "guards.min_capacity":
            return spec.min_capacity_percent
        found: Any = spec
        for name in self.path:
            found = found[name] if isinstance(name, int) else getattr(found, name)
        return found

    def put(self, spec: Spec, value: Any) -> Spec:
        changed: Spec = _put(spec, self.path, value)
        return changed

    def values(self, spec: Spec) -> Iterator[Any]:
        """What to try, the smallest change first."""
        now = self.of(spec)
        if self.is_share:
            yield from (share for share in SHARES if share < now)
        elif isinstance(now, int):
            yield from (now + more for more in range(1, 3))
        else:
            yield from (max(now, 1.0) * 2**power for power in range(1, DOUBLINGS_MAX + 1))

    def written(self, value: Any) -> str:
        """As it stands in the file."""
        if self.is_share:
            return f"{value:g}%"
        return str(value) if isinstance(value, int) else duration(value)


LAUNCH_DEADLINE = Setting("health.launch_deadline", ("health", "launch_deadline"))
READY = Setting("health.ready_percent", ("health", "ready_percent"), is_share=True)
MIN_CAPACITY = Setting("guards.min_capacity", ("guards", "min_capacity"), is_share=True)
UNHEALTHY_AFTER = Setting("health.unhealthy_after", ("health", "unhealthy_after"))
KEEP_FOR = Setting("rollback.keep.for", ("rollback", "keep", "seconds"))
KEEP_GROUPS = Setting("rollback.keep.groups", ("rollback", "keep", "groups"))


def settings_for(spec: Spec, trial: Trial, outcome: Outcome) -> tuple[Setting, ...]:
    """Those that might help, the likeliest first."""
    if trial.rollback_at is not None:
        return MIN_CAPACITY, KEEP_FOR, KEEP_GROUPS
    if trial.fault == "image-falls-ill":
        return last_watch(spec)
    if not trial.fault:
        return LAUNCH_DEADLINE, *last_watch(spec)
    if "not verified within" in outcome.reason:
        return LAUNCH_DEADLINE, READY, UNHEALTHY_AFTER
    return READY, LAUNCH_DEADLINE, *last_watch(spec), UNHEALTHY_AFTER


def last_watch(spec: Spec) -> tuple[Setting, ...]:
    """How long the new group is watched last; empty where the steps of a spec watch nothing."""
    strategy = spec.strategy
    name = strategy.name.replace("-", "_")
    if strategy.steps is not None:
        soaks = [index for index, step in enumerate(strategy.steps) if step.soak is not None]
        return tuple(_setting("strategy", "steps", index, "soak") for index in soaks[-1:])
    chosen = getattr(strategy, name)
    if hasattr(chosen, "warm"):
        return (_setting("strategy", name, "warm"),)
    return (_setting("strategy", name, "steps", len(chosen.steps) - 1, "hold"),)


def _setting(*path: str | int) -> Setting:
    return Setting(".".join(map(str, path)), path)


@dataclass(frozen=True, slots=True)
class Advice:
    """A setting, and the first value with which what went wrong was seen to go well."""

    field: str
    now: str
    value: str
    helps: tuple[str, ...]


@dataclass(slots=True)
class Adviser:
    """Finds advice for one outcome after the other; a value that has helped once is tried first."""

    stage: Stage
    is_good: Good
    seen: dict[tuple[Setting, Any], list[str]]
    runs: int = 0

    def help(self, trial: Trial, outcome: Outcome, name: str) -> bool:
        """Whether a setting was found that helps."""
        chosen = settings_for(self.stage.spec, trial, outcome)
        tried = [(setting, value) for setting, value in self.seen if setting in chosen]
        fresh = [(setting, value) for setting in chosen for value in setting.values(self.stage.spec)]
        for setting, value in (*tried, *(each for each in fresh if each not in tried)):
            if self._works(trial, setting, value):
                self.seen.setdefault((setting, value), []).append(name)
                return True
        return False

    def _works(self, trial: Trial, setting: Setting, value: Any) -> bool:
        spec = setting.put(self.stage.spec, value)
        if spec.min_capacity_percent > spec.health.ready_percent:
            return False
        stage = replace(self.stage, spec=spec)
        longer = max(0.0, patience_of(order_of(stage)) - patience_of(order_of(self.stage)))
        changed = replace(trial, seconds=trial.seconds + longer)
        self.runs += 1
        return self.is_good(stage, changed, rehearse(stage, changed))

    def advice(self) -> tuple[Advice, ...]:
        """One for each setting: the value that helps with all that it helps with."""
        best: dict[Setting, tuple[Any, list[str]]] = {}
        for (setting, value), names in self.seen.items():
            known, helped = best.get(setting, (value, []))
            is_further = value < known if setting.is_share else value > known
            best[setting] = (value if is_further else known, [*helped, *names])
        return tuple(
            Advice(
                setting.field,
                setting.written(setting.of(self.stage.spec)),
                setting.written(value),
                tuple(names),
            )
            for setting, (value, names) in best.items()
        )


def duration(seconds: float) -> str:
    """As specs have it: 90s, 5m, 24h; the largest unit that fits without a rest."""
    for size, unit in ((DAY / 24, "h"), (60.0, "m")):
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:g}{unit}"
    return f"{seconds:g}s"


def _put(section: Any, path: Path, value: Any) -> Any:
    name, *below = path
    former = section[name] if isinstance(name, int) else getattr(section, name)
    inner = _put(former, tuple(below), value) if below else value
    if isinstance(name, int):
        return (*section[:name], inner, *section[name + 1 :])
    return section.model_copy(update={name: inner})
