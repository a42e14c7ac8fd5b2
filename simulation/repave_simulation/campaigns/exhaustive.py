"""Every single fault at every single effect of two releases and a rollback: none is left to chance."""

import gc
import os
import pickle
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NoReturn

from repave_controller.core.analysis.values import Direction, JudgeConfig, Metric, MetricKind
from repave_controller.core.domain.analyses import AnalysisPlan, Reading
from repave_controller.core.domain.application import Policy, ReleaseOrder
from repave_controller.core.domain.by_region import ByRegion
from repave_controller.core.domain.scaling import Scalings
from repave_controller.core.domain.steps import Step
from repave_controller.core.steps import Analyse, Scale, Soak, Verify, Weight
from repave_protos.protocol.values import ApplicationName, Digest, HostTemplate, Probe, RegionName
from repave_simulation.kernel.story import Broken
from repave_simulation.scenarios.load import rule_of
from repave_simulation.scenarios.scenario import Behaviour, Command, Scenario
from repave_simulation.tiers.run import run
from repave_simulation.world.world import FATES, OTHERS_CRASH

SHOP = ApplicationName("shop")
PLACES = (RegionName("paris"), RegionName("oslo"))
OLD, NEW = Digest(f"{1:064x}"), Digest(f"{2:064x}")
ERRORS = Reading(Metric("errors", MetricKind.RATE, Direction.INCREASE), "balancer", "errors")
SCALED = rule_of(PLACES[0], 2, 3)
ANALYSIS = AnalysisPlan(JudgeConfig(), (ERRORS,), interval_seconds=1.0, count=2, source_deadline_seconds=30.0)


@dataclass(frozen=True, slots=True)
class SingleFault:
    """One effect that goes wrong in one way, in a run in which nothing else does."""

    effect: str
    fate: str

    def __str__(self) -> str:
        return f"{self.effect}: {self.fate}"


def plain_scenario(scaling: Scalings = ByRegion((SCALED,))) -> Scenario:
    """Two regions of two hosts: a release, another one in two shares, judged in between, and back again."""
    commands = (
        Command(1.0, "release", SHOP, "first", _order("first", OLD, (Weight(10_000, 60.0),), scaling)),
        Command(
            25.0,
            "release",
            SHOP,
            "second",
            _order(
                "second",
                NEW,
                (Weight(2_500, 60.0), Analyse(ANALYSIS, 60.0), Weight(10_000, 60.0)),
                scaling,
            ),
        ),
        Command(50.0, "rollback", SHOP, "back"),
    )
    images = {OLD: Behaviour(), NEW: Behaviour()}
    return Scenario(0, PLACES, images, commands, fates={}, unfair_seconds=70.0)


def _order(key: str, digest: Digest, shares: tuple[Step, ...], scaling: Scalings) -> ReleaseOrder:
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
        policy=Policy(keep_seconds=300.0, scaling=scaling),
        by=key,
        key=key,
    )


def try_all(tier: int, *, jobs: int = 0, one_in: int = 1) -> Iterator[tuple[SingleFault, Broken | None]]:
    """Each fault, in order, with the promise that it broke; or a part of them, spread evenly over the run,
    with each way in which each kind of effect may go wrong.

    Raises AssertionError when one is broken without any fault.
    """
    branches = _Branches(jobs or len(os.sched_getaffinity(0)), one_in)
    broken: Broken | None = None
    try:
        broken = run(tier, replace(plain_scenario(), fates=branches)).broken
    except BaseException as error:
        if branches.fault is None:
            raise
        broken = Broken(0, f"it crashed: {error!r}", 0.0)
    finally:
        if branches.fault is not None:
            branches.answer(broken)
        branches.join_all()
    if broken is not None:
        raise AssertionError(f"without any fault: {broken}")
    yield from branches.found


@dataclass(frozen=True, slots=True)
class _Branch:
    """A process in which a fault has just happened. It tells by its pipe what came of it."""

    fault: SingleFault
    child: int
    pipe: int


class _Branches(dict[str, str]):
    """The fates of a run in which all goes well. At each effect the process forks once for each way in which
    that may go wrong, so that the time before is lived through only once.

    `fault` is set in a child: the one of its branch.
    """

    def __init__(self, jobs: int, one_in: int) -> None:
        super().__init__()
        self.fault: SingleFault | None = None
        self.found: list[tuple[SingleFault, Broken | None]] = []
        self._jobs = jobs
        self._one_in = one_in
        self._met: Counter[tuple[str, str]] = Counter()
        self._running: deque[_Branch] = deque()
        self._answer = -1

    def get(self, effect: str, default: str = "") -> str:  # type: ignore[override]  # of one type here
        """Asked once for each effect, while it may go wrong."""
        if self.fault is None:
            for fate in self._chosen(effect.partition(" ")[0]):
                if self._fork(SingleFault(effect, fate)):
                    return fate
        return default

    def _chosen(self, kind: str) -> Iterator[str]:
        """The first effect of a kind goes wrong in every way, the later ones in some: others each time."""
        for place, fate in enumerate((*(fate for _, fate in FATES[kind]), OTHERS_CRASH)):
            met = self._met[kind, fate]
            self._met[kind, fate] += 1
            if met == 0 or (met + place) % self._one_in == 0:
                yield fate

    def _fork(self, fault: SingleFault) -> bool:
        """Whether this is the child."""
        while len(self._running) >= self._jobs:
            self._join()
        reading, writing = os.pipe()
        child = os.fork()
        if child:
            os.close(writing)
            self._running.append(_Branch(fault, child, reading))
            return False
        gc.disable()  # it would touch, and so copy, all that is shared with the parent
        os.close(reading)
        self.fault, self._answer = fault, writing
        self[fault.effect] = fault.fate
        return True

    def answer(self, broken: Broken | None) -> NoReturn:
        """Ends a child: what its parent had begun must not go on in it."""
        with open(self._answer, "wb") as pipe:
            pickle.dump(broken, pipe)
        os._exit(0)

    def join_all(self) -> None:
        while self._running:
            self._join()

    def _join(self) -> None:
        branch = self._running.popleft()
        with open(branch.pipe, "rb") as pipe:
            told = pipe.read()
        os.waitpid(branch.child, 0)
        broken = pickle.loads(told) if told else Broken(0, "its process died", 0.0)  # noqa: S301  # of our own child
        self.found.append((branch.fault, broken))
