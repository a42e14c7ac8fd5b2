"""Packages: image push and list, and the digest that a release of a spec needs."""

import string
import tempfile
from pathlib import Path
from typing import Any

from repave_cli.commands import bake
from repave_cli.render.output import Column, ago, column, show, show_whole
from repave_cli.transport.terminal import DONE, USAGE, CliError, Terminal

DIGEST_LENGTH = 64
COLUMNS = (
    Column("DIGEST", lambda item: item["digest"][:16]),
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
    push.add_argument("path", type=Path)
    push.add_argument("--name", help="what people call it (default: the path's last part)")
    push.set_defaults(run=run_push)
    verbs.add_parser("list", help="Stored packages, newest first").set_defaults(run=run_list)
    bake.register(verbs)


def stored(terminal: Terminal, package: str) -> tuple[str, str]:
    """What people call a package, and its digest: one that lies at a path, which is pushed, or is stored."""
    path = Path(package)
    if not path.exists():
        digest = sha256("PACKAGE: there is no such path, and as a digest", package)
        known = {each["digest"]: each["name"] for each in terminal.client.get("images")["items"]}
        if digest not in known:
            raise CliError(f"PACKAGE: no package {digest} is stored; repave image list shows them", USAGE)
        return known[digest], digest
    with tempfile.TemporaryDirectory(prefix="repave-") as place:
        tarball, digest = packed(path, Path(place))
        if not terminal.client.exists(f"images/{digest}"):
            terminal.client.upload("images", tarball, path.resolve().name)
    return path.resolve().name.removesuffix(".tar.gz"), digest


def run_push(terminal: Terminal) -> int:
    path: Path = terminal.arguments.path
    with tempfile.TemporaryDirectory(prefix="repave-") as place:
        tarball, digest = packed(path, Path(place))
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


def packed(path: Path, place: Path) -> tuple[Path, str]:
    """A tarball of the directory, or the tarball itself once it was looked through; and its digest."""
    from repave_protos.package.archive import PackageFormatError, inspect, pack, sha256_of

    try:
        if path.is_dir():
            tarball = place / "package.tar.gz"
            return tarball, pack(path, tarball)
        inspect(path)
        return path, sha256_of(path)
    except PackageFormatError as error:
        raise CliError(str(error), USAGE) from error
    except OSError as error:
        raise CliError(f"{path}: {error.strerror or error}", USAGE) from error


def digest_for(terminal: Terminal, spec: Any, spec_file: Path, *, push: bool) -> str:
    """The digest that an option or the spec names, or that of what artifact.uri names, stored if `push`."""
    from repave_controller.spec.spec import PlanError, artifact_path

    arguments, wanted = terminal.arguments, spec.artifact.sha256
    if arguments.baked:
        return bake.digest_named(terminal, arguments.baked, [region.name for region in spec.regions])
    if arguments.sha256 is not None:
        return sha256("--sha256", arguments.sha256)
    if spec.artifact.uri is None:
        if wanted in (None, "required"):
            raise CliError("artifact: say which package with --sha256, or name one as artifact.uri", USAGE)
        return str(wanted)
    if wanted == "required":
        raise CliError("artifact.sha256: this spec wants the package's digest as --sha256", USAGE)
    if "{version}" in spec.artifact.uri and not arguments.version:
        raise CliError(f"artifact.uri is {spec.artifact.uri}: say which version with --version", USAGE)
    try:
        path = spec_file.resolve().parent / artifact_path(spec, arguments.version or "0")
    except PlanError as error:
        raise CliError(str(error), USAGE) from error
    if not path.exists():
        raise CliError(f"artifact.uri: {path} is not there", USAGE)
    with tempfile.TemporaryDirectory(prefix="repave-") as place:
        tarball, digest = packed(path, Path(place))
        if push and not terminal.client.exists(f"images/{digest}"):
            terminal.say(f"storing {path.name} ({tarball.stat().st_size:,} bytes) ...")
            terminal.client.upload("images", tarball, path.name)
    return digest


def sha256(where: str, given: str) -> str:
    """As people copy it: also in capitals or with `sha256:` before it."""
    digest = given.lower().removeprefix("sha256:")
    if len(digest) != DIGEST_LENGTH or not set(digest) <= set(string.hexdigits):
        raise CliError(
            f"{where}: {given[: 2 * DIGEST_LENGTH]!a} is no SHA-256, which has {DIGEST_LENGTH} digits 0-9 "
            "and a-f; repave image push prints it, and so does sha256sum",
            USAGE,
        )
    return digest
