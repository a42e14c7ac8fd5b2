"""Commands that steer a rollout on its way: pause, resume, promote, retry, step-back, scale.

Each says what is so now and ends; `repave watch` follows. What may not be is refused by the controller, with
the verb that fits.
"""

import argparse
from collections.abc import Iterable
from typing import Any

from repave_cli.commands.asking import add_who_and_why, ask, tell_accepted
from repave_cli.render.output import show_whole
from repave_cli.specs.arguments import add_files
from repave_cli.transport.errors import CliError
from repave_cli.transport.exit_codes import DONE, REFUSED, USAGE
from repave_cli.transport.terminal import Terminal
from repave_client.places import quoted

VERBS = (
    (
        "object",
        "Keep a rollout from going on by itself: it waits for approval",
        "{group} waits for approval; it goes on with: repave promote {app}",
    ),
    ("pause", "Pause a rollout where it is", "{group} is paused; it goes on with: repave resume {app}"),
    ("resume", "Let a paused rollout go on", "{group} goes on; follow it with: repave watch {app}"),
    (
        "retry",
        "Retry the failed step of a held rollout",
        "{group} tries again; follow it with: repave watch {app}",
    ),
    (
        "step-back",
        "Give back the last share of the traffic, and pause there",
        "{group} has the share of the step before and is paused; it goes on with: repave resume {app}",
    ),
)


def register(commands: Any) -> None:
    for name, help_text, text in VERBS:
        command = commands.add_parser(name, help=help_text)
        command.add_argument("app", metavar="APP")
        add_who_and_why(command)
        command.set_defaults(run=run_verb, text=text)
    _register_promote(commands)
    scale = commands.add_parser("scale", help="Change the number of hosts, also during a rollout")
    scale.add_argument("app", metavar="APP", nargs="?", help="may be left out with -f")
    scale.add_argument("sizes", nargs="*", type=_size, metavar="REGION=HOSTS", help="such as paris=8")
    scale.add_argument("--region", default="", help="the same in other words, with --to")
    scale.add_argument("--to", type=_hosts, metavar="HOSTS", help="how many hosts --region is to have")
    scale.add_argument("--dry-run", action="store_true", help="show what it would do; changes nothing")
    add_files(scale, "take the sizes of this spec")
    add_who_and_why(scale)
    scale.set_defaults(run=run_scale)


def _register_promote(commands: Any) -> None:
    promote = commands.add_parser(
        "promote", help="Go on past the gate a rollout waits at (--full: past all that remain)"
    )
    promote.add_argument("app", metavar="APP")
    promote.add_argument(
        "--role", action="append", default=[], help="the role in which you approve; may be repeated"
    )
    how = promote.add_mutually_exclusive_group()
    how.add_argument("--skip", action="store_true", help="also end what only waits for time: a soak, a bake")
    how.add_argument("--full", action="store_true", help="all gates and waits that are still to come")
    how.add_argument("--override", default="", metavar="RULE", help="pass this guard; needs --reason")
    promote.add_argument(
        "--gate",
        action="append",
        default=[],
        dest="gates",
        metavar="GATE",
        help='only this one, such as "step 1.4", and only while it is waited at; may be repeated',
    )
    promote.add_argument(
        "--region",
        action="append",
        default=[],
        dest="regions",
        metavar="REGION",
        help="only there; may be repeated",
    )
    promote.add_argument(
        "--all", action="store_true", help="also in the regions of the wave that come there later"
    )
    add_who_and_why(promote)
    promote.set_defaults(run=run_promote)


def _size(text: str) -> tuple[str, int]:
    region, _, size = text.partition("=")
    if not region or not _is_count(size):
        raise argparse.ArgumentTypeError(f"{text!r}: write REGION=HOSTS, such as paris=8")
    return region, int(size)


def _hosts(text: str) -> int:
    if not _is_count(text):
        raise argparse.ArgumentTypeError(f"{text!r}: write a number of hosts, such as 8")
    return int(text)


def _is_count(text: str) -> bool:
    return text.isdecimal() and 0 < int(text) < 10**6


# --------------------------------------------------------------------------------------------------- asking


def run_verb(terminal: Terminal) -> int:
    arguments = terminal.arguments
    return _report(terminal, ask(terminal, arguments.app, arguments.command), arguments.text)


