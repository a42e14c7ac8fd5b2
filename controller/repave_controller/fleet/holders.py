"""Which agent has each region, and when another one may have it: so that never two act there.

An agent alone holds its region without end: it heals on while the controller is away. Once a second one
stands by, the first acts by leases, and the other gets the region when the last of them has surely ended
(docs/decisions/0077). Pure but for what it remembers; `sessions.py` saves a new holder before it tells it.
"""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace

from repave_protos.protocol.capabilities import can_be_taken_over
from repave_protos.protocol.certificates import AgentIdentity
from repave_protos.protocol.values import Hello, RegionName

LEASE_SECONDS = 60.0
FREE_SECONDS = 90.0
"""A lease that was given so long ago has ended, also by a clock that is slow, with what was under way."""
RELEASED_SECONDS = 600.0
"""A stand-by that was not heard for so long is none, and the agent acts without leases again."""
TAKE_OVER_SECONDS = 300.0
"""A take-over that a person asks for has to happen within this time."""


@dataclass(frozen=True, slots=True)
class Holder:
    """The agent that has a region. `term` grows with each change of the agent. `is_bound`: it has confirmed
    that it acts by lease. `agent` is that of its certificate, "" over plaintext. `yields_until`: by then a
    person lets the next agent have the region, whichever controller it asks."""

    region: RegionName
    instance: str
    term: int
    is_bound: bool = False
    agent: str = ""
    yields_until: float = 0.0


@dataclass(frozen=True, slots=True)
class Admitted:
    """The agent has the region. `holder` is None of an agent so old that it names no instance."""

    holder: Holder | None


