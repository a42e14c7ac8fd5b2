"""Adopts a fleet that is there already: it becomes the old side of the application's first release."""

from collections.abc import Mapping, Sequence
from typing import Any

from repave_cli.render.output import Column, column, show_whole, table
from repave_cli.specs.arguments import add_file_arguments, given_files
from repave_cli.transport.errors import CliError
from repave_cli.transport.exit_codes import DONE, REFUSED, USAGE
from repave_cli.transport.identity import who
from repave_cli.transport.terminal import Terminal
from repave_client.places import quoted

NAMED = "hosts"
FROM = {
    "haproxy": ("BACKEND", "a backend of the operator's own HAProxy"),
    "octavia": ("POOL", "a pool of Octavia"),
    "asg": ("NAME", "an Auto Scaling group of AWS"),
    "instance-group": ("NAME", "an instance group of Google Cloud"),
}
COLUMNS = (
    column("REGION"),
    Column("HOST", lambda line: _place(line)),
    Column("NAME", lambda line: line["name"] or "-"),
    Column("PROBE", lambda line: line["trouble"] or "passes"),
)


def register(commands: Any) -> None:
    adopt = commands.add_parser(
        "adopt", help="Take in the fleet that is there already: the old side of the first release"
    )
    add_file_arguments(adopt)
    adopt.add_argument(
        "--hosts",
        action="append",
        default=[],
        metavar="[REGION=]ADDRESS:PORT,...",
        help="its hosts; once for each region",
    )
    for kind, (what, where) in FROM.items():
        adopt.add_argument(
            f"--from-{kind}",
            action="append",
            default=[],
            metavar=f"[REGION=]{what}",
            help=f"its hosts are those of {where}; without REGION in every region of the spec",
        )
    adopt.add_argument(
        "--serve",
        action="store_true",
        help="repave's balancers send it requests at once, not only once the first release begins",
    )
    adopt.add_argument("--reason", default="", help="kept in the history")
    adopt.add_argument("--dry-run", action="store_true", help="show what is found, change nothing")
    adopt.set_defaults(run=run_adopt)


def run_adopt(terminal: Terminal) -> int:
    from repave_cli.specs.reading import read_outline

    arguments = terminal.arguments
    spec, files = read_outline(terminal, given_files(arguments), "")
    body: dict[str, Any] = {"spec": spec.text, "filename": str(files[0]), "serve": arguments.serve}
    body |= {"fleets": fleets(vars(arguments), tuple(spec.sizes)), "dry_run": arguments.dry_run}
    body |= {"reason": arguments.reason, "by": who()}
    found = terminal.client.post(f"applications/{quoted(spec.application)}/adopt", body)
    _show(terminal, found)
    if found["problems"]:
        raise CliError(f"it would be refused: {found['problems'][0]}", REFUSED)
    return DONE


def fleets(given: Mapping[str, Any], regions: Sequence[str]) -> list[dict[str, Any]]:
    """What the options say of each region. Raises CliError."""
    found: dict[str, dict[str, Any]] = {}
    for kind in (NAMED, *FROM):
        option = f"--{NAMED}" if kind == NAMED else f"--from-{kind}"
        for text in given[option.removeprefix("--").replace("-", "_")]:
            region, sign, value = text.partition("=")
            value = value if sign else region
            chosen = [region] if sign else _without_region(option, text, regions)
            fleet = {"hosts": _hosts(option, value)} if kind == NAMED else {"name": value}
            for each in chosen:
                if each in found:
                    raise CliError(f"{option} {text}: the fleet of {each} is named already", USAGE)
                found[each] = {"region": each, "kind": kind, **fleet}
    if not found:
        options = ", ".join(["--hosts", *(f"--from-{kind}" for kind in FROM)])
        raise CliError(f"say where the fleet is: {options}", USAGE)
    return list(found.values())


def _without_region(option: str, text: str, regions: Sequence[str]) -> Sequence[str]:
    """Hosts are in one region; a name may mean the same in each."""
    if option == f"--{NAMED}" and len(regions) > 1:
        raise CliError(f"{option} {text}: say in which region: {option} {regions[0]}={text}", USAGE)
    return regions


def _hosts(option: str, text: str) -> list[dict[str, Any]]:
    """`10.0.0.1:8080,[fd00::2]:8080`."""
    hosts = []
    for each in filter(None, (part.strip() for part in text.split(","))):
        address, sign, port = each.rpartition(":")
        address = address.removeprefix("[").removesuffix("]")
        if not sign or not address or not (port.isascii() and port.isdecimal() and 1 <= int(port) <= 65_535):
            raise CliError(
                f"{option}: {each}: write ADDRESS:PORT, such as 10.0.0.1:8080 or [fd00::1]:8080", USAGE
            )
        hosts.append({"address": address, "port": int(port)})
    if not hosts:
        raise CliError(f"{option}: name at least one host: 10.0.0.1:8080", USAGE)
    return hosts


def _show(terminal: Terminal, found: dict[str, Any]) -> None:
    if not terminal.is_for_people:
        show_whole(terminal, found)
        return
    terminal.out(table(COLUMNS, found["hosts"]))
    for note in found["notes"]:
        terminal.say(note)
    if found["is_dry_run"]:
        if not found["problems"]:
            terminal.say(f"dry run: nothing was changed; without --dry-run {found['application']} adopts it")
    elif found["is_joined"]:
        terminal.say(f"it had been adopted before, as {found['group']}")
    else:
        terminal.out(f"adopted: {found['group']}")
        terminal.say("next: repave plan, then repave release; repave rollback goes back to what was adopted")


def _place(line: dict[str, Any]) -> str:
    address = f"[{line['address']}]" if ":" in line["address"] else line["address"]
    return f"{address}:{line['port']}"
