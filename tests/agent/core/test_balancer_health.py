"""The balancer as the source of hosts' health: it speaks of proved hosts that serve, and of no others."""

from dataclasses import dataclass, replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from repave_agent.core.balancer_health import SILENT, SILENT_SECONDS
from repave_agent.core.fleet import Fleet
from repave_agent.core.host_health import PASSED, Health, HealthRecord, ProbeResult
from repave_agent.core.observation import EMPTY_VIEW
from repave_agent.core.ports import Backend, BackendView, Host, Server, Structure
from repave_agent.core.reconcile import Launch
from repave_protos.protocol.values import DesiredGroup, HostPhase, Probe
from tests.agent.core.test_region import Ground
from tests.fakes.agent.region_values import BLUE, PROBE, SHOP, a_group, a_state
from tests.fakes.templates import changed

MIN_HEALTHY_SECONDS = 2.0
DOWN = "HAProxy's check was answered with status 503, expected 200"
ILL = ProbeResult(False, "500")


def told_group(**changes: object) -> DesiredGroup:
    usual: dict[str, object] = {"count": 1, "min_healthy_seconds": MIN_HEALTHY_SECONDS}
    patient: dict[str, object] = {"launch_deadline_seconds": 1e6, "health_by": "balancer"}
    return changed(a_group(), usual | patient | changes)


class Life:
    """One host, launched at 100, and what agent and balancer find of it."""

    def __init__(self, group: DesiredGroup | None = None) -> None:
        self.group = group or told_group()
        self.fleet, self.now, self.phase = Fleet(), 100.0, HostPhase.LAUNCHING
        (spec,) = self.fleet.launching(Launch(self.group, a_state(self.group), 1), self.now)
        host = Host(spec.name, BLUE, SHOP, spec.digest, "127.9.0.1", spec.port, 0.0, is_running=True)
        self.fleet.launched(host, self.now)
        self.name, self.probed = spec.name, 0
        self.judge()

    def judge(self) -> HostPhase:
        (fact,) = self.fleet.judge({BLUE: self.group}, self.now)
        self.phase = fact.phase
        return self.phase

    @property
    def is_asked(self) -> bool:
        """Whether the agent asks it itself."""
        return self.name in self.fleet.probes

    def probe(self, result: ProbeResult) -> HostPhase:
        """What the agent hears if it asks the host; a prober that begins anew has a fresh record."""
        if not self.is_asked:
            return self.judge()
        self.probed += 1
        target, known = self.fleet.probes[self.name], self.fleet.health.get(self.name)
        fresh = Health(target, HealthRecord.of(target.probe))
        record = (known or fresh).record.after(result, self.now)
        self.fleet.hear_probes({self.name: Health(target, record)})
        return self.judge()

    @property
    def record(self) -> HealthRecord:
        record = self.fleet.health_of(self.name)
        assert record is not None
        return record

    def look(self, said: str, *, probe: Probe = PROBE, address: str = "127.9.0.1") -> HostPhase:
        """The balancer is looked at: it says of the host `pass`, `down`, nothing, or can't be read."""
        is_enabled = self.phase is HostPhase.VERIFIED
        server = Server(self.name, address, self.group.template.probe.port, is_enabled)
        seen = BackendView(
            BLUE,
            int(is_enabled and said == "pass"),
            0,
            passing=frozenset({self.name} if said == "pass" and is_enabled else ()),
            failing=((self.name, DOWN),) if said == "down" and is_enabled else (),
        )
        structure = Structure((), (Backend(BLUE, (server,), probe),))
        view = replace(EMPTY_VIEW, is_running=True, structure=structure, backends=(seen,))
        view = EMPTY_VIEW if said == "dead" else view
        self.fleet.note_enabled(view, self.now)
        by_balancer = {BLUE: self.group} if self.group.template.health_by == "balancer" else {}
        self.fleet.hear_balancer(view, by_balancer, self.now)
        return self.judge()

    def prove(self) -> None:
        for _ in range(4):
            self.probe(PASSED)
            self.now += 1.0
        assert self.judge() is HostPhase.VERIFIED


@pytest.fixture
def life() -> Life:
    """A host that is proved, and that the balancer has found to be well."""
    life = Life()
    life.look("pass")
    assert life.is_asked, "fresh: whatever the balancer says"
    life.prove()
    life.look("")
    assert life.is_asked, "the balancer has not asked it since it was enabled"
    life.look("pass")
    assert not life.is_asked
    return life


def test_the_agent_asks_no_host_that_the_balancer_tells_of(life: Life) -> None:
    probed = life.probed
    touched = life.fleet.changes
    for _ in range(100):
        life.now += 1.0
        life.probe(ILL)
        assert life.look("pass") is HostPhase.VERIFIED
    assert life.probed == probed
    assert life.fleet.changes == touched, "no news wakes nothing"


def test_a_host_that_the_balancer_calls_down_is_ill_once_a_probe_would_have_found_it(life: Life) -> None:
    """Two bad answers, 2 s apart: the balancer asks more often, and counts by itself."""
    life.now += 1.0
    assert life.look("down") is HostPhase.VERIFIED, "a second after it was well"
    life.now += 1.0
    assert life.look("down") is HostPhase.UNHEALTHY
    assert life.is_asked, "out of traffic, the balancer asks it no more"
    assert life.record.reason == DOWN
    assert [each.text for each in life.fleet.notices if each.kind == "host.unhealthy"] == [
        f"{life.name}: {DOWN}"
    ]


