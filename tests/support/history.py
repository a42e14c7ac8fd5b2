"""Judges what clients and agents saw of a region: whether it is a register, whatever went wrong meanwhile.

The register of a region and application holds the group that serves. It is written where the region accepts a
desired state, under an epoch, and read where a client is answered. It is linearizable when each operation can
be given one instant between its begin and its end so that every read finds what was written last. Epochs say
in which order writes count, so no order has to be searched for.

What people asked is judged beside it: a command that was acknowledged is there for ever, once, in its order.
"""

import bisect
import heapq
import itertools
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

Epoch = tuple[int, int, int]
FOREVER = float("inf")
"""The end of what has no known end."""


@dataclass(frozen=True, slots=True)
class Write:
    """The region accepted it somewhen between `begin` and `end`."""

    register: str
    epoch: Epoch
    value: str
    begin: float
    end: float = FOREVER


@dataclass(frozen=True, slots=True)
class Read:
    """A client found this value. What came of a read without an answer is no operation."""

    register: str
    value: str
    begin: float
    end: float


@dataclass(frozen=True, slots=True)
class Asked:
    """What a person asked. `number`: of the rollout that answers it; None: no answer came."""

    application: str
    key: str
    begin: float
    end: float = FOREVER
    number: int | None = None


def violations(writes: Iterable[Write], reads: Iterable[Read]) -> list[str]:
    """Of all registers; none: every one is linearizable."""
    by_register: dict[str, tuple[list[Write], list[Read]]] = defaultdict(lambda: ([], []))
    for write in writes:
        by_register[write.register][0].append(write)
    for read in reads:
        by_register[read.register][1].append(read)
    return [
        f"{name}: {text}"
        for name, (own_writes, own_reads) in sorted(by_register.items())
        for text in (*_disorder(own_writes), *_misread(own_writes, own_reads))
    ]


def _disorder(writes: Sequence[Write]) -> list[str]:
    """Writes that can't have happened in the order of their epochs."""
    found = []
    ordered = _ordered(writes)
    begun = -FOREVER  # the latest begin of those before
    latest: Write | None = None
    known: dict[Epoch, str] = {}
    for each in ordered:
        if known.setdefault(each.epoch, each.value) != each.value:
            found.append(f"{_text(each.epoch)} is both {known[each.epoch]} and {each.value}")
        if each.end < begun and latest is not None and latest.epoch != each.epoch:
            found.append(
                f"{_text(latest.epoch)} ({latest.value}) is accepted at {latest.begin:.3f}, after "
                f"{_text(each.epoch)} ({each.value}) was at {each.end:.3f}"
            )
        if each.begin > begun:
            begun, latest = each.begin, each
    return found


def _misread(writes: Sequence[Write], reads: Sequence[Read]) -> list[str]:
    """Reads that no instant explains. Each is given the earliest write that it can have found: whatever comes
    after it is then bound the least. No write is before one of an older epoch, or after one of a newer."""
    ordered = _ordered(writes)
    begins = list(itertools.accumulate((each.begin for each in ordered), max))
    ends = list(itertools.accumulate((each.end for each in reversed(ordered)), min))[::-1]
    places: dict[str, list[int]] = defaultdict(list)
    for place, each in enumerate(ordered):
        places[each.value].append(place)
    found: list[str] = []
    under_way: list[tuple[float, int]] = []  # reads: their end, and the place of the write that they found
    least = -1  # what was found by reads that ended before
    for read in sorted(reads, key=lambda each: (each.begin, each.end)):
        while under_way and under_way[0][0] < read.begin:
            least = max(least, heapq.heappop(under_way)[1])
        bound = max(least, bisect.bisect_left(ends, read.begin) - 1)
        own = places[read.value]
        at = bisect.bisect_left(own, bound)
        if at == len(own) or begins[own[at]] > read.end:
            before = _text(ordered[bound].epoch) if bound >= 0 else "nothing"
            found.append(f"{read.value} is read at {read.begin:.3f}..{read.end:.3f}, when {before} was there")
        else:
            heapq.heappush(under_way, (read.end, own[at]))
    return found


def _ordered(writes: Sequence[Write]) -> list[Write]:
    return sorted(writes, key=lambda each: (each.epoch, each.begin, each.end))


def _text(epoch: Epoch) -> str:
    return ".".join(map(str, epoch))


def lost_or_doubled(asked: Iterable[Asked], saved: Mapping[str, Sequence[tuple[int, str]]]) -> list[str]:
    """What became of commands. `saved`: of each application the rollouts in the end, each with the key of the
    command that began it."""
    found: list[str] = []
    by_application: dict[str, list[Asked]] = defaultdict(list)
    for each in asked:
        by_application[each.application].append(each)
    for application, commands in sorted(by_application.items()):
        rollouts = dict(saved.get(application, ()))
        keys = list(rollouts.values())
        for each in commands:
            if keys.count(each.key) > 1:
                found.append(f"{application}: {each.key} was carried out {keys.count(each.key)} times")
            if each.number is not None and rollouts.get(each.number) != each.key:
                found.append(
                    f"{application}: {each.key} was acknowledged as rollout {each.number}, which is "
                    f"{rollouts.get(each.number, 'none')}"
                )
        found += _out_of_order(application, commands)
    return found


def _out_of_order(application: str, commands: Sequence[Asked]) -> list[str]:
    answered = [each for each in commands if each.number is not None]
    return [
        f"{application}: {later.key} was asked after {earlier.key} was answered as rollout {earlier.number}, "
        f"and is rollout {later.number}"
        for earlier in answered
        for later in answered
        if earlier.end < later.begin and (later.number or 0) < (earlier.number or 0)
    ]
