"""What an agent says in Hello that its provider and balancer can do: written by the agent, read by the
controller, which so works with kinds that it has never heard of.

A spec is checked against these words when it is planned and released. Old agents leave words out; each reader
says what that means.
"""

import re
from dataclasses import dataclass

KIND_NAME = re.compile(r"[a-z][a-z0-9_]{0,31}")
"""What a provider or a balancer can be called."""

DIRECTLY = "X-Repave-Directly"
"""Header of an agent that fetches a package, and can be led to the store that has it."""

_PRECISION = "traffic_precision"
_NO_STICKY_SPLIT = "split=request"
_NO_TESTERS = "testers=none"
_MACHINE_IMAGES = "host.image=any"
_SIZES = "host.size=any"
_SPOT = "host.spot=any"
_HEALTH_BY_BALANCER = "health.by=balancer"
_NO_TIMEOUTS = "timeouts=none"
_NO_TUNNEL_TIMEOUT = "timeouts.tunnel=none"
_WAY_IN = "way_in"
_SIGNATURES = "signatures"
_BUNDLES = "bundles"
_NO_COMMANDS = "health.command=none"
_NO_OUTPUT = "output=none"
_TAKE_OVER = "take_over"
_SECRETS = "secrets"
_DNS = "dns"
_REQUESTS = "requests"
_BASELINES = "baselines"
_FRONT = "front"
_JOBS = "jobs"
_ADOPTS = "adopts"
_WORKERS = "workers"
_COUNTED, _NOT_COUNTED = "counted", "not_counted"


@dataclass(frozen=True, slots=True)
class BalancerAbilities:
    """Every share is a multiple of `share_step_bp`: 1 for any, 10,000 for all or nothing.

    `supports_sticky_split`: by a cookie or header. `switches_at_once`: False where both groups get some of
    the traffic for a moment while it moves. `takes_timeouts`: a spec may set those of connections;
    `has_tunnel_timeout`: among them one of upgraded ones. `can_be_taken_over`: an agent on another machine
    reaches all of it, and goes on with what it finds. `tells_health`: its checks send what the agent's prober
    sends, by HTTP and TCP, and it says what they found of each host. `counts_requests`: of each group.
    `takes_baselines`: a third group may have as much of the traffic as the second. `fronts`: what fronts may
    need of it, by the words of fronts.py; (): it has plain HTTP at one port for each application.
    """

    share_step_bp: int = 1
    supports_sticky_split: bool = True
    supports_testers: bool = True
    switches_at_once: bool = True
    takes_timeouts: bool = True
    has_tunnel_timeout: bool = True
    can_be_taken_over: bool = False
    tells_health: bool = False
    counts_requests: bool = False
    takes_baselines: bool = False
    fronts: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        assert 1 <= self.share_step_bp <= 10_000


@dataclass(frozen=True, slots=True)
class ProviderAbilities:
    """`takes_machine_images`: a spec may name that of hosts. `runs_commands`: probes run inside hosts.
    `keeps_output`: what hosts print can be read. `can_be_taken_over`: an agent on another machine reaches all
    hosts, and knows them by their tags. `takes_secrets`: it can hand a secret to a host so that no other host
    and no other user reads it. `takes_sizes`, `takes_spot`: a spec may say of which size hosts are, and that
    the cloud may take them back. `runs_jobs`: it tells the exit code of a host's command, also after the
    agent was away."""

    takes_machine_images: bool = False
    runs_commands: bool = True
    keeps_output: bool = True
    can_be_taken_over: bool = False
    takes_secrets: bool = False
    takes_sizes: bool = False
    takes_spot: bool = False
    runs_jobs: bool = False


@dataclass(frozen=True, slots=True)
class RecordAbilities:
    """How a region's record is kept in DNS. `ttl_seconds`: how exactly it is followed, for resolvers answer
    with what they have for so long. `is_weighted`: regions may have unequal shares."""

    kind: str
    ttl_seconds: int
    is_weighted: bool = False


