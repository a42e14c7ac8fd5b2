"""Compares the two groups that meet in a region: which can serve, and which has more hosts up. Pure."""

from dataclasses import dataclass

from repave_controller.core.domain.application import FULL_PERCENT, GroupState, Observed, Policy, hosts_of
from repave_controller.core.domain.place import Place, Side
from repave_controller.core.rules.verdicts import current_report
from repave_protos.protocol.values import GroupReport

CRIPPLED_PERCENT = 50
"""A side with fewer hosts up than this part of what its share of the traffic needs can't carry it."""


@dataclass(frozen=True, slots=True)
class Strength:
    """What a side has to serve with."""

    policy: Policy
    side: Side
    verified: int
    up: int  # verified, and up behind the balancer

    @property
    def needed(self) -> int:
        """Of the hosts that have had their time to come up."""
        return self.policy.needed(self.side.part.judged)

    @property
    def needed_in_full(self) -> int:
        """Of its whole size."""
        return self.policy.needed(self.side.part.size)

    @property
    def needed_while_healing(self) -> int:
        """Once those that a region replaces by the way are gone."""
        return self.policy.healing(self.side.part.judged)

    @property
    def is_whole(self) -> bool:
        return self.up >= self.needed

    @property
    def is_dead(self) -> bool:
        """Its share of the requests fails. The balancer's opinion alone is none: it begins anew when it is
        started again."""
        return self.side.part.weight_bp > 0 and self.side.part.count > 0 and self.verified == 0

    @property
    def is_crippled(self) -> bool:
        """10 hosts, of which 3 are verified, have 75 % of the traffic, which needs 8: fewer than half of
        these. Steps may ask for fewer hosts than a share needs; that is the user's choice."""
        part = self.side.part
        share = min(hosts_of(part.size, FULL_PERCENT, part.weight_bp), part.judged)
        return self.verified * 100 < share * CRIPPLED_PERCENT

    @property
    def may_take_all(self) -> bool:
        """A group that has not served yet has to be proven."""
        return self.up > 0 and (self.is_whole or self.side.part.state is not GroupState.NEW)


@dataclass(frozen=True, slots=True)
class Sides:
    """Both, by a report that counts."""

    target: Strength
    origin: Strength

    @property
    def neither_is_whole(self) -> bool:
        """Going back would not mend it: the target still serves, and the origin lacks hosts as well. A target
        without any host up has nothing to lose."""
        serves = self.target.side.part.weight_bp > 0 and self.target.up > 0
        return serves and not self.target.is_whole and not self.origin.is_whole

    @property
    def is_loss(self) -> bool:
        """Going back would leave fewer hosts to serve with: the target serves, the origin has fewer up, and
        it lacks more than a region replaces by the way."""
        serves = self.target.side.part.weight_bp > 0
        return serves and self.origin.up < min(self.target.up, self.origin.needed_while_healing)

    @property
    def would_not_be_mended(self) -> bool:
        """The same, were the target to lose some of its hosts and not all."""
        return self.target.side.part.weight_bp > 0 and self.target.up > 1 and not self.origin.is_whole

    @property
    def larger(self) -> Strength:
        return self.target if self.target.up > self.origin.up else self.origin

    @property
    def refuge(self) -> Strength | None:
        """The side that shall have all traffic, for the other can't serve its share and this one can."""
        for giver, taker in ((self.origin, self.target), (self.target, self.origin)):
            if giver.side.part.weight_bp == 0 or not (giver.is_dead or giver.is_crippled):
                continue
            is_enough = giver.is_dead or taker.up >= max(taker.needed_in_full, giver.up + 1)
            if is_enough and taker.may_take_all:
                return taker
        return None


def sides_of(place: Place, observed: Observed) -> Sides | None:
    """None where there is one side only, or no report that counts."""
    if place.origin is None:
        return None
    target, absent = current_report(place.application, place.target.group, place.region, observed)
    if absent is not None:
        return None
    origin = observed[place.region].group(place.origin.group.name)
    return Sides(_strength(place, place.target, target), _strength(place, place.origin, origin))


def _strength(place: Place, side: Side, report: GroupReport) -> Strength:
    up = min(report.verified, report.balancer_up)
    return Strength(place.application.policy, side, report.verified, up)
