"""Shows how much traffic each server group gets and how it fares, as the balancers count it: traffic."""

import time
from typing import Any

from repave_cli.render.output import column, percent, show, table
from repave_cli.transport.exit_codes import DONE
from repave_cli.transport.terminal import Terminal, seconds
from repave_client.places import quoted

MINUTES = 5
BARS = "▁▂▃▄▅▆▇█"
WIDTH = 24
FLIPS = 5

COLUMNS = (
    column("GROUP", "name"),
    column("VERSION"),
    column("SHARE"),
    column("REQUESTS/S", "rate"),
    column("ERRORS"),
    column("RESPONSE"),
    column("REQUESTS", "line"),
)


def register(commands: Any) -> None:
    traffic = commands.add_parser(
        "traffic", help="Requests, errors and response times of each server group, by its balancers"
    )
    traffic.add_argument("app", metavar="APP")
    traffic.add_argument("--region", default="", help="only there")
    traffic.add_argument(
        "--since",
        type=seconds,
        default=MINUTES * 60.0,
        metavar="TIME",
        help=f"the last so much, such as 10m or 12h ({MINUTES}m; a day is kept)",
    )
    traffic.set_defaults(run=run_traffic)


def run_traffic(terminal: Terminal) -> int:
    arguments = terminal.arguments
    path = f"applications/{quoted(arguments.app)}/traffic"
    answer = terminal.client.get(path, region=arguments.region, last=max(1, round(arguments.since)))
    if not terminal.is_for_people:
        show(terminal, answer, COLUMNS)
        return DONE
    for line in traffic_lines(answer):
        terminal.out(line)
    for region, why in answer["unknown"].items():
        terminal.say(f"{region}: {why}")
    return DONE


def traffic_lines(answer: dict[str, Any]) -> list[str]:
    """A line for each group, then the last switches."""
    items = [_item(group, answer) for group in answer["items"] if any(group["requests"])]
    if not items:
        return ["no requests were counted in this time"]
    flips = [
        f"{_time(flip['at'])}  {flip['region']}: "
        + ", ".join(f"{name} {percent(bp)}" for name, bp in flip["weights_bp"].items())
        for flip in answer["flips"][-FLIPS:]
    ]
    return [table(COLUMNS, items), *(["switched:"] if flips else []), *(f"  {each}" for each in flips)]


def _item(group: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
    """Of the whole time, but for what it answers in: that is of the end."""
    requests, errors = sum(group["requests"]), sum(group["errors"])
    total = sum(sum(each["requests"]) for each in answer["items"])
    response = next((each for each in reversed(group["response_ms"]) if each is not None), None)
    rate = requests / (len(answer["at"]) * answer["step_seconds"])
    return {
        "name": group["name"],
        "version": group["version"] or "-",
        "share": f"{requests / total:.1%}",
        "rate": f"{rate:.1f}",
        "errors": f"{errors / requests:.2%}" if requests else "-",
        "response": "-" if response is None else f"{response:g} ms",
        "line": bars(group["requests"]),
    }


def bars(numbers: list[int], width: int = WIDTH) -> str:
    """One character for so many numbers after each other, the highest as high as can be.

    [0, 1, 8], 3: "▁▂█"
    """
    each = max(1, -(-len(numbers) // width))
    sums = [sum(numbers[begin : begin + each]) for begin in range(0, len(numbers), each)]
    most = max(sums, default=0) or 1
    return "".join(BARS[min(len(BARS) - 1, number * len(BARS) // most)] for number in sums)


def _time(at: float) -> str:
    return time.strftime("%H:%M:%S", time.localtime(at))
