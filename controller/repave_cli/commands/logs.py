"""Shows what the hosts of an application print: logs. Several hosts at once, each line with its host."""

from collections.abc import Iterator
from typing import Any

from repave_cli.render.output import show_line, show_pages
from repave_cli.transport.errors import CliError
from repave_cli.transport.exit_codes import DONE, ERROR, USAGE
from repave_cli.transport.terminal import Terminal, seconds, whole
from repave_client.places import quoted

LINES = 50
POSITIONS_MAX = 5_000


def register(commands: Any) -> None:
    logs = commands.add_parser("logs", help="What an application's hosts print, as their providers keep it")
    logs.add_argument("app", metavar="APP")
    logs.add_argument("-f", "--follow", action="store_true", help="go on with what they print, until Ctrl-C")
    logs.add_argument("--host", default="", help="only of this one, also when it failed and is gone")
    logs.add_argument("--job", default="", help="of the newest attempt of this job of the newest rollout")
    logs.add_argument("--group", default="", help="only of its hosts")
    logs.add_argument("--region", default="", help="only there")
    logs.add_argument(
        "--tail", type=whole, default=LINES, metavar="N", help=f"of each host, the last N lines ({LINES})"
    )
    logs.add_argument("--gone", action="store_true", help="also of hosts that failed and are gone, for a day")
    logs.add_argument(
        "--since",
        type=seconds,
        default=None,
        metavar="TIME",
        help="of those that are gone, the ones that went since, such as 10m; implies --gone",
    )
    logs.set_defaults(run=run_logs)


def _host_of_job(terminal: Terminal) -> str:
    """Where its newest attempt ran. Raises CliError."""
    arguments = terminal.arguments
    rollout = terminal.client.get(f"applications/{quoted(arguments.app)}")["current_rollout"] or {}
    tries = [each for each in rollout.get("jobs", ()) if each["name"] == arguments.job]
    if not tries:
        raise CliError(f"the newest rollout of {arguments.app} has no job {arguments.job!a}", USAGE)
    tried = [each for each in tries if each["host"]]
    if not tried:
        raise CliError(f"job {arguments.job} was not tried yet: it has printed nothing")
    return str(max(tried, key=lambda each: str(each["asked_at"]))["host"])


def run_logs(terminal: Terminal) -> int:
    """1: of some host or region nothing could be had."""
    arguments = terminal.arguments
    host = _host_of_job(terminal) if arguments.job else arguments.host
    query = {
        "region": arguments.region,
        "group": arguments.group,
        "host": host,
        "lines": arguments.tail,
        "gone": "1" if arguments.gone or host or arguments.since else None,
        "since": round(arguments.since) if arguments.since else None,
        "follow": "1" if arguments.follow else None,
    }
    path, code = f"applications/{quoted(arguments.app)}/logs/stream", DONE
    found = 0

    def items() -> Iterator[dict[str, Any]]:
        nonlocal code, found
        for item in _items(terminal, path, query):
            code, found = ERROR if item["trouble"] else code, found + 1
            yield item

    try:
        if terminal.is_for_people or arguments.follow:
            for item in items():
                _tell(terminal, item)
        else:
            show_pages(terminal, ({"items": [item]} for item in items()), ())
    except KeyboardInterrupt:
        return DONE
    if terminal.is_for_people and not found:
        terminal.say("its hosts have printed nothing that is kept")
    return code


def _items(terminal: Terminal, path: str, query: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Followed from where it has come to, also at another controller, when the connection ends."""
    if not query["follow"]:
        yield from (item for _, item in terminal.client.stream(path, **query))
        return
    positions = Positions()
    for item in terminal.client.follow(
        path,
        body=positions.body,
        said=lambda text: terminal.say(f"{text}; going on where it was"),
        **query,
    ):
        positions.note(item)
        yield item


class Positions:
    """How far each host was read; of those that were heard of last."""

    def __init__(self) -> None:
        self._newest: dict[tuple[str, str], str] = {}

    def note(self, item: dict[str, Any]) -> None:
        position = item.get("position")  # none of a controller of an older version
        if not position:
            return
        name = (item["region"], item["host"])
        self._newest.pop(name, None)
        self._newest[name] = position
        if len(self._newest) > POSITIONS_MAX:
            del self._newest[next(iter(self._newest))]

    def body(self) -> dict[str, object] | None:
        """What goes on from there; None: nothing is known yet."""
        after = [
            {"region": region, "host": host, "position": position}
            for (region, host), position in self._newest.items()
        ]
        return {"after": after} if after else None


def _tell(terminal: Terminal, item: dict[str, Any]) -> None:
    if not terminal.is_for_people:
        show_line(terminal, item)
        return
    of = f"{item['region']}/{item['host']}" if item["host"] else item["region"]
    if item["cut"]:
        terminal.say(f"[{of}] (some lines before these are not kept)")
    if item["trouble"]:
        terminal.say(f"[{of}] {item['trouble']}")
    mark = " gone" if item["gone_at"] else ""
    for line in item["lines"]:
        terminal.out(f"[{of}{mark}] {line}" if not terminal.arguments.host else line)
