"""One host: what it is, what its last probes said, what it printed last, what happened to it."""

from collections.abc import Iterator, Sequence
from typing import Any

from repave_cli.commands.read import event_line
from repave_cli.render import output
from repave_cli.render.output import Column, ago, show_whole, table
from repave_cli.transport.errors import CliError
from repave_cli.transport.exit_codes import DONE, ERROR
from repave_cli.transport.terminal import Terminal, whole
from repave_protos.daemon.endpoint import endpoint

PROBES, LINES, EVENTS = 10, 20, 200
PROBE_COLUMNS = (
    Column("ANSWERED", lambda each: output.span(each["ago_seconds"]) + " ago"),
    Column("TOOK", lambda each: output.took(each["took_seconds"])),
    Column("PROBE", lambda each: "passed" if each["passed"] else "FAILED"),
    Column("SAID", lambda each: each["said"]),
)


def register(commands: Any) -> None:
    host = commands.add_parser("host", help="One host: its last probes, its log, what happened to it")
    host.add_argument("host", metavar="HOST")
    host.add_argument("--region", default="", help="where it is, if several regions have a host of its name")
    host.add_argument(
        "--logs", type=whole, default=LINES, metavar="N", help=f"the last N lines of its log ({LINES})"
    )
    host.set_defaults(run=run_host)


def run_host(terminal: Terminal) -> int:
    """1: no region has it, or one could not be asked that may have it."""
    arguments = terminal.arguments
    answer = terminal.client.get(
        "hosts",
        host=arguments.host,
        region=arguments.region or None,
        log_lines=arguments.logs or None,
        probes=PROBES,
        gone="1",
    )
    found, unreachable = answer["items"], answer["unreachable"]
    if not found:
        for region, why in unreachable.items():
            terminal.say(f"{region}: {why}")
        raise CliError(f"no region has a host {arguments.host}; repave hosts lists them", ERROR)
    events = [_events_of(terminal, host) for host in found]
    if not terminal.is_for_people:
        show_whole(terminal, {"items": found, "unreachable": unreachable})
        return DONE
    for host, own in zip(found, events, strict=True):
        for line in host_lines(host, own, is_wide=terminal.format == "wide"):
            terminal.out(line)
    return DONE


def _events_of(terminal: Terminal, host: dict[str, Any]) -> list[dict[str, Any]]:
    if not terminal.is_for_people:
        return []
    answer = terminal.client.get("events", application=host["application"], limit=EVENTS, newest="1")
    return [
        each for each in answer["items"] if each["region"] == host["region"] and each["host"] == host["name"]
    ]


def host_lines(
    host: dict[str, Any], events: Sequence[dict[str, Any]], *, is_wide: bool = False
) -> Iterator[str]:
    """For people: facts, trouble, probes, events, log."""
    gone = f", gone {ago(host['gone_at'])}" if host["gone_at"] else ""
    yield f"{host['name']} in {host['region']}: {host['phase']}{gone}"
    yield f"  {host['application']}, group {host['group']}, {endpoint(host['address'], host['port'])}"
    if host["public_address"]:
        yield f"  from outside at {host['public_address']}"
    healthy = f", healthy for {output.span(host['healthy_seconds'])}" if host["healthy_seconds"] else ""
    yield f"  made {output.span(host['age_seconds'])} ago of {_digest(host, is_wide=is_wide)}{healthy}"
    if host["trouble"]:
        yield f"  {host['trouble']}"
    if host["worn"]:
        yield f"  to be replaced: {host['worn']}"
    yield ""
    if host["probes"]:
        yield table(PROBE_COLUMNS, host["probes"])
    else:
        yield "No probe of it is known: it is gone, or its balancer alone checks it, or its agent is older."
    if events:
        yield ""
        yield from map(event_line, events)
    if host["log_tail"]:
        yield "\nIts log ends:"
        yield host["log_tail"]


def _digest(host: dict[str, Any], *, is_wide: bool) -> str:
    digest = str(host["digest"])
    return digest if is_wide else digest[: output.SHORT_DIGEST_LENGTH]
