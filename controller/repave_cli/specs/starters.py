"""What starts the application in a folder? Read for `repave init` from what the folder says of itself.

Nothing is guessed where several answers are as good, and nothing ever serves the folder's own files.
"""

import contextlib
import json
import os
import re
import shlex
import shutil
import stat
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from repave_cli.specs import dockerfile

FILE_BYTES_MAX = 65_536
SCRIPTS = (
    ("app.py", "python3 app.py"),
    ("main.py", "python3 main.py"),
    ("server.py", "python3 server.py"),
    ("web.py", "python3 web.py"),
    ("server.js", "node server.js"),
    ("index.js", "node index.js"),
    ("main.js", "node main.js"),
)
NEEDS_SHELL = re.compile(r"[|&;<>`*]|\$\(|\$\{\w+[^}\w]|^\w+=")
PLAIN_YAML = re.compile(r"[A-Za-z./][A-Za-z0-9 ./$_=-]*")
PORT_TOLD = re.compile(
    r"(?:0\.0\.0\.0:|127\.0\.0\.1:|localhost:|\$HOST:|--port[ =]|--bind[ =]:|(?:^|\s)-p )(\d{2,5})\b"
)
EVERYWHERE = re.compile(r"(?<![\d.])0\.0\.0\.0(?![\d.])")
EVERYWHERE_SHORT = re.compile(r"((?:^|\s)(?:-b|--bind|--?listen|--?addr(?:ess)?)[ =])(?=:[$\d])")
"""Before the port of `--bind :8000`, which means every address."""
EXEC = re.compile(r"exec\s+(?=\S)")
HEALTH_PATHS = re.compile(r"[\"'](/(?:-/)?(?:healthz?|health_?check|livez|readyz|ping|up|status))[\"']")
OURS = ("HOST", "PORT")
"""Variables of a host that repave sets."""
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
LOOKED_AT = (
    "an executable run, Dockerfile, Procfile, pyproject.toml, package.json, *.pyz, app.py and the like, "
    "a lone executable"
)


@dataclass(frozen=True, slots=True)
class Start:
    """How an application is started. `source`: what said so; `notes`: what a person should look at."""

    command: str | list[str]  # a text is a line, as in a Procfile
    source: str
    port: int = 0  # where it listens, if anything says so
    environment: Mapping[str, str] = field(default_factory=dict)
    health_path: str = ""
    notes: tuple[str, ...] = ()

    @property
    def as_yaml(self) -> str:
        """The value of host.run."""
        return _as_yaml(self.command)


Look = Callable[[Path], Start | None]
DOCKERFILES = ("Dockerfile", "Containerfile")
EMPTY = {"pyproject.toml": "", "package.json": "{}"}
TO_BUILD = (
    ("go.mod", "build the program first (go build -o serve .), then repeat repave init"),
    ("Cargo.toml", "build the program first (cargo build --release), then repeat repave init beside it"),
    ("pom.xml", "build the jar first, then: repave init --run 'java -jar NAME.jar'"),
    ("build.gradle", "build the jar first, then: repave init --run 'java -jar NAME.jar'"),
)


class UnclearError(Exception):
    """Several things there could be what starts it, or what should say it makes no sense. The text tells."""


def given(command: str) -> Start:
    """What a person says it is."""
    return _finished(Start(command, "--run"))


def found_in(folder: Path) -> Start | None:
    """None when nothing there tells. Raises UnclearError."""
    for look in LOOKS:
        start = look(folder)
        if start is not None:
            start = replace(
                start, notes=(*start.notes, *_passed_over(folder, look), *_missing(folder, start))
            )
            return _finished(replace(start, health_path=start.health_path or _health_path(folder)))
    return None


def hints(folder: Path) -> list[str]:
    """Why nothing there tells, although it looks as if it might."""
    found = [f"{name} can't be read: {why}" for name, why in _unreadable(folder)]
    if any((folder / each).is_file() for each in DOCKERFILES):
        found.append("the Dockerfile has no CMD or ENTRYPOINT of its own")
    if (folder / "Procfile").is_file():
        found.append("the Procfile has no line for web")
    found += [f"{name}: {way}" for name, way in TO_BUILD if (folder / name).is_file()]
    return found


