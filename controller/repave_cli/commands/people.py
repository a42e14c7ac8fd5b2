"""People who log in with the controller's issuer: list, end."""

from typing import Any

from repave_cli.render.output import Column, ago, column, show, tell
from repave_cli.transport.exit_codes import DONE
from repave_cli.transport.terminal import Terminal
from repave_client.places import quoted

PEOPLE = (
    column("NAME"),
    Column("TEAMS", lambda item: ", ".join(item["teams"]) or "-"),
    Column("ADMIN", lambda item: "yes" if item["admin"] else "-"),
    Column("LOGGED IN", lambda item: ago(item["at"])),
    column("ISSUER", is_wide=True),
    column("SUBJECT", is_wide=True),
)


def register(commands: Any) -> None:
    people = commands.add_parser("people", help="People who log in with the issuer: list, end")
    verbs = people.add_subparsers(dest="verb", metavar="VERB", required=True)
    verbs.add_parser(
        "list", help="Who has logged in, with the teams that the issuer's groups gave"
    ).set_defaults(run=run_list)
    end = verbs.add_parser("end", help="End a person's log-ins at once, and forget whose the name was")
    end.add_argument("name", metavar="NAME", help="as repave people list shows it")
    end.add_argument("--reason", default="", help="kept in the audit log")
    end.set_defaults(run=run_end)


def run_list(terminal: Terminal) -> int:
    show(terminal, terminal.client.get("people"), PEOPLE, "no person has logged in with an issuer")
    return DONE


def run_end(terminal: Terminal) -> int:
    arguments = terminal.arguments
    ended = terminal.client.post(f"people/{quoted(arguments.name)}/end", {"reason": arguments.reason})
    text = f"all log-ins of {ended['name']} have ended; to keep the person out, see to the issuer"
    tell(terminal, ended, text)
    return DONE
