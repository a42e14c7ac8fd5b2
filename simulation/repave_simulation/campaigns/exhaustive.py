"""Every single fault at every single effect of two releases and a rollback: none is left to chance."""

import multiprocessing
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial

from repave_controller.core.domain.application import Policy, ReleaseOrder
from repave_controller.core.steps import Scale, Soak, Verify, Weight
from repave_protos.protocol.values import ApplicationName, Digest, HostTemplate, Probe, RegionName
from repave_simulation.scenarios.scenario import Behaviour, Command, Scenario
from repave_simulation.tiers.run import Result, run
from repave_simulation.world.world import FATES, OTHERS_CRASH

SHOP = ApplicationName("shop")
PLACES = (RegionName("paris"), RegionName("oslo"))
OLD, NEW = Digest(f"{1:064x}"), Digest(f"{2:064x}")


@dataclass(frozen=True, slots=True)
class SingleFault:
    """One effect that goes wrong in one way, in a run in which nothing else does."""

    effect: str
    fate: str

    def __str__(self) -> str:
        return f"{self.effect}: {self.fate}"


def plain_scenario() -> Scenario:
    """Two regions of two hosts: a release, another one in two shares, and back again."""
    commands = (
        Command(1.0, "release", SHOP, "first", _order("first", OLD, (Weight(10_000, 60.0),))),
        Command(
            25.0,
            "release",
            SHOP,
            "second",
            _order("second", NEW, (Weight(2_500, 60.0), Weight(10_000, 60.0))),
        ),
        Command(50.0, "rollback", SHOP, "back"),
    )
    images = {OLD: Behaviour(), NEW: Behaviour()}
    return Scenario(0, PLACES, images, commands, fates={}, unfair_seconds=70.0)


def _order(key: str, digest: Digest, shares: tuple[Weight, ...]) -> ReleaseOrder:
    return ReleaseOrder(
        version=key,
        digest=digest,
        frontend_port=8000,
        sizes=tuple((region, 2) for region in sorted(PLACES)),
        template=HostTemplate(
            run=("./serve",),
            environment=(),
            probe=Probe("command", 8080, command=("healthy",), interval_seconds=0.5),
            min_healthy_seconds=0.5,
            launch_deadline_seconds=30.0,
            drain_seconds=2.0,
        ),
        steps=(Scale(100, 60.0), Verify(60.0), *shares, Soak(2.0, 60.0)),
        policy=Policy(keep_seconds=300.0),
        by=key,
        key=key,
    )


def single_faults(tier: int) -> list[SingleFault]:
    """All there are, by the effects of a run without any."""
    calm = run(tier, plain_scenario())
    if calm.broken is not None:
        raise AssertionError(f"without any fault: {calm.broken}")
    return [
        SingleFault(effect, fate)
        for effect in calm.effects
        for fate in (*(fate for _, fate in FATES[effect.partition(" ")[0]]), OTHERS_CRASH)
    ]


def try_fault(tier: int, fault: SingleFault) -> Result:
    """The same run with just this fault."""
    return run(tier, replace(plain_scenario(), fates={fault.effect: fault.fate}))


def try_all(tier: int, *, jobs: int = 0) -> Iterator[tuple[SingleFault, Result]]:
    """On all cores; in order."""
    faults = single_faults(tier)
    with multiprocessing.get_context("fork").Pool(jobs or len(os.sched_getaffinity(0))) as pool:
        yield from zip(faults, pool.imap(partial(try_fault, tier), faults, chunksize=10), strict=True)
