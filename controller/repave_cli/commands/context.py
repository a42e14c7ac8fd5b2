"""Which controller the CLI talks to: context list, use, set."""

from typing import Any

from repave_cli.render.output import show, tell
from repave_cli.transport.context import read, write
from repave_cli.transport.errors import CliError
from repave_cli.transport.exit_codes import DONE, USAGE
from repave_cli.transport.terminal import Terminal

ADD = "repave context set NAME URL adds one"


def register(commands: Any) -> None:
    context = commands.add_parser("context", help="Which controller the CLI talks to")
    verbs = context.add_subparsers(dest="verb", metavar="VERB", required=True)
    verbs.add_parser("list", help="Contexts, the one in use marked").set_defaults(run=run_list)
    use = verbs.add_parser("use", help="Talk to this one from now on")
    use.add_argument("name", metavar="NAME")
    use.set_defaults(run=run_use)
    put = verbs.add_parser("set", help="Add or change a context")
    put.add_argument("name", metavar="NAME")
    put.add_argument("url_of_context", metavar="URL")
    put.set_defaults(run=run_set)


def run_list(terminal: Terminal) -> int:
    content = read()
    items = [
        {"name": name, "url": each["url"], "is_used": name == content.get("context")}
        for name, each in sorted(content.get("contexts", {}).items())
    ]
    if terminal.is_for_people and items:
        width = max(len(item["name"]) for item in items)
        for item in items:
            terminal.out(f"{'*' if item['is_used'] else ' '} {item['name']:<{width}}  {item['url']}")
    else:
        show(terminal, {"items": items}, (), f"no contexts; {ADD}")
    return DONE


def run_use(terminal: Terminal) -> int:
    content, name = read(), terminal.arguments.name
    if name not in content.get("contexts", {}):
        known = ", ".join(sorted(content.get("contexts", {}))) or "none"
        raise CliError(f"no context is called {name}; there are: {known}; {ADD}", USAGE)
    write({**content, "context": name})
    _tell_used(terminal, name)
    return DONE


def run_set(terminal: Terminal) -> int:
    content, name = read(), terminal.arguments.name
    if not name.replace("-", "").isalnum() or '"' in terminal.arguments.url_of_context:
        raise CliError("a context's name holds letters, digits and -, its URL no quotes", USAGE)
    contexts = {**content.get("contexts", {}), name: {"url": terminal.arguments.url_of_context}}
    used = content.get("context", name)
    write({"context": used, "contexts": contexts})
    answer = {"name": name, "url": contexts[name]["url"], "is_used": used == name}
    way = "" if used == name else f"; talk to it with: repave context use {name}"
    tell(terminal, answer, f"{name} is {answer['url']}{way}")
    return DONE


def _tell_used(terminal: Terminal, name: str) -> None:
    url = read()["contexts"][name]["url"]
    tell(terminal, {"name": name, "url": url, "is_used": True}, f"repave talks to {name} ({url})")
