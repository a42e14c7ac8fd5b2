"""Packages: image push and list."""

import tempfile
from pathlib import Path
from typing import Any

from repave_cli.commands import bake
from repave_cli.render.output import Column, ago, column, short, show, show_whole
from repave_cli.transport.errors import CliError
from repave_cli.transport.exit_codes import DONE
from repave_cli.transport.terminal import Terminal

COLUMNS = (
    Column("DIGEST", lambda item: short(item["digest"])),
    column("NAME"),
    Column("SIZE", lambda item: f"{item['size_bytes']:,} B"),
    column("FILES"),
    Column("PUSHED", lambda item: ago(item["pushed_at"])),
    Column("SHA256", lambda item: item["digest"], is_wide=True),
)


def register(commands: Any) -> None:
    image = commands.add_parser("image", help="Packages: push one, list those stored")
    verbs = image.add_subparsers(dest="verb", metavar="VERB", required=True)
    push = verbs.add_parser("push", help="Store a directory or a .tar.gz by its SHA-256; prints the digest")
    push.add_argument("path", metavar="PATH", type=Path)
    push.add_argument("--name", help="what people call it (default: the path's last part)")
    push.set_defaults(run=run_push)
    verbs.add_parser("list", help="Stored packages, newest first").set_defaults(run=run_list)
    bake.register(verbs)


def run_push(terminal: Terminal) -> int:
    from repave_cli.specs.packages import packed  # tarfile is slow to import

    path: Path = terminal.arguments.path
    with tempfile.TemporaryDirectory(prefix="repave-") as place:
        tarball, digest = packed(terminal, path, Path(place))
        name = terminal.arguments.name or path.resolve().name
        image = terminal.client.upload("images", tarball, name)
    if image["digest"] != digest:
        raise CliError(f"the controller stored {image['digest']}, not {digest}; push again")
    if terminal.is_for_people:
        terminal.out(digest)
        terminal.say(f"stored {name}: {image['files']} files, {image['size_bytes']:,} bytes packed")
    elif terminal.format == "name":
        terminal.out(digest)
    else:
        show_whole(terminal, image)
    return DONE


def run_list(terminal: Terminal) -> int:
    answer = terminal.client.get("images")
    show(terminal, answer, COLUMNS, "no packages; repave image push DIRECTORY stores one")
    return DONE
