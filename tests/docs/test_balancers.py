"""docs/balancers.md says of each balancer what its kind declares, and leaves none out."""

import re
from collections.abc import Iterator

from repave_agent.registry import BALANCERS
from repave_protos.protocol.capabilities import BalancerAbilities
from repave_protos.protocol.fronts import ABILITIES as FRONT_ABILITIES
from repave_protos.protocol.values import FULL_WEIGHT_BP
from tests.support.paths import ROOT

TEXT = (ROOT / "docs" / "balancers.md").read_text()

PROTOCOLS = ("http", "grpc", "tcp")


def declared() -> Iterator[tuple[str, BalancerAbilities]]:
    """Each kind as the documents call it; one that depends on its settings is there twice."""
    for kind in BALANCERS:
        if kind.name == "none":
            continue  # it has no traffic
        options = kind.options()
        if "map" in type(options).model_fields:
            yield f"`{kind.name}` with a map", kind.abilities(options)
            yield f"`{kind.name}` without a map", kind.abilities(options.model_copy(update={"map": ""}))
        else:
            yield f"`{kind.name}`", kind.abilities(options)


def rows(heading: str) -> dict[str, list[str]]:
    """Of the table below that heading, by what its first column says."""
    part = TEXT.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    cells = [re.split(r"\s*\|\s*", line.strip("| ")) for line in part.splitlines() if line.startswith("|")]
    return {row[0]: row[1:] for row in cells[2:]}


def expected(abilities: BalancerAbilities) -> list[str]:
    """Without the words for who has time-outs of its own."""
    step = abilities.share_step_bp
    return [
        "switch only" if step == FULL_WEIGHT_BP else f"{step / 100:g} %",
        _yes(abilities.supports_sticky_split),
        _yes(abilities.supports_testers),
        _yes(abilities.switches_at_once),
        _yes(abilities.can_be_taken_over),
        _yes(abilities.tells_health),
        _yes(abilities.counts_requests),
        _yes(abilities.takes_baselines),
        _fronts(abilities),
    ]


def _fronts(abilities: BalancerAbilities) -> str:
    if not abilities.fronts:
        return "one of HTTP"
    if set(abilities.fronts) == set(FRONT_ABILITIES):
        return "all"
    return "several of " + ", ".join(each for each in PROTOCOLS if each in abilities.fronts)


def _yes(is_so: bool) -> str:
    return "yes" if is_so else "no"


def test_the_table_says_what_each_balancer_declares() -> None:
    shown = rows("What a spec may ask for")
    assert {name: [*cells[:4], *cells[6:]] for name, cells in shown.items()} == {
        name: expected(abilities) for name, abilities in declared()
    }
    for name, abilities in declared():
        timeouts, tunnels = shown[name][4:6]
        assert (timeouts == "yes") == abilities.takes_timeouts, name
        assert (tunnels == "its own") == (abilities.takes_timeouts and abilities.has_tunnel_timeout), name


def test_how_each_balancer_works_is_told() -> None:
    shown = rows("How they work")
    assert [*shown] == [name for name, _ in declared()]
    assert all(all(cells) and len(cells) == 4 for cells in shown.values())
