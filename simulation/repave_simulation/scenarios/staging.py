"""The stage of a rehearsal: a user's own spec as a scenario. An older release serves, the user's one begins.

The release is compiled by the code that compiles it in production; only who answers its probe is simulated.
"""

from dataclasses import dataclass, replace

from repave_controller.core.domain.application import ReleaseOrder
from repave_controller.core.domain.overlays import NO_OVERLAYS
from repave_controller.core.domain.rollout import Step
from repave_controller.core.domain.scaling import NO_SCALING
from repave_controller.core.steps import Scale, Soak, Verify, Weight
from repave_controller.spec.spec import Spec, compile_order
from repave_protos.protocol.values import FULL_WEIGHT_BP, Digest, RegionName
from repave_simulation.scenarios.scenario import BLIND_SECONDS, Behaviour, Command, Scenario, Strike, Trouble

OLD, NEW = Digest(f"{1:064x}"), Digest(f"{2:064x}")
BEGINS_SECONDS = 1.0
SETTLED_SECONDS = 30.0
"""From the end of the older release to the user's: everybody has seen by then that its hosts are well."""
OLD_BOOT_SECONDS = 0.5
AFTER_SECONDS = 10.0
"""What strikes after a release does so this long after its end."""
SLACK_SECONDS = 90.0

Sizes = tuple[tuple[RegionName, int], ...]


@dataclass(frozen=True, slots=True)
class Stage:
    """What is rehearsed, and where. Without `old_sizes` no group serves yet."""

    spec: Spec
    sizes: Sizes
    old_sizes: Sizes
    boot_seconds: float = 30.0
    ill_after_seconds: float = 300.0
    outage_seconds: float = 45.0

    @property
    def regions(self) -> tuple[RegionName, ...]:
        return tuple(region for region, _ in self.sizes)

    @property
    def has_old(self) -> bool:
        return bool(self.old_sizes)

    def size(self, region: RegionName) -> int:
        """What the capacity of the region is held against: the smaller one of the two groups."""
        old = dict(self.old_sizes).get(region)
        new = dict(self.sizes)[region]
        return new if old is None else min(old, new)

    def floor(self, region: RegionName) -> int:
        return order_of(self).policy.floor(self.size(region))


def order_of(stage: Stage) -> ReleaseOrder:
    """The user's release, as `repave release` would order it, at a time when it may move; what people approve
    is approved at once. Hosts of a simulation have no secrets and no sizes, are made alike in all regions and
    asked by their agent; no load changes their number."""
    wanted = stage.spec.artifact.sha256
    digest = NEW if wanted in (None, "required") else Digest(wanted)
    order = compile_order(stage.spec, digest, "new", by="new", key="new")
    steps = tuple(step for step in order.steps if step.approver is None)
    waves = tuple(replace(wave, approve=None) for wave in order.waves)
    policy = replace(order.policy, windows=(), freezes=(), scaling=NO_SCALING)
    plain = replace(order.template, secrets=(), machine_sizes=(), is_spot=False, health_by="agent")
    order = replace(order, template=plain, overlays=NO_OVERLAYS)
    return replace(order, digest=NEW, sizes=stage.sizes, steps=steps, waves=waves, policy=policy)


def patience_of(order: ReleaseOrder) -> float:
    """Longer than the release can take when it makes no progress anywhere; seconds."""
    soaks = sum(step.wait_seconds for step in order.steps)
    bakes = sum(wave.bake_seconds for wave in order.waves)
    once = sum(deadline_of(step) for step in order.steps) + soaks
    return once * max(1, len(order.waves)) + bakes + SLACK_SECONDS


def deadline_of(step: Step) -> float:
    """How long it may make no progress; steps that wait for people or for time alone have none."""
    return float(getattr(step, "deadline_seconds", 0.0))


def scenario_of(
    stage: Stage,
    seconds: float,
    *,
    seed: int = 0,
    image: str = "serves",
    strikes: tuple[Strike, ...] = (),
    commands: tuple[Command, ...] = (),
    rates: dict[Trouble, float] | None = None,
    rates_from: float = 0.0,
) -> Scenario:
    """The user's release in a world in which these things happen; it heals `seconds` after the beginning."""
    application, order = stage.spec.application, order_of(stage)
    probe = order.template.probe
    images = {
        OLD: Behaviour("serves", OLD_BOOT_SECONDS),
        NEW: Behaviour(image, stage.boot_seconds, stage.ill_after_seconds),
    }
    release = Command(BEGINS_SECONDS, "release", application, "new", order)
    if stage.has_old:
        before = Command(BEGINS_SECONDS, "release", application, "old", _older(stage, order))
        release = replace(release, at=SETTLED_SECONDS, step="at rest")
        commands = (before, release, *commands)
    else:
        commands = (release, *commands)
    return Scenario(
        seed,
        stage.regions,
        images,
        commands,
        strikes,
        rates or {},
        unfair_seconds=seconds,
        converge_seconds=900.0 + patience_of(order),
        blind_seconds=BLIND_SECONDS + probe.interval_seconds * probe.unhealthy_after,
        rates_from=rates_from,
        is_doubtful=True,
    )


def _older(stage: Stage, order: ReleaseOrder) -> ReleaseOrder:
    """What served before: the same, but for its sizes, and brought up quickly."""
    long = 600.0
    quick = (Scale(100, long), Verify(long), Weight(FULL_WEIGHT_BP, long), Soak(0.0, long))
    return replace(
        order,
        version="old",
        digest=OLD,
        by="old",
        key="old",
        sizes=stage.old_sizes,
        steps=quick,
        template=replace(
            order.template,
            min_healthy_seconds=min(1.0, order.template.min_healthy_seconds),
            launch_deadline_seconds=long,
        ),
    )
