"""Which controller the commands talk to: a flag, REPAVE_URL, or a named context of the user's config file."""

import argparse
import os
from pathlib import Path
from typing import Any

from repave_cli.transport.errors import CliError
from repave_cli.transport.exit_codes import USAGE

DEFAULT_URL = "http://127.0.0.1:7400"
BYTES_MAX = 256 * 1024


def url(arguments: argparse.Namespace) -> str:
    """--url, then REPAVE_URL, then --context or REPAVE_CONTEXT or the context in use, then this machine."""
    given = getattr(arguments, "url", None) or os.environ.get("REPAVE_URL")
    if given:
        return str(given)
    name = getattr(arguments, "context", None) or os.environ.get("REPAVE_CONTEXT")
    content = read() if name or _path().exists() else {}
    name = name or content.get("context")
    if not name:
        return DEFAULT_URL
    known = content.get("contexts", {})
    if name not in known:
        raise CliError(f"no context is called {name}; repave context list shows those there are", USAGE)
    return str(known[name]["url"])


def page(arguments: argparse.Namespace, path: str) -> str:
    """Where the dashboard shows it."""
    return url(arguments).split(",")[0].strip().rstrip("/") + path


def _path() -> Path:
    given = os.environ.get("REPAVE_CONFIG")
    home = os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    return Path(given) if given else Path(home) / "repave" / "config.toml"


def read() -> dict[str, Any]:
    import tomllib  # slow to import, and needed only where there is a file

    path = _path()
    try:
        with path.open("rb") as file:
            content = tomllib.loads(file.read(BYTES_MAX).decode())
    except FileNotFoundError:
        return {}
    except (ValueError, RecursionError, OSError) as error:
        raise CliError(f"{path} can't be read: {error}", USAGE) from error
    known = content.get("contexts", {})
    if not isinstance(known, dict) or not all(map(_is_context, known.values())):
        raise CliError(f"{path}: contexts: expected [contexts.NAME], each with url = 'https://...'", USAGE)
    return content


def _is_context(each: object) -> bool:
    return isinstance(each, dict) and isinstance(each.get("url"), str)


def write(content: dict[str, Any]) -> None:
    """The former stays when it fails. Raises CliError."""
    from repave_protos.daemon.files import replace

    path = _path()
    lines = [f'context = "{content["context"]}"']
    for name, each in sorted(content["contexts"].items()):
        lines += ["", f"[contexts.{name}]", f'url = "{each["url"]}"']
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace(path, ("\n".join(lines) + "\n").encode())
    except OSError as error:
        raise CliError(f"{path} can't be written: {error.strerror}") from error
