"""simulate: rehearses the release of a spec in a simulated fleet. The one door to repave_simulation.

What is simulated, and how it is measured, is in repave_simulation.rehearsal; render/rehearsal.py shows it.
The simulation and the spec are imported late, for they are slow to import and most commands need neither.
"""

import argparse
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from repave_cli.render.output import show_whole
from repave_cli.specs.arguments import add_file_arguments, given_files
from repave_cli.specs.specs import read_spec
from repave_cli.transport.errors import CliError, UnreachableError
from repave_cli.transport.exit_codes import DONE, ERROR, USAGE
from repave_cli.transport.terminal import Terminal, seconds
from repave_client.places import quoted

if TYPE_CHECKING:
    from repave_controller.spec.spec import Spec
    from repave_simulation.rehearsal.rehearsal import Rehearsal
    from repave_simulation.scenarios.staging import Sizes, Stage

HOSTS_MAX = 300
"""Of one group, in all regions together; larger fleets are simulated in proportion."""
SEEDS_MAX = 10_000
SIZE_MAX = 10_000
DIGITS = 3


def register(commands: Any) -> None:
    simulate = commands.add_parser(
        "simulate", help="Rehearse a release in a simulated fleet: times, capacity, every fault at every step"
    )
    add_file_arguments(simulate)
    simulate.add_argument("--regions", default="", metavar="A,B", help="these instead of the spec's")
    simulate.add_argument("--hosts", type=_size, metavar="N", help="hosts in each region, not the spec's")
    simulate.add_argument(
        "--faults", default="all", metavar="all|none|A,B", help="what goes wrong at each step (default all)"
    )
    simulate.add_argument(
        "--seeds", type=_seeds, default=0, metavar="N", help="random mixtures of faults as well (default 0)"
    )
    simulate.add_argument("--boot", type=seconds, default=30.0, help="how long a host boots (default 30s)")
    simulate.add_argument(
        "--ill-after", type=seconds, default=300.0, help="when a bad version's hosts fall ill (default 5m)"
    )
    simulate.add_argument(
        "--outage", type=seconds, default=45.0, help="how long a fault lasts that lasts (default 45s)"
    )
    simulate.add_argument(
        "--serving", type=_serving, default=(), metavar="A=N,B=N", help="hosts that serve before, by region"
    )
    simulate.add_argument("--from-scratch", action="store_true", help="nothing serves before")
    simulate.set_defaults(run=run_simulate)


