"""The promises of a release hold in whatever order things happen."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from repave_controller.core.commands.rollback import request_abort, request_rollback
from repave_controller.core.domain.application import (
    GroupState,
    Instant,
    Tenure,
)
from repave_controller.core.domain.reasons import Refused
from repave_protos.protocol.values import (
    GroupName,
    RegionName,
)
from tests.fakes.controller.stepping import (
    OSLO,
    PARIS,
    World,
)


class AnyInterleaving(RuleBasedStateMachine):
    """Releases, rollbacks, aborts, sick and absent regions in any order: `World.decide` checks every promise
    at each decision, and when the faults end everything comes to its end."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()

    @rule(digest=st.sampled_from("abc"), queue=st.booleans())
    def release(self, digest: str, queue: bool) -> None:
        with self._only_refused("rollout-running", "queue-full"):
            self.world.release(digest, queue=queue)

    @rule(force=st.booleans())
    def rollback(self, force: bool) -> None:
        self._command(
            lambda world: request_rollback(
                world.application, world.observed, "ann", "", force=force, now=world.now
            )[0]
        )

    @rule()
    def abort(self) -> None:
        self._command(lambda world: request_abort(world.application, "ann", "", world.now)[0])

    def _command(self, command) -> None:  # type: ignore[no-untyped-def]
        with self._only_refused(
            "nothing-to-abort", "nothing-to-roll-back-to", "already-back", "unhealthy-target", "undoing"
        ):
            self.world.application = command(self.world)
        self.world.decide()

    @contextmanager
    def _only_refused(self, *rules: str) -> Iterator[None]:
        try:
            yield
        except Refused as refused:
            if refused.rule not in rules:
                raise

    @rule(region=st.sampled_from([PARIS, OSLO]))
    def work(self, region: RegionName) -> None:
        if self.world.regions[region].is_connected:
            self.world.regions[region].work()

    @rule(region=st.sampled_from([PARIS, OSLO]), connected=st.booleans())
    def connect(self, region: RegionName, connected: bool) -> None:
        self.world.regions[region].is_connected = connected

    @rule(
        region=st.sampled_from([PARIS, OSLO]),
        number=st.integers(1, 5),
        kind=st.sampled_from(["sick", "broken"]),
    )
    def fall_ill(self, region: RegionName, number: int, kind: str) -> None:
        getattr(self.world.regions[region], kind).add(GroupName(f"hello-v{number:03d}"))

    @rule(region=st.sampled_from([PARIS, OSLO]))
    def recover(self, region: RegionName) -> None:
        self.world.regions[region].sick.clear()

    @rule(seconds=st.sampled_from([0.5, 21.0, 70.0, 700.0]))
    def pass_time(self, seconds: float) -> None:
        self.world.now = Instant(self.world.now + seconds)

    @rule()
    def decide(self) -> None:
        self.world.decide()

    @rule()
    def restart_controller(self) -> None:
        self.world.tenure = Tenure(1, self.world.tenure.term + 1)
        self.world.decide()

    @precondition(lambda self: self.world.application.desired)
    @invariant()
    def epochs_never_go_back_and_clients_are_never_left_alone(self) -> None:
        for name, state in self.world.application.desired:
            accepted = self.world.regions[name].desired
            assert accepted is None or state.epoch >= accepted.epoch

    def teardown(self) -> None:
        for region in self.world.regions.values():
            region.is_connected = True
            region.sick.clear()
            region.broken.clear()
        self.world.application = replace(self.world.application, queue=())
        for _ in range(8):
            self.world.settle()
            self.world.now = Instant(self.world.now + 700)
        assert self.world.application.running is None
        for group in self.world.application.groups:
            assert group.state is not GroupState.RETIRING
            assert group.state is not GroupState.NEW


TestAnyInterleaving = AnyInterleaving.TestCase
TestAnyInterleaving.settings = settings(
    max_examples=150, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
