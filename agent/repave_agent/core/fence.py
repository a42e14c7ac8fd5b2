"""Decides whether an agent accepts a desired state: the fence of the region, and its own share of the
promises. Pure. A refusal changes nothing: the region goes on with what it accepted before.
"""

from dataclasses import dataclass

from repave_protos.protocol.values import DesiredState, contradictions

TERM_JUMP_MAX = 1 << 20


@dataclass(frozen=True, slots=True)
class Accept:
    """To be saved, then acted on."""


@dataclass(frozen=True, slots=True)
class Again:
    """Known already: confirm it once more."""


@dataclass(frozen=True, slots=True)
class Outdated:
    """Older than what was accepted: a message that was long under way, or a controller that lost its memory.
    The region goes on with what it accepted, and says so by the epoch of its reports."""

    why: str


@dataclass(frozen=True, slots=True)
class Refuse:
    """Not accepted; the text goes to the controller and to people."""

    why: str


def admit(known: DesiredState | None, proposed: DesiredState) -> Accept | Again | Outdated | Refuse:
    """Compares epochs first, then looks at what the state asks for."""
    wrong = contradictions(proposed)
    if wrong:
        return Refuse("; ".join(wrong))
    if known is None:
        return Accept()
    if proposed == known:
        return Again()
    if proposed.epoch < known.epoch:
        return Outdated(
            f"epoch {proposed.epoch} is older than {known.epoch}, which this region has accepted: the "
            "controller's store was lost, restored from a backup, or is another one; on the controller: "
            "repave controller recover"
        )
    if proposed.epoch == known.epoch:
        return Refuse(f"two different desired states carry epoch {proposed.epoch}; frozen until a newer one")
    if proposed.epoch.term > known.epoch.term + TERM_JUMP_MAX:
        return Refuse(f"epoch {proposed.epoch} is implausibly far ahead of {known.epoch}")
    if known.is_serving and not proposed.is_serving and proposed.frontend_port:
        return Refuse("no group would serve clients any more")
    return Accept()


def outdated_term(known: int, told: int) -> str:
    """Why a controller that names an earlier term than the agent had is not obeyed; "" when it is."""
    if told >= known or not told:
        return ""
    return f"term {told} of this region is over: this agent had it in term {known}; it asks anew"


def foreign(own: str, theirs: str) -> str:
    """Why a controller of another installation than the region's `own` is not obeyed, and the way on."""
    return (
        f"this region belongs to installation {own}, the controller is {theirs}; point the agent at its own "
        "controller. If that one's store is lost for good: start a controller with a new state directory and "
        f"REPAVE_CONTROLLER_INSTALLATION={own}, then repave controller recover"
    )
