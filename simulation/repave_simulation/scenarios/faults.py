"""What may go wrong in a rehearsal: the strikes of the simulation, and images that are no good."""

from dataclasses import dataclass
from typing import Literal

from repave_simulation.scenarios.scenario import STRIKES

Takes = Literal["nothing", "one", "group", "all"]

IMAGES = {
    "image-never-healthy": "never-healthy",
    "image-exits": "exits",
    "image-falls-ill": "falls-ill",
}
"""What hosts of the new image do, by the fault's name."""

_TEXTS = {
    "image-never-healthy": "the new version starts and never answers its probe well",
    "image-exits": "the new version exits when it starts",
    "image-falls-ill": "the new version serves, and falls ill a while after its start",
    "host-dies": "a host ends",
    "host-falls-ill": "a host refuses connections",
    "host-hangs": "a host accepts connections and never answers",
    "host-lies": "a host answers its probe, and no requests",
    "rack-dies": "all hosts of a group end in one region",
    "rack-dies-unheard": "a region is cut off, and all hosts of its newest group end",
    "everybody-looks-ill": "all hosts of a region refuse connections",
    "balancer-dies": "the balancer ends",
    "balancer-forgets": "the balancer ends and forgets its configuration",
    "workers-disagree": "an old process of the balancer goes on with other routes",
    "region-cut": "controller and region don't reach each other",
    "controller-killed": "the controller is killed",
    "agent-killed": "the agent is killed",
    "controller-frozen": "the controller's machine stands still",
    "agent-frozen": "the agent's machine stands still",
    "agent-loses-power": "the agent's machine loses its power",
    "agent-loses-journal": "the agent's journal is lost",
    "clock-set-back": "the controller's clock is set back",
    "store-full": "the controller's disk is full",
    "journal-full": "the agent's disk is full",
    "provider-down": "no host can be made, listed or destroyed",
    "listing-lags": "listings of hosts are out of date",
    "old-message": "an old message arrives once more",
}
_TAKES: dict[str, Takes] = {
    "host-dies": "one",
    "host-falls-ill": "one",
    "host-hangs": "one",
    "host-lies": "one",
    "rack-dies": "group",
    "rack-dies-unheard": "group",
    "everybody-looks-ill": "all",
    "balancer-dies": "all",
    "balancer-forgets": "all",
    "image-falls-ill": "all",
}
NO_FAULTS = ("host-recovers",)
"""Strikes that mend something."""
NAMES = (*IMAGES, *(each for each in STRIKES if each not in NO_FAULTS))


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that may go wrong. `takes` are the hosts of a region that it takes away by itself."""

    name: str

    @property
    def text(self) -> str:
        return _TEXTS.get(self.name, self.name.replace("-", " "))

    @property
    def takes(self) -> Takes:
        return _TAKES.get(self.name, "nothing")

    @property
    def is_of_image(self) -> bool:
        return self.name in IMAGES

    @property
    def has_victims(self) -> bool:
        """Whether it strikes hosts of one group, the old or the new one."""
        return self.takes in ("one", "group")


def chosen(text: str) -> tuple[str, ...]:
    """The faults that "all", "none" or a list with commas names. Raises ValueError with what there is."""
    if text == "all":
        return NAMES
    names = tuple(name.strip() for name in text.split(",") if name.strip() not in ("", "none"))
    unknown = [name for name in names if name not in NAMES]
    if unknown:
        raise ValueError(f"no fault is called {unknown[0]}; there are: all, none, {', '.join(NAMES)}")
    return tuple(dict.fromkeys(names))
