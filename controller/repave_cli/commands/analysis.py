"""Shows what analyses of a rollout found, and what they would find with other thresholds: analysis."""

from pathlib import Path
from typing import Any

from repave_cli.commands.judging import register_judge
from repave_cli.render.judgement import bars
from repave_cli.render.output import ago, column, show, table
from repave_cli.transport.errors import CliError
from repave_cli.transport.exit_codes import DONE, USAGE
from repave_cli.transport.terminal import Terminal
from repave_client.places import quoted

COLUMNS = (
    column("GATE"),
    column("REGION"),
    column("LOOK"),
    column("AT"),
    column("OUTCOME"),
    column("SCORE"),
    column("TEXT", "text"),
)
CHART_WIDTH = 32


def register(commands: Any) -> None:
    analysis = commands.add_parser("analysis", help="How new groups compare with the old ones, look by look")
    analysis.default_verb = "show"
    verbs = analysis.add_subparsers(dest="verb", metavar="VERB", required=True)
    shown = verbs.add_parser("show", help="What the looks at a rollout found, with a chart of each metric")
    _add_rollout(shown)
    shown.set_defaults(run=run_show)
    again = verbs.add_parser("replay", help="What they would have found with other thresholds")
    _add_rollout(again)
    again.add_argument("--pass", dest="pass_score", type=float, metavar="N", help="this score passes")
    again.add_argument("--marginal", dest="marginal_score", type=float, metavar="N", help="less fails")
    again.add_argument("--false-alarms", type=float, metavar="PERCENT", help="how often a good one may fail")
    again.add_argument("--judge", choices=("repave-v1", "kayenta-v1"), default="", help="another judge")
    again.add_argument("-f", "--file", metavar="FILE", help="a spec whose judge and metrics count instead")
    again.set_defaults(run=run_replay)
    register_judge(verbs)


def _add_rollout(command: Any) -> None:
    command.add_argument("app", metavar="APP")
    command.add_argument(
        "rollout", nargs="?", type=int, default=0, metavar="ROLLOUT", help="its number; the newest"
    )


def run_show(terminal: Terminal) -> int:
    arguments = terminal.arguments
    path = f"applications/{quoted(arguments.app)}/analyses"
    _tell(terminal, terminal.client.get(path, rollout=arguments.rollout))
    return DONE


def run_replay(terminal: Terminal) -> int:
    arguments = terminal.arguments
    asked: dict[str, Any] = {
        "rollout": arguments.rollout,
        "judge": arguments.judge,
        "pass_score": arguments.pass_score,
        "marginal_score": arguments.marginal_score,
        "false_alarms_percent": arguments.false_alarms,
    }
    if arguments.file:
        asked |= {"spec": _text(Path(arguments.file)), "filename": arguments.file}
    _tell(terminal, terminal.client.post(f"applications/{quoted(arguments.app)}/analyses/replay", asked))
    return DONE


def _text(file: Path) -> str:
    try:
        return file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise CliError(f"{file}: {getattr(error, 'strerror', None) or error}", USAGE) from None


def _tell(terminal: Terminal, answer: dict[str, Any]) -> None:
    if not terminal.is_for_people:
        named = {**answer, "items": [{**each, "name": _name(each)} for each in answer["items"]]}
        show(terminal, named if terminal.format == "name" else answer, COLUMNS)
        return
    lines = analysis_lines(answer)
    for line in lines:
        terminal.out(line)
    if not lines:
        of = f"rollout {answer['rollout']} of {answer['application']}"
        terminal.say(f"of {of if answer['rollout'] else answer['application']} no analysis is kept")


def analysis_lines(answer: dict[str, Any]) -> list[str]:
    """A table of the looks, then each metric of the last look of each analysis, with a chart."""
    items = answer["items"]
    if not items:
        return []
    rows = [
        {
            **each,
            "region": each["region"] or "all",
            "look": f"{each['judged']}/{each['count']}",
            "at": ago(each["at"]),
            "score": "-" if each["score"] is None else f"{each['score']:g}",
        }
        for each in items
    ]
    lines = [f"{answer['application']}, rollout {answer['rollout']}", table(COLUMNS, rows)]
    last = {(each["gate"], each["region"]): each for each in items}
    for (gate, region), look in last.items():
        lines += ["", f"{gate}{f', {region}' if region else ''}: look {look['look']}"]
        for metric in look["metrics"]:
            lines += ["  " + metric["text"], *_charts(metric)]
    return lines


def _charts(metric: dict[str, Any]) -> list[str]:
    """Both sides, as high as their own values are, on one scale."""
    old, new = (_numbers(metric[f"{side}_series"], metric["kind"]) for side in ("baseline", "canary"))
    known = [each for each in (*old, *new) if each is not None]
    if not known:
        return []
    most = max(known)
    return [f"    {name} {bars(side, 0.0, most, CHART_WIDTH)}" for name, side in (("old", old), ("new", new))]


def _numbers(series: dict[str, Any] | None, kind: str) -> list[float | None]:
    if series is None:
        return []
    if kind == "value":
        return list(series["values"])
    trials = series["trials"] or [1.0] * len(series["events"])
    return [
        None if events is None or not total else events / total
        for events, total in zip(series["events"], trials, strict=False)
    ]


def _name(look: dict[str, Any]) -> str:
    return f"{look['gate']}/{look['region']}/{look['look']}"