def capability_words(
    provider: ProviderAbilities,
    balancer: BalancerAbilities,
    secret_sources: tuple[str, ...] = (),
    dns: RecordAbilities | None = None,
    *,
    verifies_bundles: bool = False,
    certificate_kinds: tuple[str, ...] = (),
) -> tuple[str, ...]:
    """What Hello carries. `secret_sources`: those that the agent's settings allow. `verifies_bundles`: it has
    what bundles of sigstore are verified with. `certificate_kinds`: of references to those of fronts."""
    certificates = [f"certificate_{kind}" for kind in certificate_kinds if "https" in balancer.fronts]
    words = ["weights", f"{_PRECISION}={balancer.share_step_bp}bp", _WAY_IN, _SIGNATURES, _ADOPTS, _WORKERS]
    words += [_BUNDLES] * verifies_bundles
    words += [_NO_STICKY_SPLIT] * (not balancer.supports_sticky_split)
    words += [_NO_TESTERS] * (not balancer.supports_testers)
    words += [_NO_TIMEOUTS] * (not balancer.takes_timeouts)
    words += [_NO_TUNNEL_TIMEOUT] * (not balancer.has_tunnel_timeout)
    words += [_MACHINE_IMAGES] * provider.takes_machine_images
    words += [_SIZES] * provider.takes_sizes
    words += [_SPOT] * provider.takes_spot
    words += [_HEALTH_BY_BALANCER] * balancer.tells_health
    words.append(f"{_REQUESTS}={_COUNTED if balancer.counts_requests else _NOT_COUNTED}")
    words += [_BASELINES] * balancer.takes_baselines
    words += [f"{_FRONT}={ability}" for ability in (*balancer.fronts, *certificates)]
    words += [_JOBS] * provider.runs_jobs
    words += [_NO_COMMANDS] * (not provider.runs_commands)
    words += [_NO_OUTPUT] * (not provider.keeps_output)
    words += [_TAKE_OVER] * (provider.can_be_taken_over and balancer.can_be_taken_over)
    words += [f"{_SECRETS}={'+'.join(secret_sources)}"] * provider.takes_secrets
    if dns is not None:
        shares = "weighted" if dns.is_weighted else "equal"
        words.append(f"{_DNS}={dns.kind},ttl={dns.ttl_seconds}s,shares={shares}")
    return tuple(words)


def traffic_precision_bp(capabilities: tuple[str, ...]) -> int | None:
    """The share_step_bp; None of an agent that says nothing, or nothing that can be meant."""
    for word in capabilities:
        name, _, value = word.partition("=")
        number = value.removesuffix("bp")
        if name == _PRECISION and number.isascii() and number.isdecimal() and len(number) <= 5:
            return int(number) if 1 <= int(number) <= 10_000 else None
    return None


def supports_sticky_split(capabilities: tuple[str, ...]) -> bool:
    """Only balancers that can't say so: agents before this could."""
    return _NO_STICKY_SPLIT not in capabilities


def supports_testers(capabilities: tuple[str, ...]) -> bool:
    """Only balancers that can't say so."""
    return _NO_TESTERS not in capabilities


def takes_timeouts(capabilities: tuple[str, ...]) -> bool:
    """Only balancers that can't say so."""
    return _NO_TIMEOUTS not in capabilities


def has_tunnel_timeout(capabilities: tuple[str, ...]) -> bool:
    """Only balancers that can't say so."""
    return _NO_TUNNEL_TIMEOUT not in capabilities


def knows_ways_in(capabilities: tuple[str, ...]) -> bool:
    """Whether it can be asked for a way in. Only agents that say so."""
    return _WAY_IN in capabilities


def adopts(capabilities: tuple[str, ...]) -> bool:
    """Whether it takes in hosts that are there already. Only agents that say so: others would make some."""
    return _ADOPTS in capabilities