@dataclass(frozen=True, slots=True)
class Kept:
    """Another agent has it. `can_follow`: this one gets it when that one's lease has ended."""

    why: str
    can_follow: bool


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of the holder's agent: its last Hello, whether that stream is open, and whether its
    certificate was revoked, or has expired."""

    hello: Hello | None = None
    is_connected: bool = False
    is_revoked: bool = False
    is_expired: bool = False


class Holders:
    """Of all regions."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._holders: dict[RegionName, Holder] = {}
        self._free_at: dict[RegionName, float] = {}  # of those that are bound
        self._wanted: set[RegionName] = set()  # a lease is asked of their holders
        self._followed_at: dict[RegionName, float] = {}  # when a stand-by was heard last
        self._forced_until: dict[RegionName, float] = {}
        self.forgotten: set[RegionName] = set()  # not yet in the store

    def load(self, holders: Iterable[Holder]) -> None:
        """What the store has. Until when their leases were given is not known: they were given just now."""
        now = self._clock()
        for holder in holders:
            self._holders[holder.region] = holder
            if holder.is_bound:
                self._free_at[holder.region] = now + FREE_SECONDS
                self._followed_at[holder.region] = now

    def __len__(self) -> int:
        return len(self._holders)

    def of(self, region: RegionName) -> Holder | None:
        return self._holders.get(region)

    def take(self, holder: Holder) -> None:
        """It is saved, and counts from now on."""
        self._holders[holder.region] = holder
        self.forgotten.discard(holder.region)
        if holder.is_bound:
            self._lend(holder.region)
        else:
            self._free_at.pop(holder.region, None)

    def hear(self, region: RegionName, holder: Holder | None) -> None:
        """Another controller has saved it. Until when it lent is not known: it did so just now."""
        if holder == self._holders.get(region):
            return
        if holder is not None:
            former = self._holders.get(region)
            if former is not None and former.instance != holder.instance:
                self._forced_until.pop(region, None)  # it has happened
            self.take(holder)
        else:
            self.forget(region)
            self.forgotten.discard(region)

    def lent_elsewhere(self, region: RegionName) -> None:
        """Another controller lends, or lent until now."""
        if region in self._free_at:
            self._lend(region)

    def forget(self, region: RegionName) -> None:
        if self._holders.pop(region, None) is not None:
            self.forgotten.add(region)
        for known in (self._free_at, self._followed_at, self._forced_until):
            known.pop(region, None)
        self._wanted.discard(region)

    # ------------------------------------------------------------------------------- who may have it

    def claim(self, hello: Hello, known: Known, agent: str = "") -> Admitted | Kept:
        """Whether the agent that says this Hello may have its region. What is `known` is of the holder."""
        if not hello.instance:
            return Admitted(None)
        holder = self._holders.get(hello.region)
        if holder is None:
            return Admitted(Holder(hello.region, hello.instance, max(1, hello.term), agent=agent))
        if holder.instance == hello.instance:
            return Admitted(replace(holder, term=max(holder.term, hello.term), agent=agent))
        if why := self._why_kept(holder, hello, known):
            return Kept(why, self.can_follow(hello, known))
        self._forced_until.pop(hello.region, None)
        term = max(holder.term, hello.term) + 1
        return Admitted(Holder(hello.region, hello.instance, term, can_follow_at_all(hello), agent))

    def _why_kept(self, holder: Holder, hello: Hello, known: Known) -> str:
        """Why another agent than the holder does not get the region now, or ""."""
        region, now = holder.region, self._clock()
        at_once = f"repave regions take-over {region}"
        if now < max(self._forced_until.get(region, 0.0), holder.yields_until):
            return ""
        if holder.is_bound:  # even of one that was revoked: it may not have heard of it yet
            left = self._free_at.get(region, 0.0) - now
            if left <= 0:
                return ""
            if known.is_connected and not known.is_revoked:
                return (
                    f"another agent serves {region}: this one stands by, and takes over when the lease of "
                    f"the other one has ended; at once: {at_once}"
                )
            return f"the agent of {region} is away, and its lease ends in {left:.0f} s: then this one has it"
        if known.is_revoked or self._is_heir(holder, hello, known):
            return ""
        if not all(can_be_taken_over(each.capabilities) for each in (hello, known.hello or hello)):
            return "" if known.is_expired else _why_bound(region, known, at_once)
        if known.is_connected:
            return (
                f"another agent serves {region}: this one stands by, once the other one acts by lease; "
                f"at once: {at_once}"
            )
        return (
            f"another agent serves {region}, is away, and may act on there: it had no lease that ends. Stop "
            f"it, and then give the region to this one: {at_once}"
        )

    def _is_heir(self, holder: Holder, hello: Hello, known: Known) -> bool:
        """It has what the region was sent before, and the first one that came to a controller without memory
        has nothing."""
        return (
            holder.term == 1
            and known.is_connected
            and known.hello is not None
            and not known.hello.applied
            and bool(hello.applied)
        )

    def can_follow(self, hello: Hello, known: Known) -> bool:
        """Whether it takes over without an operator: both agents know leases, and all can be taken over."""
        return can_follow_at_all(hello) and (known.hello is None or can_follow_at_all(known.hello))

    def force(self, region: RegionName) -> None:
        """A person lets the next agent that asks have the region."""
        self._forced_until[region] = self._clock() + TAKE_OVER_SECONDS

    def yielding(self, region: RegionName) -> Holder | None:
        """The holder, as other controllers are to know that it was forced; None: there is none."""
        holder = self._holders.get(region)
        if holder is None:
            return None
        return replace(holder, yields_until=self._clock() + TAKE_OVER_SECONDS)

    def may_act_seconds(self, region: RegionName) -> float | None:
        """For how long the holder may act though it hears nothing; None: without end."""
        holder = self._holders.get(region)
        if holder is None or not holder.is_bound:
            return None
        return max(0.0, self._free_at.get(region, 0.0) - self._clock())

    # ----------------------------------------------------------------------------------------- leases

    def follow(self, region: RegionName) -> bool:
        """A stand-by was heard. Whether the holder is to be told only now that it needs leases."""
        is_new = region not in self._wanted
        self._wanted.add(region)
        self._followed_at[region] = self._clock()
        return is_new

    def lease_seconds(self, hello: Hello) -> float:
        """What its Welcome says; the lease counts from now."""
        holder = self._holders.get(hello.region)
        is_bound = holder is not None and holder.is_bound
        if not hello.leases or not (is_bound or hello.region in self._wanted):
            return 0.0
        self._lend(hello.region)
        return LEASE_SECONDS

    def lend(self, region: RegionName) -> float:
        """The agent has asked to go on: for so long."""
        self._lend(region)
        return LEASE_SECONDS

    def _lend(self, region: RegionName) -> None:
        self._free_at[region] = self._clock() + FREE_SECONDS

    def is_alone(self, region: RegionName) -> bool:
        """No stand-by was heard for long: it needs no leases any more."""
        followed_at = self._followed_at.get(region)
        return followed_at is None or self._clock() >= followed_at + RELEASED_SECONDS

    def release(self, region: RegionName) -> None:
        self._wanted.discard(region)

    def followed(self) -> Collection[RegionName]:
        """Regions whose agent acts by lease, or is to."""
        return {*self._wanted, *(name for name, each in self._holders.items() if each.is_bound)}


def can_follow_at_all(hello: Hello) -> bool:
    return hello.leases and can_be_taken_over(hello.capabilities)


def known_of(
    hello: Hello | None, *, is_connected: bool, identity: AgentIdentity | None, objection: str, now: float
) -> Known:
    """`objection`: why its certificate counts no longer, or ""."""
    is_expired = identity is not None and identity.expires_at <= now
    return Known(hello, is_connected, bool(objection) and not is_expired, is_expired)


def _why_bound(region: RegionName, known: Known, at_once: str) -> str:
    has = f" ({known.hello.provider}, {known.hello.balancer})" if known.hello is not None else ""
    return (
        f"another agent serves {region}, with a state directory of its own. What it has{has} can't be taken "
        f"over from another machine: stop one of the two; if this one shall begin there anew: {at_once}"
    )
