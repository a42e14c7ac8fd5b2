"""How the traffic and the hosts of each region went over time, taken from the truth at each change of it."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from repave_protos.protocol.values import DesiredGroup, Digest, RegionName
from repave_simulation.world.place import Place
from repave_simulation.world.world import World


@dataclass(frozen=True, slots=True)
class Sample:
    """One region from `at` on, until its next sample. `share_bp` is the new group's part of the traffic."""

    at: float
    region: RegionName
    answering: int  # hosts that requests reach, and that answer them
    old: int  # hosts in all, whatever their health
    new: int
    old_well: int
    new_well: int
    share_bp: int
    routed_bp: int  # of all groups: 0 while no group serves


@dataclass(frozen=True, slots=True)
class Span:
    """A step of a release, and when; "at rest" is no release, "undoing" the way back."""

    step: str
    begins: float
    ends: float


class Samples:
    """Looks at a world as it goes."""

    def __init__(self, world: World, new: Digest) -> None:
        self.of: dict[RegionName, list[Sample]] = {region: [] for region in world.places}
        self.steps: list[tuple[float, str]] = []
        self._world = world
        self._new = new

    def entered(self, step: str) -> None:
        """A release has come to the step."""
        self.steps.append((self._world.now, step))

    def changed(self, region: RegionName) -> None:
        """Something of the region has changed."""
        sample, known = self._look(self._world.places[region]), self.of[region]
        if known and known[-1].at == sample.at:
            known.pop()
        if not known or replace(known[-1], at=sample.at) != sample:
            known.append(sample)

    def _look(self, place: Place) -> Sample:
        balancer, ledger = place.balancer, self._world.ledger
        answering, share_bp, routed_bp = 0, 0, 0
        for backend in balancer.structure.backends:
            weight_bp = balancer.weight_bp(backend.group)
            group = ledger.group(backend.group)
            if not weight_bp or group is None:
                continue
            routed_bp += weight_bp
            share_bp += weight_bp if group.digest == self._new else 0
            machines = (place.machines.get(each.host) for each in backend.servers if each.is_enabled)
            answering += sum(each is not None and each.is_well and not each.lies for each in machines)
        if not balancer.is_running:
            answering = 0
        for works, weight_bp in _working(place):
            routed_bp += weight_bp
            share_bp += weight_bp if works.digest == self._new else 0
            answering += sum(each.is_well for each in place.ours() if each.host.group == works.name)
        ours = list(place.ours())
        new = [each for each in ours if each.host.digest == self._new]
        well, new_well = sum(each.is_well for each in ours), sum(each.is_well for each in new)
        return Sample(
            at=self._world.now,
            region=place.region,
            answering=answering,
            old=len(ours) - len(new),
            new=len(new),
            old_well=well - new_well,
            new_well=new_well,
            share_bp=share_bp,
            routed_bp=routed_bp,
        )

    def spans(self, begins: float, until: float) -> tuple[Span, ...]:
        """The steps from `begins` on; the last one is cut off at `until`."""
        entered = [(at, step) for at, step in self.steps if begins <= at < until]
        ends = [*(at for at, _ in entered[1:]), until][: len(entered)]
        return tuple(Span(step, at, end) for (at, step), end in zip(entered, ends, strict=True))


def _working(place: Place) -> Iterator[tuple[DesiredGroup, int]]:
    """The groups of workers, which no balancer has, with the share of the work that is counted as theirs."""
    for state in place.accepted.values():
        for group in state.groups if state.is_worker else ():
            if group.weight_bp:
                yield group, group.weight_bp


def within(samples: Iterable[Sample], begins: float, until: float) -> list[tuple[Sample, float]]:
    """The samples that held some time between the two instants, each with how long, in seconds."""
    known = list(samples)
    ends = [*(each.at for each in known[1:]), until][: len(known)]
    found = []
    for sample, end in zip(known, ends, strict=True):
        seconds = min(end, until) - max(sample.at, begins)
        if seconds > 0:
            found.append((sample, seconds))
    return found
