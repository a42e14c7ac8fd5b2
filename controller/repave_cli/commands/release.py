"""Commands that change what serves: release, abort, rollback; and watch, which follows them."""

import hashlib
from typing import Any

from repave_cli.commands.asking import add_who_and_why, ask
from repave_cli.commands.follow import SUCCEEDED, UNDONE, follow, newest_rollouts, rollout_numbered
from repave_cli.commands.reporting import add_reports, reported
from repave_cli.commands.switch_time import tell_switch
from repave_cli.render.output import show_line, show_whole, tell
from repave_cli.specs.arguments import add_keep_sizes, add_spec_arguments, given_files
from repave_cli.transport.context import page
from repave_cli.transport.errors import CliError
from repave_cli.transport.exit_codes import DONE, REFUSED
from repave_cli.transport.identity import who
from repave_cli.transport.terminal import Terminal, seconds
from repave_client.places import quoted


def register(commands: Any) -> None:
    release = commands.add_parser(
        "release", help="Release a version on fresh hosts and follow it until it is done or needs you"
    )
    add_spec_arguments(release)
    release.add_argument("--reason", default="", help="kept in the history")
    queue = release.add_mutually_exclusive_group()
    queue.add_argument("--queue", action="store_true", help="wait behind a running rollout")
    queue.add_argument(
        "--queue-latest", action="store_true", help="the same, and drop the releases that waited before"
    )
    queue.add_argument(
        "--replace", action="store_true", help="what runs goes back at once; this begins when it is there"
    )
    queue.add_argument("--no-queue", action="store_true", help="be refused while one runs (the default)")
    release.add_argument(
        "--plan", default="", metavar="ID", help="refuse if anything changed since that plan"
    )
    release.add_argument("--force", action="store_true", help="even where a region says that it has no room")
    add_keep_sizes(release)
    release.add_argument("--dry-run", action="store_true", help="show the plan, change nothing")
    release.add_argument("--key", default="", help="idempotency key (default: derived from what is released)")
    _add_following(release)
    release.set_defaults(run=reported(run_release))
    rollback = commands.add_parser(
        "rollback", help="Bring back what served before, in every region (--to, --region, --now)"
    )
    rollback.add_argument("app", metavar="APP")
    rollback.add_argument("--to", default="", metavar="GROUP", help="an older group or version, not the last")
    rollback.add_argument(
        "--region",
        action="append",
        default=[],
        dest="regions",
        metavar="REGION",
        help="only there; may be repeated",
    )
    rollback.add_argument(
        "--now", action="store_true", help="with the hosts that are there, without growing first"
    )
    rollback.add_argument(
        "--force", action="store_true", help="even to a group with too few healthy hosts; takes --reason"
    )
    rollback.add_argument(
        "--dry-run", action="store_true", help="show the way of each region, change nothing"
    )
    abort = commands.add_parser(
        "abort", help="End the rollout: all traffic with the old group, the new one cleaned up (--region)"
    )
    abort.add_argument("app", metavar="APP")
    abort.add_argument("--region", default="", help="take only this one out; the others go on")
    for command, run in ((rollback, run_rollback), (abort, run_abort)):
        add_who_and_why(command)
        _add_following(command)
        command.set_defaults(run=reported(run))
    watch = commands.add_parser("watch", help="Follow a rollout live")
    watch.add_argument("app", metavar="APP")
    add_patience(watch)
    watch.set_defaults(run=run_watch)


def _add_following(command: Any) -> None:
    command.add_argument("--detach", action="store_true", help="print the group's name and leave")
    add_patience(command)
    add_reports(command)


def add_patience(command: Any) -> None:
    """When following ends before the rollout does."""
    command.add_argument("--timeout", type=seconds, help="leave after, e.g. 10m; the rollout goes on")
    command.add_argument(
        "--until-gate", action="store_true", help="leave with exit code 6 once it waits for a person"
    )
    command.add_argument("--gate-ok", action="store_true", help="the same, with exit code 0")


