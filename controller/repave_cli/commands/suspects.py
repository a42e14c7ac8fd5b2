"""Which releases explain errors that have risen, of an application or in a region: suspects."""

from typing import Any

from repave_cli.render.output import Column, column, show
from repave_cli.transport.errors import CliError
from repave_cli.transport.exit_codes import DONE, USAGE
from repave_cli.transport.terminal import Terminal, seconds
from repave_client.places import quoted

MINUTES = 30

SUSPECTS = (
    column("VERDICT"),
    Column("RELEASE", lambda item: f"{item['application']} #{item['rollout']}"),
    column("GROUP"),
    Column("VERSION", lambda item: item["version"] or "-"),
    column("SCORE", is_wide=True),
    Column("REGIONS", lambda item: ", ".join(item["regions"]), is_wide=True),
    Column("WHY", lambda item: "; ".join(each["text"] for each in item["clues"])),
)
MOST_SHOWN = 12


def register(commands: Any) -> None:
    suspects = commands.add_parser("suspects", help="Which releases explain errors that have risen")
    suspects.add_argument("app", metavar="APP", nargs="?", default="", help="whose errors; or --region alone")
    suspects.add_argument("--region", default="", help="only there; without APP: of all applications there")
    suspects.add_argument(
        "--since",
        type=seconds,
        default=MINUTES * 60.0,
        metavar="TIME",
        help=f"the last so much, such as 10m or 12h ({MINUTES}m; a day is kept)",
    )
    suspects.set_defaults(run=run_suspects)


def run_suspects(terminal: Terminal) -> int:
    arguments = terminal.arguments
    last = max(60, round(arguments.since))
    if arguments.app:
        path = f"applications/{quoted(arguments.app)}/suspects"
        answer = terminal.client.get(path, region=arguments.region, last=last)
    elif arguments.region:
        answer = terminal.client.get(f"regions/{quoted(arguments.region)}/suspects", last=last)
    else:
        raise CliError("say where errors have risen: an application, or --region REGION", USAGE)
    if not terminal.is_for_people:
        show(terminal, answer, SUSPECTS)
        return DONE
    terminal.out(answer["text"])
    for each in answer["troubles"][:MOST_SHOWN]:
        terminal.out(f"  {_trouble(each)}")
    if len(answer["troubles"]) > MOST_SHOWN:
        terminal.out(f"  and {len(answer['troubles']) - MOST_SHOWN} more: -o json has all")
    show(terminal, answer, SUSPECTS, "no release had requests there meanwhile" if answer["troubles"] else "")
    for region, why in answer["unknown"].items():
        terminal.say(f"{region}: {why}")
    if answer["left_out"]:
        terminal.say(f"the releases of {answer['left_out']} more applications were not looked at")
    return DONE


def _trouble(trouble: dict[str, Any]) -> str:
    rates = f"{trouble['rate_before']:.2%} -> {trouble['rate']:.2%} of the requests failed"
    began = trouble["began_at"][11:19]
    until = f"to {trouble['ended_at'][11:19]}" if trouble["ended_at"] else "and goes on"
    return f"{trouble['application']} in {trouble['region']}: {rates}, from {began} UTC {until}"
