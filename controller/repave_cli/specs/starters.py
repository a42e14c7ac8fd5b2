"""What starts the application in a folder? A guess for `repave init`, from the files that are there.

What the folder says itself (an executable `run`, a Procfile, package.json) counts more than a file's name.
"""

import json
import os
import re
import shlex
from pathlib import Path

FILE_BYTES_MAX = 65_536
SCRIPTS = (
    ("app.py", "python3 app.py"),
    ("main.py", "python3 main.py"),
    ("server.js", "node server.js"),
    ("index.js", "node index.js"),
)
NEEDS_SHELL = re.compile(r"[|&;<>`*]|\$\(|\$\{|^\w+=")
PLAIN_YAML = re.compile(r"[A-Za-z./][A-Za-z0-9 ./$_=-]*")


def start_command(folder: Path) -> str:
    """The value of host.run as YAML, or "" when nothing there tells."""
    command = _own_program(folder) or _procfile(folder) or _package_json(folder) or _script(folder)
    return _as_yaml(command) if command else ""


def _own_program(folder: Path) -> str:
    program = folder / "run"
    return "./run" if program.is_file() and os.access(program, os.X_OK) else ""


def _procfile(folder: Path) -> str:
    """Its `web` line."""
    found = re.search(r"^web:[ \t]*(\S.*)$", _text(folder / "Procfile"), re.MULTILINE)
    return found[1].strip() if found else ""


def _package_json(folder: Path) -> str:
    try:
        content = json.loads(_text(folder / "package.json"))
        return "npm start" if content["scripts"]["start"] else ""
    except (ValueError, KeyError, TypeError):
        return ""


def _script(folder: Path) -> str:
    return next((command for name, command in SCRIPTS if (folder / name).is_file()), "")


def _text(path: Path) -> str:
    """Nothing for a file that is not there or can't be read: this is only a guess."""
    try:
        with path.open("rb") as file:
            return file.read(FILE_BYTES_MAX).decode(errors="replace")
    except OSError:
        return ""


def _as_yaml(command: str) -> str:
    """A line as it is, quoted where YAML needs it; in a shell where it was written for one."""
    if NEEDS_SHELL.search(command) or not _is_words(command):
        return json.dumps(["sh", "-c", command])
    return command if PLAIN_YAML.fullmatch(command) else json.dumps(command)


def _is_words(command: str) -> bool:
    try:
        return bool(shlex.split(command))
    except ValueError:
        return False
