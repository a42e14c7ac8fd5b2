"""How many hosts a region is to have, by the load that was measured there. Pure.

The load is what all its groups have together, over the target of one host: so many hosts are needed. More
come as soon as the mean of a short time asks for them; some end only once fewer would have done at each
moment of a long one. What is not known lets nothing end: the region of an agent that is away has no load that
could be 0.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil, floor, isfinite, nan

from repave_controller.core.domain.application import Application, Because, Observed
from repave_controller.core.domain.hosts import EXACT
from repave_controller.core.domain.instants import Instant
from repave_controller.core.domain.reasons import Kind, Reason, Why, reason_of
from repave_controller.core.domain.scaling import Scaling
from repave_controller.core.rules.verdicts import current_report
from repave_protos.protocol.copies import replace
from repave_protos.protocol.values import RegionName

OLD_SECONDS = 30.0
"""What ended so long ago, beside the time of a mean, says nothing of now: the process may have stood
still."""


@dataclass(frozen=True, slots=True)
class Measured:
    """A number for each step of time, the newest last; NaN where there is none. `up`: hosts that serve there
    now, some of which have had clients since `up_since`; None: that is not known. `running`: those that an
    average is of, which have been so many since `running_since`. `trouble`: why there is no number."""

    values: tuple[float, ...] = ()
    step_seconds: float = 1.0
    ends_at: Instant = Instant(0)  # frozen
    up: int | None = None
    up_since: Instant = Instant(0)  # frozen
    running: int | None = None
    running_since: Instant = Instant(0)  # frozen
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class Choice:
    """`needed`: hosts by the load, before any bound; None: not known. `trouble`: why it is not as the load
    asks. `is_open`: between two answers, so that what was said before goes on to be so."""

    hosts: int
    needed: float | None = None
    reason: Reason | None = None
    trouble: Reason | None = None
    is_open: bool = False

    def keeps(self, trouble: Kind) -> bool:
        """Whether a trouble that was said before is not over: the load is not known just now, or is between
        what is too much and what is not."""
        return self.is_open and (self.needed is None or trouble is Why.SIZE_AT_MOST)


def choose(
    scaling: Scaling, hosts: int, changed_at: Instant, measured: Measured, now: Instant, *, is_rolling: bool
) -> Choice:
    """`hosts`: the number in force, changed last at `changed_at`. `is_rolling`: a rollout is under way, of
    which each host is counted on: none ends."""
    loads = _loads(scaling, measured)
    wide = max(1, round(scaling.window_seconds / measured.step_seconds))
    is_old = now > measured.ends_at + scaling.window_seconds + OLD_SECONDS
    recent = [] if is_old else [each for each in loads[-wide:] if isfinite(each)]
    if not recent:
        trouble = reason_of(Why.SIZE_UNKNOWN, hosts=hosts, by=scaling.by, text=measured.trouble)
        bounds = reason_of(Why.SIZE_BY_BOUNDS, least=scaling.least, most=scaling.most)
        return Choice(max(hosts, scaling.least), reason=bounds, trouble=trouble)
    needed = sum(recent) / len(recent)
    if needed > hosts * (1 + scaling.tolerance_percent / 100) + EXACT or hosts < scaling.least:
        return _more(scaling, hosts, needed)
    fewer = hosts if is_rolling else _fewer(scaling, hosts, changed_at, loads, wide, measured, now)
    is_open = needed > scaling.most
    return Choice(fewer, needed, _reason(scaling, needed), is_open=is_open)


def _loads(scaling: Scaling, measured: Measured) -> list[float]:
    """Hosts that are needed, at each step. What each host had on average tells of as many hosts as there
    were: of steps since their number changed last."""
    if not scaling.is_average:
        return [max(0.0, value) / scaling.target if isfinite(value) else nan for value in measured.values]
    first = measured.ends_at - len(measured.values) * measured.step_seconds
    begins = (first + number * measured.step_seconds for number in range(len(measured.values)))
    return [
        max(0.0, value) * measured.running / scaling.target
        if measured.running and isfinite(value) and begin >= measured.running_since
        else nan
        for value, begin in zip(measured.values, begins, strict=True)
    ]


def _more(scaling: Scaling, hosts: int, needed: float) -> Choice:
    """4 hosts, 9.3 are needed, 50 % at once: 6 now."""
    step = max(1, ceil(hosts * scaling.step_percent / 100 - EXACT))
    wanted = max(scaling.least, min(ceil(needed - EXACT), hosts + step))
    more = max(hosts, min(wanted, scaling.most))
    trouble = None
    if needed > scaling.most * (1 + scaling.tolerance_percent / 100) + EXACT:
        trouble = reason_of(Why.SIZE_AT_MOST, needed=ceil(needed - EXACT), most=scaling.most)
    return Choice(more, needed, _reason(scaling, needed), trouble, is_open=needed > scaling.most)


def _fewer(
    scaling: Scaling,
    hosts: int,
    changed_at: Instant,
    loads: Sequence[float],
    wide: int,
    measured: Measured,
    now: Instant,
) -> int:
    """As many as the highest mean of the steady time asks for, where each of its steps is known, some hosts
    served at each, for else clients could bring no load, and as many are up: 10 hosts, at most 3.2 were
    needed, 50 % at once: 5 now."""
    length = max(wide, round(scaling.steady_seconds / measured.step_seconds))
    past = loads[-length:]
    begins = max(changed_at, measured.up_since)
    if len(past) < length or not all(map(isfinite, past)) or now < begins + scaling.steady_seconds:
        return hosts
    peak = max(_means(past, wide))
    if peak >= hosts * (1 - scaling.tolerance_percent / 100) - EXACT:
        return hosts
    step = max(1, floor(hosts * scaling.step_percent / 100 + EXACT))
    fewer = min(hosts, max(ceil(peak - EXACT), hosts - step, scaling.least))
    return fewer if measured.up is not None and measured.up >= fewer else hosts


def _means(loads: Sequence[float], wide: int) -> Iterator[float]:
    """Of each `wide` steps that follow each other."""
    total = sum(loads[:wide])
    yield total / wide
    for leaves, joins in zip(loads, loads[wide:], strict=False):
        total += joins - leaves
        yield total / wide


def _reason(scaling: Scaling, needed: float) -> Reason:
    load = needed * scaling.target
    return reason_of(Why.SIZE_BY_LOAD, by=scaling.by, load=load, needed=needed, target=scaling.target)


def hosts_up(application: Application, region: RegionName, observed: Observed) -> int | None:
    """Hosts there that serve; None: no report says so now."""
    serving = application.serving_in(region)
    if serving is None or current_report(application, serving, region, observed)[1] is not None:
        return None
    view = observed[region]
    reports = (
        view.group(group.name)
        for group in application.groups
        if (part := group.part(region)) is not None and part.weight_bp > 0
    )
    return sum(min(each.verified, each.balancer_up) for each in reports)


def hosts_running(application: Application, region: RegionName, observed: Observed) -> int | None:
    """Hosts there that a metrics system sees, those of kept groups among them, which have nothing to do: an
    average is of all. None: no report says so now."""
    if hosts_up(application, region, observed) is None:
        return None
    reports = map(observed[region].group, (group.name for group in application.groups))
    return sum(each.healthy + each.verified + each.unhealthy for each in reports)


def because(application: Application) -> list[Because]:
    """The regions whose number of hosts is not as their load asks."""
    return [
        Because(each.trouble, each.region, each.since)
        for each in application.sized
        if each.trouble is not None
    ]


def forgotten(application: Application) -> Application:
    """Without what is known of regions whose number is chosen no longer."""
    gone = [each.region for each in application.sized if not _is_chosen(application, each.region)]
    return replace(application, sized=application.sized.without(gone)) if gone else application


def _is_chosen(application: Application, region: RegionName) -> bool:
    return application.policy.scaling.find(region) is not None and application.serving_in(region) is not None
