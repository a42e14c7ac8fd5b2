"""help: what there is, in the order in which it is met; or one command, as its --help says it."""

import argparse
import textwrap
from collections.abc import Iterator
from typing import Any, Final

from repave_cli.render.output import show, show_whole
from repave_cli.transport.exit_codes import DONE
from repave_cli.transport.terminal import Terminal

CHAPTERS: Final = {
    "Release": ("init", "validate", "adopt", "plan", "simulate", "release", "watch", "rollback", "abort"),
    "Steer what runs": ("promote", "object", "pause", "resume", "retry", "step-back", "scale", "queue"),
    "Look": (
        "status",
        "why",
        "history",
        "spec",
        "apps",
        "groups",
        "hosts",
        "host",
        "logs",
        "traffic",
        "analysis",
        "suspects",
        "regions",
        "events",
    ),
    "Keep hosts fresh": ("ages", "taint", "renew", "orphans"),
    "By git, hooks and stacks": ("gitops", "hooks", "promotions"),
    "Hold, and end": ("freeze", "unfreeze", "delete"),
    "Packages and machines": ("image", "pool"),
    "Access": ("login", "logout", "whoami", "tokens", "roles", "people", "audit", "agents"),
    "The installation": ("dev", "doctor", "controllers", "controller", "notify", "context"),
    "This program": ("help", "version", "completion", "schema"),
}
OPTIONS: Final = {
    "-o, --output FORMAT": "table, wide, json, jsonl, yaml, name or markdown (REPAVE_OUTPUT)",
    "--url URL": "the controller, or several with commas between (REPAVE_URL)",
    "--context CONTEXT": "the controller's name in the config file (REPAVE_CONTEXT)",
    "-h, --help": "of every command",
    "--version": "the version of this program",
}
WIDTH, INDENT, OPTION_INDENT = 88, 15, 24


def register(commands: Any) -> None:
    helping = commands.add_parser(
        "help", help="What there is; or how one command is used: repave help release"
    )
    helping.add_argument("words", nargs="*", metavar="COMMAND")
    helping.set_defaults(run=run_help)


def run_help(terminal: Terminal) -> int:
    parser, words = terminal.arguments.root, terminal.arguments.words
    for word in words:
        parser = chosen(parser, word)
    if terminal.is_for_people:
        terminal.out(parser.format_help().rstrip())
    elif not words:
        show(terminal, {"items": [{"name": name, "help": text} for name, text in texts(parser).items()]}, ())
    else:
        usage = " ".join(parser.format_usage().removeprefix("usage: ").split())
        show_whole(terminal, {"name": " ".join(words), "usage": usage, "help": parser.format_help()})
    return DONE


def chosen(parser: argparse.ArgumentParser, word: str) -> argparse.ArgumentParser:
    """The parser of a command below; ends as a wrong word does."""
    below = below_of(parser)
    if below is None or word not in below.choices:
        metavar = below.metavar if below is not None else "COMMAND"
        parser.error(f"argument {metavar}: invalid choice: {word!r}")
    found: argparse.ArgumentParser = below.choices[word]
    return found


def below_of(parser: argparse.ArgumentParser) -> Any:
    """Its commands, or None."""
    actions = (each for each in parser._actions if isinstance(each, argparse._SubParsersAction))
    return next(actions, None)


def texts(parser: argparse.ArgumentParser) -> dict[str, str]:
    """Commands that are shown, with what they are for."""
    below = below_of(parser)
    return {each.dest: each.help for each in below._choices_actions} if below is not None else {}


def overview(parser: argparse.ArgumentParser) -> str:
    """All commands by chapter, then the options of every one."""
    known = texts(parser)
    lines = [f"usage: {parser.prog} COMMAND ...", "", *textwrap.wrap(str(parser.description), WIDTH)]
    others = tuple(name for name in known if not any(name in names for names in CHAPTERS.values()))
    for chapter, names in {**CHAPTERS, **({"More": others} if others else {})}.items():
        lines += ["", chapter]
        for name in names:
            if name in known:
                lines += _entry(name, known[name])
    lines += ["", "Everywhere"]
    for options, text in OPTIONS.items():
        lines += _entry(options, text, OPTION_INDENT)
    lines += ["", "How one is used: repave help COMMAND.", *textwrap.wrap(str(parser.epilog), WIDTH)]
    return "\n".join(lines) + "\n"


def _entry(name: str, text: str, indent: int = INDENT) -> Iterator[str]:
    first, *rest = textwrap.wrap(text, WIDTH - indent) or [""]
    yield f"  {name:<{indent - 2}}{first}"
    yield from (f"{'':<{indent}}{each}" for each in rest)
