"""Releases by git: gitops status, and gitops plan for a pull request."""

import hashlib
import re
from argparse import Namespace
from pathlib import Path
from typing import Any

from repave_cli.render.output import Column, column, show
from repave_cli.transport.errors import CliError
from repave_cli.transport.exit_codes import CHANGES, DONE, REFUSED, USAGE
from repave_cli.transport.terminal import Terminal

FILES = (
    column("REPOSITORY"),
    column("FILE", "path"),
    Column("APP", lambda item: item["application"] or "-"),
    column("STATE"),
    column("GIT", "version"),
    Column("RUNS", lambda item: item["runs_version"] or "-"),
    Column("TEXT", lambda item: item["text"] or "-"),
)
FOLDER = Path("apps")
BLOB_LENGTH = 12
HEADER = "| file | application | from | to | hosts | |"
VERSION = re.compile(r"^#\s*version:\s*([A-Za-z0-9._+-]{1,64})\s*$", re.MULTILINE)
"""As the controller reads it, which follows the repository."""
SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~!])")


def register(commands: Any) -> None:
    gitops = commands.add_parser("gitops", help="Releases by git: how git and what runs differ, plans")
    verbs = gitops.add_subparsers(dest="verb", metavar="VERB", required=True)
    status = verbs.add_parser("status", help="Repositories that are followed, and what differs from git")
    status.set_defaults(run=run_status)
    plan = verbs.add_parser("plan", help="What these specs would do, as Markdown for a pull request")
    plan.add_argument("files", metavar="FILE", nargs="*", type=Path, help="default: all specs in apps/")
    plan.add_argument("--exit-code", action="store_true", help="10 when there is something to do")
    plan.set_defaults(run=run_plan)


def run_status(terminal: Terminal) -> int:
    answer = terminal.client.get("gitops")
    if not terminal.is_for_people:
        show(terminal, answer, FILES)
        return DONE
    files = [{"repository": each["name"], **file} for each in answer["items"] for file in each["files"]]
    show(terminal, {"items": files}, FILES, "no file is followed")
    for each in answer["items"]:
        if each["error"]:
            terminal.say(f"{each['name']}: {each['error']}")
    return DONE


def run_plan(terminal: Terminal) -> int:
    """Each file by itself: one that is wrong leaves the others' plans as they are."""
    arguments = terminal.arguments
    files = arguments.files or sorted([*FOLDER.glob("*.yaml"), *FOLDER.glob("*.yml")])
    if not files:
        raise CliError(f"there are no specs in {FOLDER}/; name some", USAGE)
    plans = [(file, *_planned(terminal, file)) for file in files]
    if terminal.is_for_people:
        for line in markdown(plans):
            terminal.out(line)
    else:
        items = [{"file": str(file), "plan": plan, "error": error} for file, plan, error in plans]
        show(terminal, {"items": items}, (column("FILE", "file"),))
    wrong = [file for file, plan, error in plans if error or (plan and plan["problems"])]
    if wrong:
        raise CliError(f"{', '.join(map(str, wrong))}: it would be refused", REFUSED)
    return CHANGES if arguments.exit_code and any(_does(plan) for _, plan, _ in plans) else DONE


def _planned(terminal: Terminal, file: Path) -> tuple[dict[str, Any] | None, str]:
    """The plan, or why there is none."""
    from repave_cli.specs.packages import package_for
    from repave_cli.specs.reading import read_outline

    try:
        content = file.read_bytes()
        version = version_of(content)
        fixed = {"version": version, "sha256": None, "baked": None, "signature": None}
        terminal.arguments = Namespace(**{**vars(terminal.arguments), **fixed})
        spec, _ = read_outline(terminal, [file], version)
        package = package_for(terminal, spec, file, push=False)
        body = {"spec": spec.text, "filename": str(file), "digest": package.digest, "version": version}
        plan: dict[str, Any] = terminal.client.post("plan", {**body, "will_push": True})
    except OSError as error:
        return None, f"{file}: {error.strerror}"
    except CliError as error:
        return None, error.text
    return plan, ""


def version_of(content: bytes) -> str:
    """As a line `# version: 2.0` says; else by its content, as git knows it."""
    said = VERSION.search(content.decode(errors="replace"))
    if said is not None:
        return said[1]
    blob = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
    return f"git-{blob[:BLOB_LENGTH]}"


def markdown(plans: list[tuple[Path, dict[str, Any] | None, str]]) -> list[str]:
    """A table, and what each does; text of others is escaped."""
    lines = [
        "## repave plan",
        "",
        "| file | application | from | to | hosts | |",
        "|---|---|---|---|---|---|",
    ]
    for file, plan, _ in plans:
        if plan is None:
            lines.append(f"| {escaped(str(file))} | | | | | would be refused |")
            continue
        to = f"{plan['group']} ({plan['version']})"
        hosts = f"+{plan['creates_hosts']} -{plan['destroys_hosts']}"
        cells = (str(file), plan["application"], plan["origin"] or "nothing", to, hosts, _verdict(plan))
        lines.append(f"| {' | '.join(map(escaped, cells))} |")
    for file, plan, error in plans:
        if error:
            lines += [
                "",
                f"### {escaped(str(file))}",
                "",
                *(f"> {escaped(each)}" for each in error.splitlines()),
            ]
        elif plan is not None:
            lines += ["", f"### {escaped(plan['application'])}: {escaped(plan['strategy'])}", ""]
            lines += [f"- refused: {escaped(each)}" for each in plan["problems"]]
            lines += [f"- {escaped(each)}" for each in plan["changes"]]
            lines += [f"{number}. {escaped(each['text'])}" for number, each in enumerate(plan["steps"], 1)]
    return lines


def _verdict(plan: dict[str, Any]) -> str:
    if plan["problems"]:
        return "would be refused"
    return f"goes back by: {plan['back']}" if plan["back"] else ""


def _does(plan: dict[str, Any] | None) -> bool:
    return plan is not None and bool(plan["creates_hosts"])


def escaped(text: str) -> str:
    """As it stands, on one line, whatever Markdown makes of it."""
    plain = "".join(each if each.isprintable() else "?" for each in " ".join(text.split()))
    return SPECIAL.sub(r"\\\1", plain)
