"""`repave`: the tree of commands. Only the module of the command that is asked for is imported, and that does
its heavy imports when it runs: most of what a command costs is what it imports.
"""

import argparse
import importlib
import itertools
import json
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final, NoReturn

from repave_cli.transport.errors import CliError
from repave_cli.transport.exit_codes import DETACHED, USAGE
from repave_cli.transport.terminal import FORMATS, Terminal
from repave_protos.daemon.printable import printable

MODULES: Final[Mapping[str, tuple[str, ...]]] = {
    "dev.dev": ("dev",),
    "specs.specs": ("init", "validate", "schema"),
    "commands.plan": ("plan",),
    "commands.simulate": ("simulate",),
    "commands.release": ("release", "rollback", "abort", "watch"),
    "commands.steering": ("object", "pause", "resume", "retry", "step-back", "promote", "scale"),
    "commands.queue": ("queue",),
    "commands.jobs": ("jobs",),
    "commands.read": ("status", "why", "history", "apps", "groups", "hosts", "regions", "events"),
    "commands.host": ("host",),
    "commands.spec": ("spec",),
    "commands.logs": ("logs",),
    "commands.traffic": ("traffic",),
    "commands.analysis": ("analysis",),
    "commands.suspects": ("suspects",),
    "commands.lifecycle": ("delete",),
    "commands.freeze": ("freeze", "unfreeze", "stop", "go"),
    "commands.renew": ("ages", "taint", "renew"),
    "commands.orphans": ("orphans",),
    "commands.image": ("image",),
    "commands.pool": ("pool",),
    "commands.controllers": ("controllers",),
    "commands.agents": ("agents",),
    "commands.doctor": ("doctor", "version", "completion"),
    "commands.adopt": ("adopt",),
    "commands.recover": ("controller",),
    "commands.context": ("context",),
    "commands.login": ("login", "logout", "whoami"),
    "commands.accounts": ("tokens", "roles"),
    "commands.people": ("people",),
    "commands.audit": ("audit",),
    "commands.hooks": ("hooks",),
    "commands.gitops": ("gitops",),
    "commands.promotions": ("promotions",),
    "commands.notify": ("notify",),
    "commands.help": ("help",),
}
"""Module, below repave_cli, to the commands that it registers; in the order of --help."""

OF_ALL: Final = ("completion", "help")
"""Commands that need the whole tree."""


class UsageError(CliError):
    """Words that no command has. `prog`: the command that they were given to."""

    def __init__(self, prog: str, text: str) -> None:
        super().__init__(f"{text}; {prog} --help shows what there is", USAGE)
        self.prog = prog


class Parser(argparse.ArgumentParser):
    """Suggests what a wrong word may have meant. What a command does not know it refuses itself."""

    default_verb = ""
    """Is meant where the first word is no verb: `repave analysis APP`."""

    def error(self, message: str) -> NoReturn:
        if message.startswith(("argument COMMAND: invalid choice: ", "argument VERB: invalid choice: ")):
            wrong = message.split("invalid choice: ")[1].split("'")[1]
            message = f"there is no command {wrong}{self._suggestion(wrong)}"
        elif message.endswith((" required: VERB", " required: COMMAND")):
            message += f" ({', '.join(self._known())})"
        raise UsageError(self.prog, message)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[Any, list[str]]:
        if self.default_verb and args and not args[0].startswith("-") and args[0] not in self._known():
            args = [self.default_verb, *args]
        known, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self.error(f"unknown argument {unknown[0]}{self._option_like(unknown[0])}")
        return known, unknown

    def _option_like(self, wrong: str) -> str:
        import difflib  # slow to import, and only who mistyped needs it

        options = [name for name in self._option_string_actions if name.startswith("--")]
        near = difflib.get_close_matches(wrong.partition("=")[0], options, n=1)
        return f"; did you mean {near[0]}?" if near else ""

    def _suggestion(self, wrong: str) -> str:
        from repave_cli.render.meaning import meant  # who typed it right needs none of it

        found = meant(self.prog.partition(" ")[2], wrong, self._known())
        return f"; did you mean {found}?" if found else ""

    def _known(self) -> list[str]:
        """Its commands that have a help text: no hidden ones."""
        return [
            choice.dest
            for action in self._actions
            if isinstance(action, argparse._SubParsersAction)
            for choice in action._choices_actions
        ]


class Root(Parser):
    """`repave` itself: its help is an overview."""

    def format_help(self) -> str:
        from repave_cli.commands.help import overview

        return overview(self)