def _unreadable(folder: Path) -> Iterator[tuple[str, str]]:
    for name, parse in (("pyproject.toml", tomllib.loads), ("package.json", json.loads)):
        try:
            parse(_text(folder / name) if (folder / name).is_file() else EMPTY[name])
        except (ValueError, RecursionError) as error:
            yield name, str(error)


def _passed_over(folder: Path, taken: Look) -> Iterator[str]:
    """What else is written to start it, and says something else."""
    for look in WRITTEN[WRITTEN.index(taken) + 1 :] if taken in WRITTEN else ():
        with contextlib.suppress(UnclearError):
            if other := look(folder):
                yield f"{other.source} says {other.as_yaml}; that was left aside"


def _missing(folder: Path, start: Start) -> Iterator[str]:
    words = _words(start.command)
    if words and _is_relative(words[0]) and not (folder / words[0]).is_file():
        yield f"{words[0]} is not in this folder: it must be in the package"


def _is_relative(word: str) -> bool:
    return "/" in word and not word.startswith("/") and "$" not in word and "{" not in word


def _own_program(folder: Path) -> Start | None:
    return Start("./run", "run") if _is_program(folder / "run") else None


def _dockerfile(folder: Path) -> Start | None:
    name = next((each for each in DOCKERFILES if (folder / each).is_file()), "")
    try:
        told = dockerfile.read(_text(folder / name)) if name else dockerfile.Dockerfile()
    except dockerfile.UnclearError as error:
        raise UnclearError(f"{name}: {error}") from error
    command = told.command
    if not command:
        return None
    if isinstance(command, list):
        command = [_inside(word, told.folder, folder) for word in command]
    kept = {
        key: value for key, value in told.variables.items() if key not in (*OURS, "PATH") and "$" not in value
    }
    notes = ("what the Dockerfile installs must be on the hosts or in the package",)
    return Start(command, name, told.port, kept, told.health_path, notes)


def _inside(word: str, image_folder: str, folder: Path) -> str:
    """A file of the image's working directory that is in the folder as well, as it is called there."""
    below = f"{image_folder.rstrip('/')}/"
    name = word.removeprefix(below)
    return f"./{name}" if name != word and name and (folder / name).exists() else word


def _procfile(folder: Path) -> Start | None:
    """Its `web` line."""
    found = re.search(r"^web:[ \t]*(\S.*)$", _text(folder / "Procfile"), re.MULTILINE)
    return Start(found[1].strip(), "Procfile") if found else None


def _pyproject(folder: Path) -> Start | None:
    """The one script, or the one that is called like the project, or serve and the like."""
    try:
        content = tomllib.loads(_text(folder / "pyproject.toml"))
        project, poetry = content.get("project", {}), content.get("tool", {}).get("poetry", {})
        scripts = {
            name: target
            for name, target in {**poetry.get("scripts", {}), **project.get("scripts", {})}.items()
            if isinstance(target, str) and re.fullmatch(r"[\w.]+:[\w.]+", target)
        }
        own = str(project.get("name") or poetry.get("name") or "")
    except (ValueError, AttributeError, TypeError, RecursionError):
        return None
    names = [own] if own in scripts else sorted(scripts)
    likely = [name for name in names if name in ("serve", "server", "web", "start", "app")]
    names = likely if len(likely) == 1 else names
    if not names:
        return None
    if len(names) > 1 and names[0] != own:
        raise UnclearError(f"pyproject.toml has the scripts {', '.join(names)}")
    module, _, function = scripts[names[0]].partition(":")
    call = f"import sys; from {module} import {function.partition('.')[0]}; sys.exit({function}())"
    top = module.partition(".")[0]
    is_below = (folder / "src" / top).exists() or (folder / "src" / f"{top}.py").exists()
    notes = ("the packages that it depends on must be on the hosts or in the package",)
    source = f"pyproject.toml, script {names[0]}"
    environment = {"PYTHONPATH": "src"} if is_below else {}
    return Start(["python3", "-c", call], source, environment=environment, notes=notes)


def _package_json(folder: Path) -> Start | None:
    try:
        content = json.loads(_text(folder / "package.json"))
        return Start("npm start", "package.json") if content["scripts"]["start"] else None
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def _zipapp(folder: Path) -> Start | None:
    names = sorted(path.name for path in folder.glob("*.pyz") if path.is_file())
    if len(names) > 1:
        raise UnclearError(f"there are {', '.join(names)}")
    return Start(f"python3 {shlex.quote(names[0])}", names[0]) if names else None


