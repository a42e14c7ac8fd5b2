"""Agents on other machines: agents join, list, revoke, rotate."""

from typing import Any

from repave_cli.render.output import Column, ago, column, show, show_whole, tell
from repave_cli.transport.exit_codes import DONE
from repave_cli.transport.identity import who
from repave_cli.transport.terminal import Terminal
from repave_client.places import quoted

AGENTS = (
    column("AGENT", "name"),
    column("STATE"),
    Column("CONNECTED", lambda item: "yes" if item["connected"] else "-"),
    Column("ROLE", lambda item: item["role"] or "-"),
    Column("JOINED", lambda item: ago(item["joined_at"])),
    Column("FROM", lambda item: item["joined_from"] or "-"),
    Column("EXPIRES", lambda item: item["expires_at"]),
    Column("REVOKED BY", lambda item: item["revoked_by"] or "-"),
    column("SERIAL", is_wide=True),
)


def register(commands: Any) -> None:
    agents = commands.add_parser("agents", help="Agents on other machines: join, list, revoke, rotate")
    verbs = agents.add_subparsers(dest="verb", metavar="VERB", required=True)
    join = verbs.add_parser("join", help="Print the command that makes a machine the agent of a region")
    join.add_argument("region", metavar="REGION")
    join.set_defaults(run=run_join)
    verbs.add_parser("list", help="Agents that joined, and until when their certificates hold").set_defaults(
        run=run_list
    )
    revoke = verbs.add_parser("revoke", help="End an agent's certificates, and its stream")
    revoke.add_argument("agent", metavar="REGION[/AGENT]", help="as repave agents list shows it")
    revoke.add_argument("--reason", default="", help="kept in the log of events")
    revoke.set_defaults(run=run_revoke)
    rotate = verbs.add_parser("rotate", help="Make a new certificate authority")
    rotate.add_argument(
        "--now", action="store_true", help="its key was stolen: every agent has to join again"
    )
    rotate.set_defaults(run=run_rotate)


def run_join(terminal: Terminal) -> int:
    """The command alone on standard output: it may be piped."""
    region = terminal.arguments.region
    answer = terminal.client.post(f"agents/{quoted(region)}/join-token", {"by": who()})
    if not terminal.is_for_people:
        show_whole(terminal, answer)
        return DONE
    terminal.out(answer["command"])
    terminal.say(
        f"paste this on the machine of {region}, within an hour: it is good once; then start repave-agent"
    )
    return DONE


def run_list(terminal: Terminal) -> int:
    show(
        terminal, terminal.client.get("agents"), AGENTS, "no agent has joined; see: repave agents join --help"
    )
    return DONE


def run_revoke(terminal: Terminal) -> int:
    region, _, agent = terminal.arguments.agent.partition("/")
    body = {"by": who(), "reason": terminal.arguments.reason, "agent": agent}
    answer = terminal.client.post(f"agents/{quoted(region)}/revoke", body)
    tell(terminal, answer, answer["text"], name=terminal.arguments.agent)
    return DONE


def run_rotate(terminal: Terminal) -> int:
    body = {"by": who(), "now": terminal.arguments.now}
    answer = terminal.client.post("agents/rotate", body)
    tell(terminal, answer, answer["text"])
    return DONE