def run_release(terminal: Terminal) -> int:
    from repave_cli.specs.packages import package_for
    from repave_cli.specs.reading import read_outline

    arguments = terminal.arguments
    spec, files = read_outline(terminal, given_files(arguments), arguments.version or "")
    package = package_for(terminal, spec, files[0], push=not arguments.dry_run)
    body: dict[str, Any] = {"spec": spec.text, "filename": str(files[0]), "digest": package.digest}
    body |= {"version": arguments.version or "", "keep_sizes": arguments.keep_sizes}
    body |= {"signature": package.signature}
    if arguments.dry_run:
        from repave_cli.commands.plan import show_plan

        plan = terminal.client.post("plan", {**body, "will_push": not (arguments.sha256 or arguments.baked)})
        return show_plan(terminal, plan)
    body |= {"reason": arguments.reason, "by": who(), "plan": arguments.plan}
    body |= {
        "queue": arguments.queue or arguments.queue_latest,
        "latest": arguments.queue_latest,
        "replace": arguments.replace,
        "force": arguments.force,
    }
    key = arguments.key or _key(terminal, spec.application, body)
    path = f"applications/{quoted(spec.application)}"
    replaced = _number_running(terminal, spec.application) if arguments.replace else 0
    accepted = terminal.client.post(f"{path}/releases", body, key)
    if replaced and accepted["is_queued"]:
        return _follow_both(terminal, accepted, replaced)
    return _go_on(terminal, accepted)


def _number_running(terminal: Terminal, application: str) -> int:
    """Of the rollout that is to be replaced; 0: none runs."""
    try:
        newest = newest_rollouts(terminal, application, 1)
    except CliError:  # it was never released
        return 0
    return next((int(each["number"]) for each in newest if not each["ended_at"]), 0)


def _follow_both(terminal: Terminal, accepted: dict[str, Any], replaced: int) -> int:
    """What runs on its way back, then the release that takes its place."""
    app, terminal.arguments.accepted = accepted["application"], accepted
    terminal.say(f"what runs of {app} goes back first; then this release begins")
    if terminal.arguments.detach or terminal.format in ("jsonl", "name"):
        _show_accepted(terminal, accepted)
    if terminal.arguments.detach:
        return DONE
    code = follow(terminal, app, replaced, UNDONE)
    if code == DONE:
        accepted = {**accepted, "rollout": replaced + 1, "is_queued": False}
        terminal.arguments.accepted = accepted
        code = follow(terminal, app, replaced + 1)
    _show_end(terminal, accepted, code)
    return code


def _show_accepted(terminal: Terminal, accepted: dict[str, Any]) -> None:
    """For programs, at once: where nothing is followed, or lines are wanted."""
    if not terminal.is_for_people:
        show_whole(terminal, accepted)


def _show_end(terminal: Terminal, accepted: dict[str, Any], code: int) -> None:
    """For programs, as one document, or the last line: what was accepted, with the phase that it has come to,
    why, and the exit code."""
    if terminal.format not in ("json", "yaml", "jsonl"):
        return
    rollout = rollout_numbered(terminal, accepted["application"], accepted["rollout"]) or {}
    end = {"phase": rollout.get("phase", ""), "outcome": rollout.get("outcome", ""), "exit_code": code}
    show_whole(terminal, {**accepted, **end})


def _key(terminal: Terminal, application: str, body: dict[str, Any]) -> str:
    """The same release again joins the running one; after that has ended it is a new one."""
    try:
        newest = newest_rollouts(terminal, application, 2)  # of which one may run
    except CliError:
        newest = []
    ended = max((each["number"] for each in newest if each["ended_at"]), default=0)
    how = tuple(body[name] for name in ("queue", "latest", "replace", "keep_sizes"))
    requested = (application, body["version"], body["digest"], body["spec"], body["signature"], how, ended)
    return hashlib.sha256(repr(requested).encode()).hexdigest()