def _script(folder: Path) -> Start | None:
    return next((Start(command, name) for name, command in SCRIPTS if (folder / name).is_file()), None)


def _lone_program(folder: Path) -> Start | None:
    try:
        names = sorted(path.name for path in folder.iterdir() if _is_program(path))
    except OSError:
        return None
    if len(names) > 1:
        raise UnclearError(f"{', '.join(names)} are executable")
    return Start([f"./{names[0]}"], names[0]) if names else None


WRITTEN: tuple[Look, ...] = (_own_program, _dockerfile, _procfile, _pyproject, _package_json)
LOOKS: tuple[Look, ...] = (*WRITTEN, _zipapp, _script, _lone_program)
"""In this order: what is written to start it comes before what may."""


def _is_program(path: Path) -> bool:
    """An executable file that is not hidden and begins as programs and scripts do."""
    if path.name.startswith(".") or not path.is_file() or not os.access(path, os.X_OK):
        return False
    return bool(path.stat().st_mode & stat.S_IXUSR) and _bytes(path)[:4].startswith((b"#!", b"\x7fELF"))


# ------------------------------------------------------------------------------------- what follows from it


def _finished(start: Start) -> Start:
    """With $HOST instead of every address, and what a person should know."""
    command, notes = start.command, list(start.notes)
    text = command if isinstance(command, str) else " ".join(command)
    if EVERYWHERE.search(text) or (isinstance(command, str) and EVERYWHERE_SHORT.search(text)):
        command = (
            EVERYWHERE_SHORT.sub(r"\1$HOST", EVERYWHERE.sub("$HOST", command))
            if isinstance(command, str)
            else [EVERYWHERE.sub("$HOST", word) for word in command]
        )
        notes.append("it listened on every address; now on $HOST: each host has an address of its own")
    elif "$HOST" not in text:
        notes.append("it must listen on $HOST and $PORT, which its environment has")
    if isinstance(command, str) and EXEC.match(command) and not NEEDS_SHELL.search(command):
        command = EXEC.sub("", command, count=1)  # there is no shell to leave
    words = [word for word in _words(command) if word != "exec"]
    if words and "/" not in words[0] and shutil.which(words[0], path=SYSTEM_PATH) is None:
        notes.append(f"{words[0]} is not on this machine's PATH as hosts have it ({SYSTEM_PATH})")
    told = PORT_TOLD.search(command if isinstance(command, str) else " ".join(command))
    port = start.port or (int(told[1]) if told and 0 < int(told[1]) < 65_536 else 0)
    return replace(start, command=command, port=port, notes=tuple(notes))


def _health_path(folder: Path) -> str:
    """The first that a program at the top of the folder names."""
    for path in sorted(folder.glob("*.py")) + sorted(folder.glob("*.js")):
        if found := HEALTH_PATHS.search(_text(path)):
            return found[1]
    return ""


def _words(command: str | list[str]) -> list[str]:
    if isinstance(command, list):
        return command
    try:
        return shlex.split(command)
    except ValueError:
        return []


def _text(path: Path) -> str:
    return _bytes(path).decode(errors="replace")


def _bytes(path: Path) -> bytes:
    """Nothing for a file that is not there or can't be read: other files may tell."""
    try:
        with path.open("rb") as file:
            return file.read(FILE_BYTES_MAX)
    except OSError:
        return b""


def _as_yaml(command: str | list[str]) -> str:
    """A line as it is, quoted where YAML needs it; in a shell where it was written for one."""
    if isinstance(command, list):
        return json.dumps([_plain_dollars(word) for word in command])
    if NEEDS_SHELL.search(command) or not _words(command):
        return json.dumps(["sh", "-c", _plain_dollars(command)])
    return command if PLAIN_YAML.fullmatch(command) else json.dumps(command)


def _plain_dollars(word: str) -> str:
    """A dollar that is none of repave's variables stays one: for the shell that the word is for."""
    return re.sub(r"\$(?!(?:HOST|PORT)\b|\{(?:HOST|PORT)\})", "$$", word)