def _size(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= SIZE_MAX:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of hosts; write 1 to {SIZE_MAX}")
    return int(text)


def _serving(text: str) -> tuple[tuple[str, int], ...]:
    pairs = [each.strip().partition("=") for each in text.split(",")]
    return tuple((region, _size(size)) for region, _, size in pairs)


def _seeds(text: str) -> int:
    if not text.isdecimal() or int(text) > SEEDS_MAX:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seeds; write 0 to {SEEDS_MAX}")
    return int(text)


def run_simulate(terminal: Terminal) -> int:
    """Exit code 1 when something in it does not end well."""
    from repave_cli.render.rehearsal import rehearsal_lines
    from repave_simulation.rehearsal.rehearsal import rehearse_release
    from repave_simulation.scenarios.faults import chosen

    arguments = terminal.arguments
    spec, _, _ = read_spec(terminal, given_files(arguments))
    try:
        faults = chosen(arguments.faults)
    except ValueError as error:
        raise CliError(f"--faults: {error}", USAGE) from error
    stage, origin = _stage(terminal, spec)
    progress = _Progress(terminal)
    rehearsal = rehearse_release(stage, faults, arguments.seeds, progress.tell)
    progress.end()
    document = document_of(stage, origin, rehearsal)
    if terminal.is_for_people:
        for line in rehearsal_lines(document, is_wide=terminal.format == "wide"):
            terminal.out(line)
    else:
        show_whole(terminal, document)
    return DONE if rehearsal.is_fine else ERROR


# ------------------------------------------------------------------------------------------- the stage


def _stage(terminal: Terminal, spec: "Spec") -> tuple["Stage", str]:
    """Where it is rehearsed, and where the sizes of what serves now are from."""
    from repave_simulation.scenarios.staging import Stage, order_of

    arguments = terminal.arguments
    sizes = _sizes(arguments, spec)
    is_chosen = bool(arguments.regions or arguments.hosts or arguments.serving)
    is_asked = not (arguments.from_scratch or is_chosen)
    present = _present(terminal, spec) if is_asked else dict(arguments.serving)
    origin = "options" if is_chosen else "controller" if present else "spec"
    old = (
        ()
        if arguments.from_scratch
        else tuple((name, present.get(name, size) if present else size) for name, size in sizes)
    )
    hosts = max(sum(size for _, size in sizes), sum(size for _, size in old))
    if hosts > HOSTS_MAX:
        terminal.say(f"{hosts} hosts are simulated by {HOSTS_MAX}, in proportion")
        sizes, old = _scaled(sizes, HOSTS_MAX / hosts), _scaled(old, HOSTS_MAX / hosts)
    stage = Stage(spec, sizes, old, arguments.boot, arguments.ill_after, arguments.outage)
    order_of(stage)
    return stage, origin


def _sizes(arguments: argparse.Namespace, spec: "Spec") -> "Sizes":
    from repave_controller.spec.sections import check_region_name
    from repave_protos.protocol.values import RegionName

    known = {region.name: region.hosts for region in spec.regions}
    names = [name.strip() for name in arguments.regions.split(",") if name.strip()] or list(known)
    for name in names:
        try:
            check_region_name(name)
        except ValueError as error:
            raise CliError(f"--regions: {error}", USAGE) from error
    if len(set(names)) < len(names):
        raise CliError("--regions: a region is there twice", USAGE)
    usual = spec.regions[0].hosts
    return tuple((RegionName(name), arguments.hosts or known.get(name, usual)) for name in names)


def _scaled(sizes: "Sizes", factor: float) -> "Sizes":
    return tuple((name, max(1, round(size * factor))) for name, size in sizes)


def _present(terminal: Terminal, spec: "Spec") -> dict[str, int] | None:
    """Hosts of the group that serves now, by region; None when it is not known, which is said."""
    try:
        there = {each["name"] for each in terminal.client.get("regions")["items"]}
        names = {each["name"] for each in terminal.client.get("applications")["items"]}
        status = terminal.client.get(f"applications/{quoted(spec.application)}")
    except UnreachableError:
        terminal.say(f"no controller at {terminal.client.url}: the fleet is that of the spec")
        return None
    except CliError:
        status = None
    missing = [region.name for region in spec.regions if region.name not in there]
    if missing:
        terminal.say(f"the controller knows no region {', '.join(missing)} yet")
    if status is None or spec.application not in names:
        terminal.say(f"{spec.application} was never released: an older release of the same sizes is assumed")
        return None
    sizes = {
        region["name"]: group["size"]
        for region in status["region_items"]
        for group in region["groups"]
        if group["state"] == "serving"
    }
    listed = ", ".join(f"{name} {size}" for name, size in sizes.items()) or "no hosts"
    terminal.say(f"from {terminal.client.url}: now serve {listed}")
    return sizes or None


class _Progress:
    """One line on standard error, again and again, where a person looks on; else one for each part."""

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal
        self._said = ""

    def tell(self, what: str, number: int, total: int) -> None:
        if sys.stderr.isatty():
            print(f"\r\x1b[K{what} {number}" + (f" of {total}" if total else ""), end="", file=sys.stderr)
        elif what != self._said:
            self._terminal.say(f"{what}: {total} run{'s' * (total != 1)}" if total else f"{what} ...")
        self._said = what

    def end(self) -> None:
        if sys.stderr.isatty():
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


# ---------------------------------------------------------------------------------------- the document


def document_of(stage: "Stage", origin: str, rehearsal: "Rehearsal") -> dict[str, Any]:
    """What -o json prints; described in docs/simulate.md."""
    old = dict(stage.old_sizes)
    calm = asdict(rehearsal.calm)
    for name in ("rollback", "asked_at", "broken"):
        del calm[name]
    document = {
        "application": stage.spec.application,
        "is_fine": rehearsal.is_fine,
        "sizes_from": origin,
        "is_whole_code": rehearsal.is_whole_code,
        "boot_seconds": stage.boot_seconds,
        "ill_after_seconds": stage.ill_after_seconds,
        "outage_seconds": stage.outage_seconds,
        "regions": [
            {"name": name, "size": size, "old_size": old.get(name, 0), "floor": stage.floor(name)}
            for name, size in stage.sizes
        ],
        "calm": {**calm, "is_fine": rehearsal.is_calm_fine},
        "rollbacks": [
            {**each.pop("rollback"), **each} for each in (asdict(back) for back in rehearsal.backs)
        ],
        "faults": [{**asdict(each), "is_fine": each.is_fine} for each in rehearsal.struck],
        "seeds": asdict(rehearsal.swarms),
        "advice": [asdict(each) for each in rehearsal.advice],
        "unhelped": list(rehearsal.unhelped),
        "broken_promises": list(rehearsal.broken),
    }
    rounded: dict[str, Any] = _rounded(document)
    return rounded


def _rounded(value: Any) -> Any:
    """For programs: three digits of a second are enough, and keys of objects are text."""
    if isinstance(value, float):
        return round(value, DIGITS)
    if isinstance(value, dict):
        return {str(name): _rounded(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(each) for each in value]
    return str(value) if isinstance(value, str) else value
