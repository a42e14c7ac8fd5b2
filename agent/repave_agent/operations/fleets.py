"""Finds the hosts of a fleet that is there already, for a person who adopts it, and probes each once. Changes
nothing. What only one kind of balancer or provider can find, its declaration says (`kinds.py`).
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace

from repave_agent.core.host_health import ProbeResult, at_port
from repave_agent.core.ports import BalancerError, ProviderError, RefusedError
from repave_agent.health.prober import probe
from repave_protos.protocol.bounds import HOSTS_MAX
from repave_protos.protocol.queries import Content, FindHosts, FoundHost, FoundHosts, Refusal
from repave_protos.protocol.values import GivenHost, Probe

NAMED = "hosts"
"""The kind of a fleet whose hosts a person names."""
PROBES_AT_ONCE = 50

Find = Callable[[str], Awaitable[Sequence[GivenHost]]]
"""The hosts of the fleet of this name; a port of 0: the probe's. Raises ProviderError, BalancerError,
OSError."""
Ask = Callable[[Probe, str], Awaitable[ProbeResult]]


async def ask_once(asked: Probe, address: str) -> ProbeResult:
    """One probe of a host by HTTP or TCP."""
    return await probe(asked, address, _no_command)


async def answer_hosts(kinds: Mapping[str, Find], question: FindHosts, ask: Ask = ask_once) -> Content:
    """`kinds`: those that this region can find."""
    try:
        found = await _found(kinds, question)
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


async def _no_command(command: tuple[str, ...], timeout_seconds: float) -> int:
    raise RefusedError("no command can be run in a host that was there before")