def run_promote(terminal: Terminal) -> int:
    arguments, role = terminal.arguments, ",".join(terminal.arguments.role)
    if arguments.override:
        body = {"rule": arguments.override, "role": role}
        text = "{group} may pass the guard " + arguments.override + "; follow it with: repave watch {app}"
        return _report(terminal, ask(terminal, arguments.app, "override", **body), text)
    gates, regions = arguments.gates, arguments.regions
    before = terminal.client.get(f"applications/{quoted(arguments.app)}")
    seen = before["gates"] + [
        each for each in before["waits"] if arguments.skip or each["kind"] == "objection"
    ]
    is_pinned = not (gates or regions or arguments.full or arguments.key)
    if is_pinned:  # what waits by the time it arrives may be another
        gates = [gate["gate"] for gate in seen]
        regions = sorted({region for gate in seen for region in gate["regions"]})
    accepted = ask(
        terminal,
        arguments.app,
        "promote",
        role=role,
        skip=arguments.skip,
        full=arguments.full,
        gates=gates,
        regions=regions,
        all=arguments.all,
    )
    passed = [_passed(gate, regions, arguments.all) for gate in seen if not gates or gate["gate"] in gates]
    said = f" past {'; '.join(each for each in passed if each)}" if any(passed) else ""
    return _report(terminal, accepted, "{group} goes on" + said + "; follow it with: repave watch {app}")


def _passed(gate: dict[str, Any], regions: list[str], is_everywhere: bool) -> str:
    """`step 1.4 in oslo, paris`; "" where it is not at a region that was asked for."""
    at = [region for region in gate["regions"] if not regions or region in regions]
    if is_everywhere:
        return f"{gate['gate']} in every region of its wave" if gate["regions"] else str(gate["gate"])
    if gate["regions"] and not at:
        return ""
    return f"{gate['gate']} in {', '.join(at)}" if at else str(gate["gate"])


def run_scale(terminal: Terminal) -> int:
    app, sizes = _sizes(terminal)
    if terminal.arguments.dry_run:
        return _foretell(terminal, ask(terminal, app, "sizes/plan", sizes=sizes))
    accepted = ask(terminal, app, "sizes", sizes=sizes)
    listed = ", ".join(f"{region} {size}" for region, size in sizes.items())
    return _report(
        terminal, accepted, f"hosts of {app} from now on: {listed}; see them with: repave status {app}"
    )


def _foretell(terminal: Terminal, plan: dict[str, Any]) -> int:
    """Raises CliError where it would be refused."""
    if terminal.is_for_people:
        for each in plan["changes"]:
            sizes = f"{each['size']} -> {each['new_size']}"
            terminal.out(f"{each['region']}  {each['group']}  {sizes} hosts")
        if not plan["problems"]:
            so_already = "" if plan["changes"] else "that is so already: "
            terminal.out(f"{so_already}starts {plan['starts_hosts']} hosts, ends {plan['ends_hosts']}")
    else:
        show_whole(terminal, plan)
    if plan["problems"]:
        raise CliError(f"it would be refused: {plan['problems'][0]}", REFUSED)
    return DONE


def _sizes(terminal: Terminal) -> tuple[str, dict[str, int]]:
    """The application, and its hosts by region: as given, or as a spec says."""
    arguments = terminal.arguments
    if bool(arguments.region) != (arguments.to is not None):
        raise CliError("--region and --to go together: repave scale APP --region paris --to 8", USAGE)
    given = _once_each([*arguments.sizes, *([(arguments.region, arguments.to)] if arguments.region else [])])
    if not arguments.files:
        if not arguments.app or not given:
            raise CliError(
                "say how many: repave scale APP REGION=HOSTS, or repave scale -f repave.yaml", USAGE
            )
        return arguments.app, given
    from repave_cli.specs.reading import read_outline

    spec, files = read_outline(terminal, arguments.files)
    if arguments.app not in (None, spec.application):
        raise CliError(f"{files[0]} is the spec of {spec.application}, not of {arguments.app}", USAGE)
    fixed = {region: size for region, size in spec.sizes.items() if region not in spec.scaled}
    if not fixed | given:
        chosen = ", ".join(spec.scaled)
        raise CliError(
            f"{files[0]} leaves the number of hosts open in {chosen}: name it, REGION=HOSTS", USAGE
        )
    return spec.application, fixed | given


def _once_each(sizes: Iterable[tuple[str, int]]) -> dict[str, int]:
    found: dict[str, int] = {}
    for region, size in sizes:
        if region in found:
            raise CliError(f"{region} is named twice", USAGE)
        found[region] = size
    return found


def _report(terminal: Terminal, accepted: dict[str, Any], text: str) -> int:
    text = text.format(group=accepted["group"], app=accepted["application"])
    tell_accepted(terminal, accepted, text)
    return DONE