def knows_workers(capabilities: tuple[str, ...]) -> bool:
    """Whether it has applications that take no requests. Only agents that say so: others would wait for their
    balancer."""
    return _WORKERS in capabilities


def verifies_signatures(capabilities: tuple[str, ...]) -> bool:
    """Whether it launches no package without the signature that it needs. Only agents that say so."""
    return _SIGNATURES in capabilities


def can_verify_bundles(capabilities: tuple[str, ...]) -> bool:
    """Whether it can look at bundles of sigstore. Only agents that say so."""
    return _BUNDLES in capabilities


def takes_machine_images(capabilities: tuple[str, ...]) -> bool:
    """Only providers that can say so."""
    return _MACHINE_IMAGES in capabilities


def takes_sizes(capabilities: tuple[str, ...]) -> bool:
    """Only of agents that say so: others would make hosts of another size."""
    return _SIZES in capabilities


def takes_spot(capabilities: tuple[str, ...]) -> bool:
    """Only of agents that say so: others would make hosts at the full price."""
    return _SPOT in capabilities


def tells_health(capabilities: tuple[str, ...]) -> bool:
    """Whether its balancer can be the source of hosts' health. Only of agents that say so."""
    return _HEALTH_BY_BALANCER in capabilities


def counts_requests(capabilities: tuple[str, ...]) -> bool | None:
    """Whether its balancer counts those of each group; None of an agent that can't be asked for them."""
    if f"{_REQUESTS}={_COUNTED}" in capabilities:
        return True
    return False if f"{_REQUESTS}={_NOT_COUNTED}" in capabilities else None


def takes_baselines(capabilities: tuple[str, ...]) -> bool:
    """Whether a fresh baseline can have its share. Only of agents that say so: others refuse such a state."""
    return _BASELINES in capabilities


def front_abilities(capabilities: tuple[str, ...]) -> frozenset[str]:
    """What fronts may need there, by the words of fronts.py. Only of agents that say so."""
    named = (word.partition("=") for word in capabilities)
    return frozenset(ability for name, _, ability in named if name == _FRONT)


def runs_jobs(capabilities: tuple[str, ...]) -> bool:
    """Whether jobs of releases can run there. Only of agents that say so."""
    return _JOBS in capabilities


def runs_commands(capabilities: tuple[str, ...]) -> bool:
    """Only providers that can't say so."""
    return _NO_COMMANDS not in capabilities


def keeps_output(capabilities: tuple[str, ...]) -> bool:
    """Only providers that can't say so."""
    return _NO_OUTPUT not in capabilities


def can_be_taken_over(capabilities: tuple[str, ...]) -> bool:
    """Whether a stand-by on another machine can go on with all that the agent has. Only where it says so."""
    return _TAKE_OVER in capabilities


def secret_sources(capabilities: tuple[str, ...]) -> tuple[str, ...] | None:
    """Where its agent can read secrets of hosts; None: its hosts are handed none. Only of agents that say so:
    others would start hosts without them."""
    for word in capabilities:
        name, sign, sources = word.partition("=")
        if name == _SECRETS and sign:
            return tuple(filter(None, sources.split("+")))
    return None


def dns_of(capabilities: tuple[str, ...]) -> str:
    """How its agent keeps records in DNS, for people: `rfc2136, ttl 60s, shares equal`; "": it keeps none."""
    for word in capabilities:
        name, sign, value = word.partition("=")
        if name == _DNS and sign:
            return value.replace(",", ", ").replace("=", " ")
    return ""


def nearest_shares(weight_bp: int, precision_bp: int) -> tuple[int, int]:
    """The shares below and above `weight_bp` that such a balancer can give; equal where it is exact.

    500 with a precision of 200: (400, 600).
    """
    below = weight_bp - weight_bp % precision_bp
    return below, below if below == weight_bp else min(10_000, below + precision_bp)