def run_rollback(terminal: Terminal) -> int:
    arguments = terminal.arguments
    before = next(iter(newest_rollouts(terminal, arguments.app, 1)), None)
    where: dict[str, object] = {"to": arguments.to, "regions": arguments.regions}
    where |= {"force": arguments.force, "now": arguments.now}
    if arguments.dry_run:
        return _show_way_back(terminal, where)
    accepted = ask(terminal, arguments.app, "rollback", **where)
    is_same = before is not None and accepted["rollout"] == before["number"]
    is_turned_round = is_same and accepted["kind"] == "release"
    code = _go_on(terminal, accepted, UNDONE if is_turned_round else SUCCEEDED)
    if code == DONE and not arguments.detach and not is_turned_round:
        tell_switch(terminal, accepted["application"], accepted["group"])
    return code


def _show_way_back(terminal: Terminal, where: dict[str, object]) -> int:
    plan = ask(terminal, terminal.arguments.app, "rollback/plan", **where)
    if terminal.is_for_people:
        from repave_cli.render.going_back import rollback_plan_lines

        for line in rollback_plan_lines(plan):
            terminal.out(line)
    else:
        show_whole(terminal, plan)
    if plan["problems"]:
        raise CliError(f"it would be refused: {plan['problems'][0]}", REFUSED)
    return DONE


def run_abort(terminal: Terminal) -> int:
    region = terminal.arguments.region
    accepted = ask(terminal, terminal.arguments.app, "abort", region=region)
    if not region:
        return _go_on(terminal, accepted, UNDONE)
    follow_by = f"follow it with: repave watch {accepted['application']}"
    tell(terminal, accepted, f"{region} goes back, the others go on; {follow_by}")
    return DONE


def _say_queued(terminal: Terminal, app: str) -> None:
    """Behind what runs; or behind others that wait until a person goes on."""
    queue = terminal.client.get(f"applications/{quoted(app)}/queue")
    if queue["stands"]:
        terminal.say(f"queued for {app}, but {queue['stands']}; {queue['remedy']['text']}")
    else:
        terminal.say(f"queued behind the running rollout of {app}; see it with: repave status {app}")


def run_watch(terminal: Terminal) -> int:
    """For programs the rollout in the end, after a line for each change with -o jsonl."""
    app = terminal.arguments.app
    code = follow(terminal, app, 0)
    if not terminal.is_for_people:
        newest = newest_rollouts(terminal, app, 1)[0]
        show_line(terminal, newest) if terminal.format == "jsonl" else show_whole(terminal, newest)
    return code


def _go_on(terminal: Terminal, accepted: dict[str, Any], wanted: frozenset[str] = SUCCEEDED) -> int:
    """Says what was accepted; follows it, unless --detach is given, to an end that may be a `wanted` one."""
    arguments, app = terminal.arguments, accepted["application"]
    arguments.accepted = accepted
    if accepted["is_queued"]:
        _say_queued(terminal, app)
    elif accepted["is_joined"] and arguments.command in ("abort", "rollback"):
        terminal.say(f"that is under way already for {accepted['group']}; joining it")
    elif accepted["is_joined"]:
        terminal.say(f"{accepted['group']} was requested already; joining it")
    is_left = arguments.detach or accepted["is_queued"]
    if is_left or terminal.format in ("jsonl", "name"):
        _show_accepted(terminal, accepted)
    if terminal.is_for_people and arguments.detach and accepted["group"]:
        terminal.out(accepted["group"])
    if is_left:
        return DONE
    if terminal.is_interactive and terminal.is_for_people:
        link = page(arguments, f"/apps/{quoted(app)}/rollouts/{accepted['rollout']}")
        terminal.say(f"in the browser: {link}")
    code = follow(terminal, app, accepted["rollout"], wanted)
    _show_end(terminal, accepted, code)
    return code
