"""repave spec: the spec that an application serves by, as it was released."""

from typing import Any

from repave_cli.render.output import show_whole
from repave_cli.transport.exit_codes import DONE
from repave_cli.transport.terminal import Terminal, whole
from repave_client.places import quoted


def register(commands: Any) -> None:
    spec = commands.add_parser("spec", help="Print the spec that runs, as it was released (--release N)")
    spec.add_argument("app", metavar="APP")
    spec.add_argument(
        "--release", type=whole, default=0, metavar="N", help="of this rollout, as repave history counts them"
    )
    spec.set_defaults(run=run_spec)


def run_spec(terminal: Terminal) -> int:
    arguments = terminal.arguments
    path = f"applications/{quoted(arguments.app)}/spec"
    release = arguments.release or None
    if terminal.is_for_people:
        terminal.out(terminal.client.get_lines(path, "text", release=release).rstrip("\n"))
    else:
        show_whole(terminal, terminal.client.get(path, release=release))
    return DONE
