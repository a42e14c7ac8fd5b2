"""Which controllers share the store, and what each decides for: controllers."""

from typing import Any

from repave_cli.render.output import Column, ago, column, show
from repave_cli.transport.exit_codes import DONE
from repave_cli.transport.terminal import Terminal

CONTROLLERS = (
    Column("CONTROLLER", lambda item: item["name"] or "-"),
    Column("STATE", lambda item: f"{item['state']}, answers" if item["asked"] else item["state"]),
    Column("SINCE", lambda item: ago(item["since"])),
    column("VERSION"),
    Column("SHARDS", lambda item: len(item["shards"])),
    Column("APPS", lambda item: item["applications"]),
    Column("REGIONS", lambda item: len(item["regions"])),
    Column("URL", lambda item: item["url"] or "-"),
    Column("AGENTS DIAL", lambda item: item["agents"] or "-", is_wide=True),
    Column(
        "LEASE", lambda item: "-" if item["lease_seconds"] is None else item["lease_seconds"], is_wide=True
    ),
    Column("AGENTS OF", lambda item: ", ".join(item["regions"]) or "-", is_wide=True),
)


def register(commands: Any) -> None:
    commands.add_parser(
        "controllers", help="Controllers that share the store, and what each decides for"
    ).set_defaults(run=run_controllers)


def run_controllers(terminal: Terminal) -> int:
    answer = terminal.client.get("controllers")
    show(terminal, answer, CONTROLLERS)
    if terminal.is_for_people:
        for item in answer["items"]:
            for text in item["problems"]:
                terminal.say(f"{item['name']}: {text}")
        for text in answer["problems"]:
            terminal.say(f"database: {text}")
    return DONE
