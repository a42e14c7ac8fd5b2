"""Jobs of a release: jobs list, settle."""

from typing import Any

from repave_cli.commands.asking import add_who_and_why, ask, tell_accepted
from repave_cli.render.output import Column, ago, column, show
from repave_cli.transport.exit_codes import DONE
from repave_cli.transport.terminal import Terminal
from repave_client.places import quoted

OUTCOMES = ("again", "done", "failed")
MOMENTS = {"before": "before", "after": "after", "on_rollback": "on rollback"}
JOBS = (
    column("JOB", "name"),
    Column("WHEN", lambda item: MOMENTS.get(item["moment"], item["moment"])),
    column("REGION"),
    Column("STATE", lambda item: _state(item)),
    Column("TRY", lambda item: str(item["attempt"] or "-")),
    Column("EXIT", lambda item: "-" if item["exit_code"] is None else str(item["exit_code"])),
    Column("BEGAN", lambda item: ago(item["began_at"]) if item["began_at"] else "-"),
    Column("TEXT", lambda item: item["text"] or "-"),
    column("HOST", is_wide=True),
)


def register(commands: Any) -> None:
    jobs = commands.add_parser(
        "jobs", help="Jobs before and after releases: list them, settle one that waits"
    )
    verbs = jobs.add_subparsers(dest="verb", metavar="VERB", required=True)
    listed = verbs.add_parser("list", help="Those of the newest rollout, with all their attempts")
    listed.add_argument("app", metavar="APP")
    listed.set_defaults(run=run_list)
    settle = verbs.add_parser(
        "settle", help="Say what counts of a job that nobody can judge, or that has failed for good"
    )
    settle.add_argument("app", metavar="APP")
    settle.add_argument("job", metavar="JOB")
    settle.add_argument(
        "outcome",
        choices=OUTCOMES,
        help="again: run it once more; done: it has done its work; failed: it has not",
    )
    add_who_and_why(settle)
    settle.set_defaults(run=run_settle)


def _state(item: dict[str, Any]) -> str:
    """`unknown, taken as done by ann`"""
    if not item["settled"]:
        return str(item["state"])
    meanings = {"again": "run again", "done": "taken as done", "failed": "taken as failed"}
    who = f" by {item['settled_by']}" if item["settled_by"] else ""
    return f"{item['state']}, {meanings.get(item['settled'], 'left')}{who}"


def run_list(terminal: Terminal) -> int:
    rollout = terminal.client.get(f"applications/{quoted(terminal.arguments.app)}")["current_rollout"]
    jobs = rollout["jobs"] if rollout is not None else []
    show(terminal, {"items": jobs}, JOBS, "its newest rollout has no jobs")
    return DONE


def run_settle(terminal: Terminal) -> int:
    arguments = terminal.arguments
    body = {"job": arguments.job, "outcome": arguments.outcome}
    accepted = ask(terminal, arguments.app, "jobs/settle", **body)
    done = {"again": "is run again", "done": "counts as done", "failed": "counts as failed"}
    text = f"job {arguments.job} {done[arguments.outcome]}; follow it with: repave watch {arguments.app}"
    tell_accepted(terminal, accepted, text, name=accepted["group"])
    return DONE
