"""Webhooks that come in: hooks list, deliveries, redeliver."""

from typing import Any

from repave_cli.render.output import Column, ago, column, show, show_whole
from repave_cli.transport.exit_codes import DONE
from repave_cli.transport.identity import who
from repave_cli.transport.terminal import Terminal
from repave_client.places import quoted

HOOKS = (
    column("HOOK", "name"),
    column("FROM", "sender"),
    column("APP", "application"),
    column("POLICY"),
    Column("LAST", lambda item: ago(item["last_at"]) if item["last_at"] else "-"),
    column("CAME", "deliveries"),
    column("FAILED"),
    column("PATH"),
)
DELIVERIES = (
    column("HOOK"),
    column("ID"),
    Column("CAME", lambda item: ago(item["received_at"])),
    column("EVENT"),
    Column("BRANCH", lambda item: item["branch"] or "-"),
    Column("VERSION", lambda item: item["version"] or "-"),
    column("STATE"),
    Column("TEXT", lambda item: item["text"] or "-"),
    Column("SENDER'S ID", lambda item: item["sender_id"] or "-", is_wide=True),
    Column("COMMIT", lambda item: item["commit"] or "-", is_wide=True),
)


def register(commands: Any) -> None:
    hooks = commands.add_parser("hooks", help="Webhooks that come in: list, what came, do it anew")
    verbs = hooks.add_subparsers(dest="verb", metavar="VERB", required=True)
    verbs.add_parser("list", help="The hooks of the controller's settings").set_defaults(run=run_list)
    deliveries = verbs.add_parser("deliveries", help="What came, newest first, and what came of it")
    deliveries.add_argument("hook", metavar="HOOK", nargs="?", default="")
    deliveries.add_argument("id", metavar="ID", nargs="?", default="", help="all that is known of one")
    deliveries.set_defaults(run=run_deliveries)
    again = verbs.add_parser("redeliver", help="Do what a delivery led to anew")
    again.add_argument("hook", metavar="HOOK")
    again.add_argument("id", metavar="ID")
    again.set_defaults(run=run_redeliver)


def run_list(terminal: Terminal) -> int:
    show(terminal, terminal.client.get("hooks"), HOOKS, "the controller's settings name no hook")
    return DONE


def run_deliveries(terminal: Terminal) -> int:
    hook, id = terminal.arguments.hook, terminal.arguments.id
    if id:
        item = terminal.client.get(f"hooks/{quoted(hook)}/deliveries/{quoted(id)}")
        if terminal.is_for_people:
            show(terminal, {"items": [item]}, DELIVERIES)
        else:
            show_whole(terminal, item)
        return DONE
    query = {"hook": hook} if hook else {}
    show(terminal, terminal.client.get("deliveries", **query), DELIVERIES, "nothing has come yet")
    return DONE


def run_redeliver(terminal: Terminal) -> int:
    hook, id = terminal.arguments.hook, terminal.arguments.id
    path = f"hooks/{quoted(hook)}/deliveries/{quoted(id)}/redeliver"
    answer = terminal.client.post(path, {"by": who()})
    if terminal.is_for_people:
        terminal.say(f"{id} is done anew; see repave hooks deliveries {hook}")
    else:
        show_whole(terminal, answer)
    return DONE