class Version(argparse.Action):
    """Prints the version; looked up only when it is asked for."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        from repave_protos import __version__

        print(f"repave {__version__}")
        parser.exit()


def make_parser(words: Sequence[str] | None = None) -> argparse.ArgumentParser:
    """The tree of commands: all of it, or as far as these words of a command line need it."""
    parser = Root(
        prog="repave",
        description="Every release gets brand-new hosts in every region; going back is one traffic switch.",
        epilog="Start with: repave dev (in one terminal), repave init and repave release (in another).",
    )
    parser.add_argument("--version", action=Version, nargs=0, help="show the version of this program")
    parser.set_defaults(root=parser)  # the whole tree, which repave completion prints
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True, parser_class=Parser)
    asked = _command_in(words or ())
    for module in [each for each in MODULES if asked in MODULES[each]] or MODULES:
        importlib.import_module(f"repave_cli.{module}").register(commands)
    _add_common(parser, default=None)
    for command in _all_parsers(commands):
        _add_common(command, default=argparse.SUPPRESS)  # else it would undo what stands before the command
    return parser


def _command_in(words: Sequence[str]) -> str:
    """The command whose module is all that is needed; "" where the whole tree is."""
    before = ""
    for word in words:
        if not word.startswith("-") and not _takes_value(before):
            return "" if word in OF_ALL else word
        before = word
    return ""


def _takes_value(option: str) -> bool:
    """Of those that may stand before the command, also when cut short."""
    names = ("--output", "--url", "--context")
    return option == "-o" or (len(option) > 2 and any(name.startswith(option) for name in names))


def _all_parsers(commands: Any) -> list[argparse.ArgumentParser]:
    """Those that run something."""
    found = []
    for command in commands.choices.values():
        found += [command] if command.get_default("run") else []
        for each in command._actions:
            if isinstance(each, argparse._SubParsersAction):
                found += _all_parsers(each)
    return found


def _add_common(command: argparse.ArgumentParser, default: str | None) -> None:
    common = command.add_argument_group("everywhere")
    for names, choices, text in (
        (("-o", "--output"), FORMATS, "how to print (REPAVE_OUTPUT)"),
        (("--url",), None, "the controller's address, or several with commas between (REPAVE_URL)"),
        (("--context",), None, "the controller's name in the config file (REPAVE_CONTEXT)"),
    ):
        common.add_argument(*names, choices=choices, default=default, help=text)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit code."""
    words = sys.argv[1:] if argv is None else argv
    chosen = _format_in(words)
    terminal = None
    try:
        arguments = make_parser(words).parse_args(words or ("help",))
        terminal = Terminal(arguments)
        return int(arguments.run(terminal))
    except CliError as error:
        return _fail(chosen, error, terminal)
    except KeyboardInterrupt:
        return DETACHED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:  # a full disk, a directory without rights
        what = f"{error.filename}: " if error.filename else ""
        return _fail(chosen, CliError(f"{what}{error.strerror or error}"), terminal)


def _format_in(words: Sequence[str]) -> str:
    """Of -o, which also holds for words that can't be taken; the last one counts."""
    chosen = os.environ.get("REPAVE_OUTPUT", "")
    for before, word in itertools.pairwise(("", *words)):
        if before in ("-o", "--output"):
            chosen = word
        elif word.startswith("--output=") or (word.startswith("-o") and word[2:] in FORMATS):
            chosen = word.removeprefix("--output=").removeprefix("-o")
    return chosen


def _fail(chosen: str, error: CliError, terminal: Terminal | None) -> int:
    """Prose on standard error; with -o json the problem on standard output as well, unless the answer is
    there already: it is one document, or lines with jsonl."""
    has_answered = terminal is not None and terminal.has_answered
    if chosen == "jsonl" or (chosen in ("json", "yaml") and not has_answered):
        problem = error.problem or {
            "type": "urn:repave:problem:cli",
            "title": "the command failed",
            "status": 0,
            "detail": error.text,
            "rule": "cli",
            "problems": [],
        }
        print(json.dumps(problem, indent=2 if chosen == "json" else None))
    is_spec = error.problem is not None and error.problem.get("rule") == "spec"
    prog = error.prog if isinstance(error, UsageError) else "repave"
    # Places in a file stand alone at the line's start, as editors want them.
    print(printable(error.text if is_spec else f"{prog}: {error.text}", keeps="\n"), file=sys.stderr)
    return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
