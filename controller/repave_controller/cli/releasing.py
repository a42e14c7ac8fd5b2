"""Commands that change what serves: release, abort, rollback; and watch, which follows them."""

import getpass
import hashlib
import os
import socket
from typing import Any

from repave_controller.cli.client import quoted
from repave_controller.cli.follow import SUCCEEDED, UNDONE, follow
from repave_controller.cli.output import show_whole
from repave_controller.cli.specs import add_spec_arguments, given_files, plan_lines, read_spec
from repave_controller.cli.switching import tell_switch
from repave_controller.cli.terminal import DONE, CliError, Terminal, seconds

CI_VARIABLES = ("GITHUB_ACTOR", "GITLAB_USER_LOGIN", "CIRCLE_USERNAME", "BUILD_USER_ID")


def register(commands: Any) -> None:
    release = commands.add_parser(
        "release", help="Release a version on fresh hosts and follow it until it is done or needs you"
    )
    add_spec_arguments(release)
    release.add_argument("--reason", default="", help="kept in the history")
    queue = release.add_mutually_exclusive_group()
    queue.add_argument("--queue", action="store_true", help="wait behind a running rollout")
    queue.add_argument("--no-queue", action="store_true", help="be refused while one runs (the default)")
    release.add_argument(
        "--plan", default="", metavar="ID", help="refuse if anything changed since that plan"
    )
    release.add_argument("--dry-run", action="store_true", help="show the plan, change nothing")
    release.add_argument("--key", default="", help="idempotency key (default: made of what is released)")
    _add_following(release)
    release.set_defaults(run=run_release)
    for name, run, text in (
        ("rollback", run_rollback, "Switch traffic back to the group before, in every region"),
        ("abort", run_abort, "End the rollout: all traffic with the old group, the new one cleaned up"),
    ):
        command = commands.add_parser(name, help=text)
        command.add_argument("app")
        command.add_argument("--reason", default="", help="kept in the history")
        if name == "rollback":
            command.add_argument("--force", action="store_true", help="even to a group that is not healthy")
        _add_following(command)
        command.set_defaults(run=run)
    watch = commands.add_parser("watch", help="Follow a rollout live")
    watch.add_argument("app")
    watch.add_argument("--timeout", type=seconds, help="leave after, e.g. 10m; the rollout goes on")
    watch.set_defaults(run=run_watch)


def _add_following(command: Any) -> None:
    command.add_argument("--detach", action="store_true", help="print the group's name and leave")
    command.add_argument("--timeout", type=seconds, help="leave after, e.g. 10m; the rollout goes on")


def run_release(terminal: Terminal) -> int:
    from repave_controller.cli.images import digest_for

    arguments = terminal.arguments
    spec, text, files = read_spec(terminal, given_files(arguments))
    digest = digest_for(terminal, spec, files[0], push=not arguments.dry_run)
    body = {"spec": text, "filename": str(files[0]), "digest": digest, "version": arguments.version or ""}
    if arguments.dry_run:
        plan = terminal.client.post("plan", {**body, "will_push": not arguments.sha256})
        for line in plan_lines(plan):
            terminal.out(line)
        return DONE
    body |= {"reason": arguments.reason, "by": who(), "queue": arguments.queue, "plan": arguments.plan}
    key = arguments.key or _key(terminal, spec.application, body)
    accepted = terminal.client.post(f"applications/{quoted(spec.application)}/releases", body, key)
    return _go_on(terminal, accepted)


def _key(terminal: Terminal, application: str, body: dict[str, Any]) -> str:
    """The same release asked again joins the running one; asked after it has ended, it is a new one."""
    try:
        history = terminal.client.get(f"applications/{quoted(application)}/history")["items"]
    except CliError:
        history = []
    ended = max((each["number"] for each in history if each["ended_at"]), default=0)
    asked = (application, body["version"], body["digest"], body["spec"], body["queue"], ended)
    return hashlib.sha256(repr(asked).encode()).hexdigest()


def run_rollback(terminal: Terminal) -> int:
    arguments = terminal.arguments
    body = {"reason": arguments.reason, "by": who(), "force": arguments.force}
    path = f"applications/{quoted(arguments.app)}"
    before = terminal.client.get(path)["current_rollout"]
    accepted = terminal.client.post(f"{path}/rollback", body)
    is_turned_round = before is not None and accepted["rollout"] == before["number"]
    code = _go_on(terminal, accepted, UNDONE if is_turned_round else SUCCEEDED)
    if code == DONE and not arguments.detach and not is_turned_round:
        tell_switch(terminal, accepted["application"], accepted["group"])
    return code


def run_abort(terminal: Terminal) -> int:
    arguments = terminal.arguments
    body = {"reason": arguments.reason, "by": who()}
    return _go_on(terminal, terminal.client.post(f"applications/{quoted(arguments.app)}/abort", body), UNDONE)


def run_watch(terminal: Terminal) -> int:
    return follow(terminal, terminal.arguments.app, 0, terminal.arguments.timeout)


def _go_on(terminal: Terminal, accepted: dict[str, Any], wanted: frozenset[str] = SUCCEEDED) -> int:
    """Says what was accepted; follows it, unless told to leave, to an end that may be a `wanted` one."""
    arguments, app = terminal.arguments, accepted["application"]
    if accepted["is_queued"]:
        terminal.say(f"queued behind the running rollout of {app}; see it with: repave status {app}")
    elif accepted["is_joined"]:
        terminal.say(f"{accepted['group']} was asked for already; joining it")
    if not terminal.is_for_people:
        show_whole(terminal, accepted)
    elif arguments.detach and accepted["group"]:
        terminal.out(accepted["group"])
    if arguments.detach or accepted["is_queued"]:
        return DONE
    return follow(terminal, app, accepted["rollout"], arguments.timeout, wanted)


def who() -> str:
    """Who asks, for the history: the CI job's user, or user@machine."""
    in_ci = next((os.environ[name] for name in CI_VARIABLES if os.environ.get(name)), "")
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = str(os.getuid())
    return in_ci or f"{user}@{socket.gethostname()}"[:100]
