"""Whether clients are led to this region: what its record in DNS shall be, and the change that makes it so.
Pure.

A record is a name with the addresses of all regions that clients may be led to. This region owns those of its
own that its mark names, and touches no others. Health decides nothing here: only what the controller desires.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Literal

from repave_protos.protocol.values import DesiredState, Drain

MARK_LABEL = "_repave-"
"""Begins the name of the TXT record that says what a region has put beside a name."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """`addresses`: of this region, sorted. `is_served`: the balancer gives requests of it to hosts."""

    name: str
    addresses: tuple[str, ...]
    drain: Drain
    is_serving: bool
    is_served: bool

    @property
    def is_in(self) -> bool:
        return self.is_serving and self.drain == "none"


@dataclass(frozen=True, slots=True)
class Seen:
    """What the service says of a name. `addresses`: of all regions. `mark`: what this region has put there;
    None: nothing. `obstacle`: why nothing can be put there. `version`: what a change is compared with; each
    service's own."""

    addresses: frozenset[str] = frozenset()
    mark: tuple[str, ...] | None = None
    ttl_seconds: int = 0
    obstacle: str = ""
    version: object = None

    @property
    def ours(self) -> frozenset[str]:
        return self.addresses.intersection(self.mark or ())


@dataclass(frozen=True, slots=True)
class Settled:
    """It is as it shall be."""


@dataclass(frozen=True, slots=True)
class Awaited:
    """It is not put there yet: `why`."""

    why: str


@dataclass(frozen=True, slots=True)
class Unfit:
    """It can't be made so, and is left as it is. `why`: for people, with what to do."""

    why: str


@dataclass(frozen=True, slots=True)
class Change:
    """What becomes of a name: these addresses added and removed, and the mark as given, or removed."""

    name: str
    add: tuple[str, ...]
    remove: tuple[str, ...]
    mark: tuple[str, ...] | None


def wanted_of(state: DesiredState, name: str, addresses: tuple[str, ...], *, is_served: bool) -> Wanted:
    plain = tuple(sorted(map(_plain, addresses)))
    return Wanted(name, plain, state.drain, state.is_serving, is_served)


def _plain(address: str) -> str:
    """As services write it: 2001:DB8::0:7 is 2001:db8::7."""
    return str(ip_address(address)) if kind_of(address) != "CNAME" else address.rstrip(".").lower()


def decide(wanted: Wanted, seen: Seen) -> Settled | Awaited | Unfit | Change:
    """Level-triggered: by what is seen now, whatever was done before."""
    strays = sorted(seen.addresses.intersection(wanted.addresses).difference(seen.mark or ()))
    if not wanted.is_in:
        return _out(wanted, seen, strays)
    if seen.obstacle:
        return Unfit(seen.obstacle)
    if not wanted.addresses:
        return Unfit("the balancer has no address yet: name some in dns.addresses")
    if strays:
        return Unfit(f"{_named(strays)} at {wanted.name} already, and not by repave: remove it there")
    if seen.mark == wanted.addresses and seen.ours == set(wanted.addresses):
        return Settled()
    if not wanted.is_served and not seen.ours:
        return Awaited("the balancer serves nothing of it yet")
    add = tuple(each for each in wanted.addresses if each not in seen.ours)
    remove = tuple(sorted(seen.ours.difference(wanted.addresses)))
    return Change(wanted.name, add, remove, wanted.addresses)


def _out(wanted: Wanted, seen: Seen, strays: list[str]) -> Settled | Unfit | Change:
    if seen.mark is None:
        return (
            Unfit(f"{_named(strays)} at {wanted.name}, and not by repave: remove it there")
            if strays
            else Settled()
        )
    if wanted.drain == "unless_last" and seen.ours and seen.ours == seen.addresses:
        return Unfit(
            f"{_named(sorted(seen.ours))} the last at {wanted.name}: it stays until another region is there"
        )
    is_drained = wanted.is_serving
    if is_drained and not seen.ours:
        return Settled()
    # The mark stays: where a service can't compare, another region's change may bring the addresses back.
    return Change(wanted.name, (), tuple(sorted(seen.ours)), seen.mark if is_drained else None)


def _named(addresses: list[str]) -> str:
    return f"{', '.join(addresses)} {'is' if len(addresses) == 1 else 'are'}"


# ----------------------------------------------------------------------------------------- how it is written


def kind_of(address: str) -> Literal["A", "AAAA", "CNAME"]:
    """Which type of record leads to it."""
    try:
        return "A" if ip_address(address).version == 4 else "AAAA"
    except ValueError:
        return "CNAME"


def mark_name(name: str, region: str) -> str:
    return f"{MARK_LABEL}{region}.{name}"


def mark_text(installation: str, addresses: tuple[str, ...]) -> str:
    """What the mark says: whose it is, and what it has put there."""
    return f"repave {installation} {','.join(addresses)}"


def read_mark(texts: Sequence[str], installation: str, region: str) -> tuple[tuple[str, ...] | None, str]:
    """What the region has put there by its mark, and why it may not touch it. `texts`: of the TXT records at
    the mark's name, none where there is no mark."""
    if not texts:
        return None, ""
    words = texts[0].split(" ") if len(texts) == 1 else []
    if len(words) != 3 or words[0] != "repave":
        says = ", ".join(texts)[:80]
        return None, f"{MARK_LABEL}{region} says {says!r}, which repave has not written: remove it there"
    if words[1] != installation:
        whose = f"it belongs to installation {words[1]}: remove {MARK_LABEL}{region} there if that has ended"
        return None, whose
    return tuple(sorted(filter(None, words[2].split(",")))), ""
