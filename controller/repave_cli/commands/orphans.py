"""Lists the hosts that no release wants, and what becomes of each: orphans."""

from typing import Any

from repave_cli.render import output
from repave_cli.render.output import Column, column, show
from repave_cli.transport.exit_codes import DONE, ERROR
from repave_cli.transport.terminal import Terminal

ORPHANS = (
    column("REGION"),
    Column("HOST", lambda item: item["name"]),
    column("GROUP"),
    Column("APP", lambda item: item["application"]),
    Column("AGE", lambda item: output.span(item["age_seconds"])),
    column("STATE"),
    column("PHASE", is_wide=True),
    Column("UNWANTED FOR", lambda item: output.span(item["unclaimed_seconds"]), is_wide=True),
)


def register(commands: Any) -> None:
    orphans = commands.add_parser("orphans", help="Hosts that no release wants, and what becomes of them")
    orphans.add_argument("--region", default="")
    orphans.set_defaults(run=run_orphans)


def run_orphans(terminal: Terminal) -> int:
    answer = terminal.client.get("orphans", region=terminal.arguments.region)
    none = "" if answer["unreachable"] else "no region is connected"
    show(terminal, answer, ORPHANS, _none_in(answer["asked"]) or none)
    for region, why in answer["unreachable"].items():
        terminal.say(f"{region}: {why}")
    return ERROR if answer["unreachable"] else DONE


def _none_in(regions: list[str]) -> str:
    return f"no orphans in {', '.join(regions)}: a release wants every host there" if regions else ""