def test_a_host_that_comes_back_in_time_was_never_ill(life: Life) -> None:
    for _ in range(5):
        life.now += 1.0
        assert life.look("down") is HostPhase.VERIFIED
        life.now += 0.5
        assert life.look("pass") is HostPhase.VERIFIED
    assert not life.is_asked


def test_an_ill_host_proves_itself_to_the_agent_again(life: Life) -> None:
    for _ in range(3):
        life.look("down")
        life.now += 1.0
    assert life.phase is HostPhase.UNHEALTHY
    for _ in range(2):
        assert life.probe(PASSED) is HostPhase.UNHEALTHY
        assert life.look("pass") is HostPhase.UNHEALTHY
        assert life.is_asked
        life.now += 1.0
    assert life.probe(PASSED) is HostPhase.VERIFIED
    life.look("pass")
    assert not life.is_asked


@pytest.mark.parametrize(
    "look",
    [
        {"said": ""},
        {"said": "pass", "probe": replace(PROBE, path="/other")},
        {"said": "down", "probe": replace(PROBE, port=81)},
        {"said": "pass", "address": "127.9.0.2"},
    ],
    ids=["processes disagree", "another request", "another port", "another address"],
)
def test_what_says_nothing_of_this_host_hands_it_back_to_the_agent(
    life: Life, look: dict[str, object]
) -> None:
    assert life.look(**look) is HostPhase.VERIFIED  # type: ignore[arg-type]
    assert life.is_asked
    life.probe(ILL)
    assert life.probe(ILL) is HostPhase.UNHEALTHY


def test_a_spec_that_takes_the_health_back_is_followed(life: Life) -> None:
    life.group = replace(life.group, template=replace(life.group.template, health_by="agent"))
    life.look("pass")
    assert life.is_asked


def test_a_balancer_that_can_not_be_read_makes_no_host_ill(life: Life) -> None:
    """What it said last counts for a moment; then the agent asks, and its answers count."""
    life.now += SILENT_SECONDS - 0.1
    assert life.look("dead") is HostPhase.VERIFIED
    assert not life.is_asked
    life.now += 0.1
    assert life.look("dead") is HostPhase.VERIFIED
    assert life.is_asked
    assert life.fleet.balancer_health.is_silent
    for _ in range(5):
        life.now += 1.0
        assert life.probe(PASSED) is HostPhase.VERIFIED
    life.probe(ILL)
    assert life.probe(ILL) is HostPhase.UNHEALTHY
    assert life.look("") is HostPhase.UNHEALTHY
    assert not life.fleet.balancer_health.is_silent


@dataclass(frozen=True)
class Event:
    seconds: float
    is_look: bool
    said: str
    passes: bool


EVENTS = st.lists(
    st.builds(
        Event,
        st.sampled_from([0.0, 0.5, 1.0, 2.5, 4.0]),
        st.booleans(),
        st.sampled_from(["pass", "down", "", "dead"]),
        st.booleans(),
    ),
    max_size=60,
)


FOUND_ILL_BETWEEN_LOOKS = [
    Event(0.0, False, "pass", True),
    Event(2.5, False, "pass", True),
    Event(0.0, True, "pass", False),
    Event(0.0, True, "", False),
    Event(0.0, False, "pass", False),
    Event(0.0, True, "down", False),
]


@given(EVENTS)
@example(FOUND_ILL_BETWEEN_LOOKS)
def test_whatever_the_source_no_host_serves_without_its_proof(events: list[Event]) -> None:
    """A twin that only its agent asks goes the same way until the first proof; and each later one is the
    agent's own: it asked, and heard nothing bad for long enough."""
    life, twin = Life(), Life(told_group(health_by="agent"))
    is_proved = False
    for event in events:
        before = life.phase
        for each in (life, twin):
            each.now += event.seconds
            if event.is_look:
                each.look(event.said)
            else:
                each.probe(PASSED if event.passes else ILL)
        assert life.is_asked != life.fleet.balancer_health.tells(life.name), "asked by one, and only one"
        if not is_proved:
            assert life.phase is twin.phase
        if life.phase is HostPhase.VERIFIED and before is not HostPhase.VERIFIED:
            assert life.is_asked
            assert (life.record.healthy_since or life.now) <= life.now - MIN_HEALTHY_SECONDS
        is_proved |= life.phase is HostPhase.VERIFIED
        if not life.is_asked:
            assert life.phase is HostPhase.VERIFIED


def test_a_region_says_that_its_agent_asks_in_the_place_of_its_balancer() -> None:
    ground = Ground()
    ground.accept(a_state(told_group(count=2, weight_bp=10_000)))
    ground.launch_all(ground.step())
    step = ground.step()
    while step.change is not None:
        ground.carry_out(step)
        ground.probe_all(step)
        step = ground.step()
    assert len(step.probes) == 2
    (backend,) = ground.view.structure.backends
    seen = replace(ground.view.backends[0], passing=frozenset(each.host for each in backend.servers))
    ground.region.viewed(replace(ground.view, backends=(seen,)), ground.now)
    assert ground.step().probes == {}
    ground.now += SILENT_SECONDS
    ground.region.viewed(EMPTY_VIEW, ground.now)
    step = ground.step()
    assert len(step.probes) == 2
    assert step.reports is not None
    (report,) = step.reports[SHOP].groups
    assert SILENT in report.trouble
    assert (report.verified, report.unhealthy) == (2, 0)
    ground.region.viewed(replace(ground.view, backends=(seen,)), ground.now)
    step = ground.step()
    assert step.reports is not None
    assert (len(step.probes), step.reports[SHOP].groups[0].trouble) == (0, "")
