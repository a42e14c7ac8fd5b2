"""Asks the regions of a fleet that is there already for its hosts, so that it can be adopted. Nothing of it
is touched: each host is probed once.
"""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from repave_controller.core.commands.adoption import Fleet, template_of
from repave_controller.core.domain.application import ReleaseOrder
from repave_controller.core.domain.reasons import Refusal, Refused
from repave_controller.fleet.questions import RegionUnreachable
from repave_protos.daemon.endpoint import endpoint
from repave_protos.protocol.capabilities import adopts
from repave_protos.protocol.queries import Content, FindHosts, FoundHost, FoundHosts, Question
from repave_protos.protocol.values import GivenHost, Hello, RegionName

FIND_SECONDS = 60.0
"""A thousand hosts that do not answer, 50 at once, each after a second or two."""
SHOWN_MAX = 5
Answered = TypeVar("Answered", bound=Content)


@dataclass(frozen=True, slots=True)
class Source:
    """Where the hosts of a region are found. `kind` "hosts": those that are named."""

    region: RegionName
    kind: str
    name: str = ""
    hosts: tuple[GivenHost, ...] = ()


@dataclass(frozen=True, slots=True)
class Found:
    """The hosts of each region, each with what its probe has said."""

    hosts: tuple[tuple[RegionName, tuple[FoundHost, ...]], ...]

    @property
    def fleet(self) -> Fleet:
        return tuple((region, tuple(each.host for each in hosts)) for region, hosts in self.hosts)


class View(Protocol):
    """A region as its agent introduced itself."""

    hello: Hello


class Agents(Protocol):
    """Whom to ask: the sessions."""

    def views(self) -> Mapping[RegionName, View]: ...

    async def ask(
        self, region: RegionName, question: Question, kind: type[Answered], seconds: float, /
    ) -> Answered:
        """Raises RegionUnreachable."""


async def find_fleet(agents: Agents, order: ReleaseOrder, sources: Sequence[Source]) -> Found:
    """All hosts, of every source. Raises Refused."""
    _check_sources(order, sources)
    _check_agents(agents, sources)
    found = await asyncio.gather(*(_find(agents, order, each) for each in sources))
    hosts = dict(zip((each.region for each in sources), found, strict=True))
    for region, there in hosts.items():
        _check_hosts(region, there)
    return Found(tuple(sorted(hosts.items())))


def notes_of(found: Found, order: ReleaseOrder, *, serves: bool) -> Iterator[str]:
    """What a person should know who adopts this fleet."""
    sizes, there = dict(order.sizes), dict(found.hosts)
    for region, hosts in there.items():
        if silent := [each.host for each in hosts if each.trouble]:
            yield (
                f"{region}: {len(silent)} of {len(hosts)} hosts do not pass the probe now "
                f"({_shown(silent)}): they get no requests until they do, and are not replaced"
            )
        if sizes[region] != len(hosts):
            yield (f"{region}: the fleet has {len(hosts)} hosts; a release makes the spec's {sizes[region]}")
    for region in sorted(sizes.keys() - there.keys()):
        yield f"{region}: nothing is adopted there; the first release adds it"
    for front in order.template.fronts:
        if front.to:
            header = ", with a header of the PROXY protocol" if front.sends_proxy else ""
            yield (
                f"front {front.name} leads to port {front.to} of the adopted hosts, too{header}, which was "
                "not tried: where they don't take it, adopt by a spec without it, and add it with the first "
                "release: each group is reached as its own spec says"
            )
    if serves:
        yield f"the regions' balancers send it requests, at traffic.port {order.frontend_port}, from now on"
    else:
        yield (
            "until the first release begins, or adopt --serve, its hosts are only probed: clients come in as "
            "they do now"
        )
    yield "which version it runs is not known here; and none of its machines is ever ended by repave"


def _shown(hosts: Sequence[GivenHost]) -> str:
    places = ", ".join(endpoint(each.address, each.port) for each in hosts[:SHOWN_MAX])
    more = len(hosts) - SHOWN_MAX
    return f"{places} and {more} more" if more > 0 else places


def _check_sources(order: ReleaseOrder, sources: Sequence[Source]) -> None:
    sizes = dict(order.sizes)
    regions = [each.region for each in sources]
    if unknown := sorted(set(regions) - sizes.keys()):
        raise Refused(Refusal.FLEET_OF_OTHER_REGION, regions=tuple(unknown), known=tuple(sizes))
    if twice := sorted({each for each in regions if regions.count(each) > 1}):
        raise Refused(Refusal.FLEET_NAMED_TWICE, regions=tuple(twice))
    if order.template.is_worker:
        raise Refused(Refusal.FLEET_OF_WORKERS)
    if order.template.probe.kind == "command":
        raise Refused(Refusal.FLEET_WITH_COMMAND)


def _check_agents(agents: Agents, sources: Sequence[Source]) -> None:
    views = agents.views()
    regions = {each.region for each in sources}
    if older := tuple(
        sorted(
            region for region in regions if region in views and not adopts(views[region].hello.capabilities)
        )
    ):
        raise Refused(Refusal.AGENTS_DO_NOT_ADOPT, regions=older)


async def _find(agents: Agents, order: ReleaseOrder, source: Source) -> tuple[FoundHost, ...]:
    probe = template_of(order.template).probe
    question = FindHosts(source.kind, source.name, source.hosts, probe)
    try:
        answer = await agents.ask(source.region, question, FoundHosts, FIND_SECONDS)
    except RegionUnreachable as error:
        raise Refused(Refusal.FLEET_NOT_FOUND, region=source.region, why=str(error)) from error
    return answer.hosts


def _check_hosts(region: RegionName, hosts: Sequence[FoundHost]) -> None:
    places = [endpoint(each.host.address, each.host.port) for each in hosts]
    if twice := sorted({each for each in places if places.count(each) > 1}):
        raise Refused(Refusal.FLEET_HOST_TWICE, region=region, hosts=tuple(twice[:SHOWN_MAX]))
    if all(each.trouble for each in hosts):
        raise Refused(Refusal.FLEET_SILENT, region=region, hosts=len(hosts), why=hosts[0].trouble)
