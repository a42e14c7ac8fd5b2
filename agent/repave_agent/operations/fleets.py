"""Finds the hosts of a fleet that is there already, for a person who adopts it, and probes each once. Changes
nothing. What only one kind of balancer or provider can find, its declaration says (`kinds.py`).
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from ipaddress import IPv6Address, ip_address

from repave_agent.core.host_health import ProbeResult, at_port
from repave_agent.core.ports import BalancerError, ProviderError, RefusedError
from repave_agent.health.prober import probe
from repave_protos.daemon.endpoint import endpoint
from repave_protos.protocol.bounds import HOSTS_MAX
from repave_protos.protocol.queries import Content, FindHosts, FoundHost, FoundHosts, Refusal
from repave_protos.protocol.values import ApplicationName, GivenHost, Probe

NAMED = "hosts"
"""The kind of a fleet whose hosts a person names."""
PROBES_AT_ONCE = 50
METADATA = (ip_address("fd00:ec2::254"), ip_address("100.100.100.200"), ip_address("168.63.129.16"))
"""Where clouds tell a machine its credentials, beside link-local addresses."""

Find = Callable[[str], Awaitable[Sequence[GivenHost]]]
"""The hosts of the fleet of this name; a port of 0: the probe's. Raises ProviderError, BalancerError,
OSError."""
Ask = Callable[[Probe, str], Awaitable[ProbeResult]]


async def ask_once(asked: Probe, address: str) -> ProbeResult:
    """One probe of a host by HTTP or TCP."""
    return await probe(asked, address, _no_command)


@dataclass(frozen=True, slots=True)
class Grounds:
    """What this region knows of addresses. `made`: of hosts that repave has made, and of which application
    each is. `has_loopback`: its hosts are processes of this machine, so others may be, too."""

    made: Mapping[str, ApplicationName] = field(default_factory=dict)
    has_loopback: bool = True


async def answer_hosts(
    kinds: Mapping[str, Find], question: FindHosts, grounds: Grounds, ask: Ask = ask_once
) -> Content:
    """`kinds`: those that this region can find."""
    try:
        found = await _found(kinds, question)
        if question.kind == NAMED:
            _check_named(found, grounds)
        _check_not_made(found, grounds)
    except (ProviderError, BalancerError, OSError) as error:
        return Refusal(str(error))
    if not found:
        return Refusal(f"{question.name or 'the fleet'} has no hosts")
    if len(found) > HOSTS_MAX:
        return Refusal(f"{question.name} has {len(found)} hosts; {HOSTS_MAX} are the most")
    turn = asyncio.Semaphore(PROBES_AT_ONCE)

    async def look(host: GivenHost) -> FoundHost:
        async with turn:
            result = await ask(at_port(question.probe, host.port), host.address)
        return FoundHost(host, "" if result.ok else result.reason or "it did not pass its probe")

    return FoundHosts(tuple(await asyncio.gather(*map(look, found))))


async def _found(kinds: Mapping[str, Find], question: FindHosts) -> tuple[GivenHost, ...]:
    if question.kind == NAMED:
        return question.hosts
    find = kinds.get(question.kind)
    if find is None:
        can = ", ".join([f"--{NAMED}", *(f"--from-{kind}" for kind in sorted(kinds))])
        raise RefusedError(
            f"neither the provider nor the balancer of this region finds a fleet by {question.kind}; it "
            f"takes: {can}"
        )
    hosts = await find(question.name)
    return tuple(each if each.port else replace(each, port=question.probe.port) for each in hosts)


def _check_named(hosts: Sequence[GivenHost], grounds: Grounds) -> None:
    """Who may release an application may have the agent ask any host that it could adopt, and nothing else
    that only this machine reaches. Raises RefusedError."""
    for host in hosts:
        try:
            address = ip_address(host.address)
        except ValueError:
            raise RefusedError(f"{host.address}: name the host by its IP address") from None
        address = (address.ipv4_mapped if isinstance(address, IPv6Address) else None) or address
        is_metadata = address in METADATA or address.is_link_local
        if is_metadata or address.is_unspecified or address.is_multicast:
            raise RefusedError(
                f"{host.address} is no address of a host: it is link-local or of no one machine"
            )
        if address.is_loopback and not grounds.has_loopback:
            raise RefusedError(
                f"{host.address} is the agent's own machine, and hosts of this region are elsewhere: name an "
                "address by which its balancer reaches it"
            )


def _check_not_made(hosts: Sequence[GivenHost], grounds: Grounds) -> None:
    """Raises RefusedError."""
    for host in hosts:
        if owner := grounds.made.get(host.address):
            where = endpoint(host.address, host.port)
            raise RefusedError(
                f"{where} is a host that repave has made for {owner}: each has one application"
            )


async def _no_command(command: tuple[str, ...], timeout_seconds: float) -> int:
    raise RefusedError("no command can be run in a host that was there before")
