"""Which controller the commands talk to: a flag, REPAVE_URL, or a named context of the user's config file."""

import argparse
import os
from pathlib import Path
from typing import Any

from repave_cli.transport.terminal import DEFAULT_URL, DONE, USAGE, CliError, Terminal


def register(commands: Any) -> None:
    context = commands.add_parser("context", help="Which controller the CLI talks to")
    verbs = context.add_subparsers(dest="verb", metavar="VERB", required=True)
    verbs.add_parser("list", help="Contexts, the one in use marked").set_defaults(run=run_list)
    use = verbs.add_parser("use", help="Talk to this one from now on")
    use.add_argument("name")
    use.set_defaults(run=run_use)
    put = verbs.add_parser("set", help="Add or change a context")
    put.add_argument("name")
    put.add_argument("url_of_context", metavar="URL")
    put.set_defaults(run=run_set)


def url(arguments: argparse.Namespace) -> str:
    """--url, then REPAVE_URL, then --context or REPAVE_CONTEXT or the context in use, then this machine."""
    given = getattr(arguments, "url", None) or os.environ.get("REPAVE_URL")
    if given:
        return str(given)
    name = getattr(arguments, "context", None) or os.environ.get("REPAVE_CONTEXT")
    content = _read() if name or _path().exists() else {}
    name = name or content.get("context")
    if not name:
        return DEFAULT_URL
    known = content.get("contexts", {})
    if name not in known:
        raise CliError(f"no context is called {name}; repave context list shows those there are", USAGE)
    return str(known[name]["url"])


def run_list(terminal: Terminal) -> int:
    content = _read()
    for name, each in sorted(content.get("contexts", {}).items()):
        mark = "*" if name == content.get("context") else " "
        terminal.out(f"{mark} {name}  {each['url']}")
    return DONE


def run_use(terminal: Terminal) -> int:
    content, name = _read(), terminal.arguments.name
    if name not in content.get("contexts", {}):
        raise CliError(f"no context is called {name}; repave context set {name} URL adds it", USAGE)
    _write({**content, "context": name})
    return DONE


def run_set(terminal: Terminal) -> int:
    content, name = _read(), terminal.arguments.name
    if not name.replace("-", "").isalnum() or '"' in terminal.arguments.url_of_context:
        raise CliError("a context's name holds letters, digits and -, its URL no quotes", USAGE)
    contexts = {**content.get("contexts", {}), name: {"url": terminal.arguments.url_of_context}}
    _write({"context": content.get("context", name), "contexts": contexts})
    return DONE


def _path() -> Path:
    given = os.environ.get("REPAVE_CONFIG")
    home = os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    return Path(given) if given else Path(home) / "repave" / "config.toml"


def _read() -> dict[str, Any]:
    import tomllib

    path = _path()
    try:
        return tomllib.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except (tomllib.TOMLDecodeError, OSError) as error:
        raise CliError(f"{path} can't be read: {error}", USAGE) from error


def _write(content: dict[str, Any]) -> None:
    path = _path()
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [f'context = "{content["context"]}"']
    for name, each in sorted(content["contexts"].items()):
        lines += ["", f"[contexts.{name}]", f'url = "{each["url"]}"']
    path.write_text("\n".join(lines) + "\n")
