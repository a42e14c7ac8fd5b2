"""What does a spec say of the release that a command is to ask for? The controller reads it.

Reading YAML here takes longer than all else that a command does; so it is read here only where the controller
can't: for what is wrong with the files themselves, beside a controller that is away or of an older version.
What is wrong with a spec is said in the same words, with the same lines, by both.
"""

from pathlib import Path
from typing import Any

from repave_cli.specs.specs import read_spec
from repave_cli.transport.errors import CliError, UnreachableError
from repave_cli.transport.exit_codes import USAGE
from repave_cli.transport.terminal import Terminal
from repave_controller.spec.outline import Outline, nearest_spec

FILE_BYTES_MAX = 1024 * 1024
FILES_BYTES_MAX = 3 * 1024 * 1024
FILES_MAX = 20
"""More is read here, which says what is too much."""

ROUTE = "outline"


def read_outline(terminal: Terminal, given: list[Path], version: str = "") -> tuple[Outline, list[Path]]:
    """With the spec's files: those given, or repave.yaml here or above. Raises CliError."""
    found = given or list(filter(None, [nearest_spec(Path.cwd())]))
    texts = _texts(found)
    if not texts:
        return _read_here(terminal, given, version)
    files = [{"name": str(file), "text": text} for file, text in zip(found, texts, strict=True)]
    try:
        told = terminal.client.post(ROUTE, {"files": files, "version": version}, is_exact=True)
    except UnreachableError:
        _read_here(terminal, given, version)  # what is wrong with the spec can be mended meanwhile
        raise
    except CliError as error:
        if not error.is_unknown_route:
            raise _of_order(error) from error
        return _read_here(terminal, given, version)
    return Outline(**{name: value for name, value in told.items() if name in Outline._fields}), found


def _texts(files: list[Path]) -> list[str]:
    """None of them where one can't be sent."""
    if len(files) > FILES_MAX:
        return []
    texts = []
    try:
        for file in files:
            with file.open("rb") as opened:
                content = opened.read(FILE_BYTES_MAX + 1)
            if len(content) > FILE_BYTES_MAX:
                return []
            texts.append(content.decode())
    except (OSError, UnicodeDecodeError):
        return []
    return texts if sum(map(len, texts)) <= FILES_BYTES_MAX else []


def _read_here(terminal: Terminal, given: list[Path], version: str) -> tuple[Outline, list[Path]]:
    spec, text, files = read_spec(terminal, given)
    from repave_controller.spec.outline import outline
    from repave_controller.spec.spec import OrderError  # slow to import

    try:
        return outline(spec, text, version), files
    except OrderError as error:
        raise CliError(str(error), USAGE) from error


def _of_order(error: CliError) -> CliError:
    """An argument's fault is no place in a file."""
    places: list[dict[str, Any]] = (error.problem or {}).get("problems", [])
    is_argument = error.exit_code == USAGE and not any("line" in each for each in places)
    return CliError(error.text, USAGE) if is_argument else error
