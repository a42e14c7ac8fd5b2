"""How a command is told which spec and which package it is for."""

from pathlib import Path
from typing import Any


def add_file_arguments(command: Any) -> None:
    """Which spec it is for, as given_files reads it."""
    command.add_argument(
        "file", metavar="FILE", nargs="?", type=Path, help="the spec (default: repave.yaml here or above)"
    )
    add_files(command, "the spec; more of them overlay it")


def add_files(command: Any, help_text: str) -> None:
    """-f, which may be repeated."""
    command.add_argument(
        "-f", "--file", action="append", type=Path, dest="files", metavar="FILE", help=help_text
    )


def add_spec_arguments(command: Any) -> None:
    """What plan and release have in common."""
    add_file_arguments(command)
    command.add_argument("--version", help="what people call it (default: the digest's first 12 digits)")
    package = command.add_mutually_exclusive_group()
    package.add_argument("--sha256", help="a package that is stored already, instead of artifact.uri")
    package.add_argument("--baked", help="the package of a machine image that every region has, by its name")
    command.add_argument(
        "--signature",
        type=Path,
        metavar="FILE",
        help="the package's, by minisign, signify or sigstore (default: beside it, or artifact.signature)",
    )


def add_keep_sizes(command: Any) -> None:
    command.add_argument(
        "--keep-sizes",
        action="store_true",
        help="regions keep the sizes they have now, whatever the spec says",
    )


def given_files(arguments: Any) -> list[Path]:
    return [*(arguments.files or []), *([arguments.file] if arguments.file else [])]
