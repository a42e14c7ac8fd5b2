"""What goes wrong between several controllers and the store that they share, beside the usual troubles. Drawn
from a seed like any other scenario, with the same releases and people."""

from dataclasses import replace

from repave_simulation.kernel.chance import Chance
from repave_simulation.scenarios.scenario import STEPS, Scenario, Strike, draw

CONTROLLERS = ("ann", "ben", "cleo")
PLURAL_STRIKES = (
    "owner-killed",
    "owner-frozen",
    "controller-stopped",
    "store-cut",
    "store-away",
    "store-slow",
    "store-fades",
    "store-clock-jumps",
    "hints-lost",
    "new-incarnation",
)
"""The owner is the controller that decides for the first application; cut off is one controller, away is the
store for all. A store that fades answers a controller late, and then not at all."""
NOT_HERE = ("clock-set-back",)
"""Clocks of controllers are taken to be alike."""
SECONDS = (0.3, 1.0, 1.6, 3.0, 12.0)
"""Shorter and longer than a lease."""
USUAL_SHARE = 0.25
"""Of the seeds that have the usual troubles too."""


def draw_plural(seed: int) -> Scenario:
    """The scenario of a seed."""
    chance, usual = Chance(f"{seed}/plural"), draw(seed)
    has_usual = chance.happens(USUAL_SHARE, "usual")
    strikes = [each for each in usual.strikes if has_usual and each.kind not in NOT_HERE]
    if not chance.happens(0.1, "calm"):
        strikes += _strikes(chance, usual)
    rates = usual.rates if has_usual else {}
    if chance.happens(0.4, "commits"):
        rates = {**rates, "ambiguous": 0.1, "slow": 0.05}
    numbered = tuple(replace(each, number=number) for number, each in enumerate(strikes))
    return replace(usual, strikes=numbered, rates=rates)


def _strikes(chance: Chance, usual: Scenario) -> list[Strike]:
    strikes = []
    for kind in PLURAL_STRIKES:
        if not chance.happens(0.45, "swarm", kind):
            continue
        for number in range(chance.number(1, 3, "strikes", kind)):
            name = (kind, number)
            step = chance.one_of(STEPS, *name, "step") if chance.happens(0.7, *name, "meets") else ""
            at = chance.one_of((0.0, 0.004, 0.02, 0.5, 3.0), *name, "delay")
            if not step:
                at = chance.between(1.0, usual.unfair_seconds, *name, "at")
            seconds = chance.one_of(SECONDS, *name, "seconds")
            strikes.append(Strike(0, at, kind, usual.regions[0], seconds, step))
    return strikes
