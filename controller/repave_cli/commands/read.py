"""Commands that only look: status, why, history, apps, groups, hosts, regions, events."""

import json
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import closing
from itertools import chain
from typing import Any

from repave_cli.commands import lifecycle
from repave_cli.commands.follow import FAILED_PHASES
from repave_cli.commands.freeze import tell_frozen
from repave_cli.render import output
from repave_cli.render.output import Column, ago, column, percent, show, show_line, show_pages, show_whole
from repave_cli.render.progress import (
    NOTE,
    RECOVER,
    awaited,
    job_awaited,
    person_awaited,
    state_of,
    status_lines,
    trouble,
)
from repave_cli.render.remains import tell_failed_hosts
from repave_cli.transport.errors import CliError
from repave_cli.transport.exit_codes import DONE, ENDS, ERROR, HELD, TIMED_OUT, WAITS
from repave_cli.transport.streaming import lasting, summed
from repave_cli.transport.terminal import Terminal, seconds, whole
from repave_client.places import quoted
from repave_protos.daemon.endpoint import endpoint

HISTORY_PAGE, HOSTS_PAGE, EVENTS_PAGE = 100, 1000, 1000
DEFAULT_EVENTS = 50
PROBES = 10
APPS = (
    column("NAME"),
    column("SERVING"),
    column("VERSION"),
    Column("ROLLOUT", lambda item: item["rollout"] or "-"),
    column("PHASE"),
    Column("HOSTS", lambda item: f"{item['verified']}/{item['hosts']}"),
    column("REGIONS"),
    Column("PORT", lambda item: item["port"] or "-"),
    column("QUEUED", is_wide=True),
)
GROUPS = (
    column("NAME"),
    column("VERSION"),
    Column("STATE", lambda item: state_of(item)),
    Column("HEALTHY", lambda item: f"{item['verified']}/{item['size']}"),
    Column("TRAFFIC", lambda item: _traffic(item["weight_bp"])),
    Column("AGE", lambda item: ago(item["created_at"])),
    Column("KEPT UNTIL", lambda item: output.left(item["warm_until"] or item["failed_until"])),
    Column("SIZE", lambda item: _size(item), is_wide=True),
    column("DIGEST", is_wide=True),
)
HOSTS = (
    column("NAME"),
    column("REGION"),
    Column("PHASE", lambda item: _phase(item)),
    Column("ADDRESS", lambda item: endpoint(item["address"], item["port"])),
    Column("AGE", lambda item: output.span(item["age_seconds"])),
    Column("HEALTHY FOR", lambda item: output.span(item["healthy_seconds"])),
    column("TROUBLE"),
    Column("WORN", lambda item: item["worn"] or "-"),
    Column("PROBES", lambda item: _probes(item), is_wide=True),
    Column("PUBLIC ADDRESS", lambda item: item.get("public_address") or "-", is_wide=True),
    column("DIGEST", is_wide=True),
)
REGIONS = (
    column("NAME"),
    Column("AGENT", lambda item: _agent(item)),
    Column("SINCE", lambda item: ago(item["since"])),
    Column("STAND-BY", lambda item: item["stand_by"][:8] or "-"),
    column("PROVIDER"),
    column("BALANCER"),
    column("TRAFFIC", "traffic_address"),
    Column("DNS", lambda item: item.get("dns") or "-", is_wide=True),
    column("APPS", "applications"),
    column("HOSTS"),
    Column("IN HAND", lambda item: _in_hand(item)),
    Column("REPORTED", lambda item: ago(item.get("reported_at")), is_wide=True),
    column("AGENT VERSION", is_wide=True),
)
HISTORY = (
    Column("NO", lambda item: item["number"]),
    column("KIND"),
    column("GROUP"),
    column("VERSION"),
    column("PHASE"),
    Column("STARTED", lambda item: ago(item["started_at"])),
    Column("BY", lambda item: item["started_by"] or "-"),
    Column("WHY", lambda item: item["outcome"] or item["reason"]),
)


def register(commands: Any) -> None:
    status = commands.add_parser("status", help="What runs where; with APP, its rollout by region")
    status.add_argument("app", metavar="APP", nargs="?")
    status.add_argument(
        "--wait", action="store_true", help="until the rollout ends; its end is the exit code"
    )
    status.add_argument("--timeout", type=seconds, help="with --wait: give up after, e.g. 10m")
    status.add_argument(
        "--until-gate",
        action="store_true",
        help="with --wait: exit code 6 once it waits for a person",
    )
    status.add_argument("--gate-ok", action="store_true", help="the same, with exit code 0")
    status.add_argument("--watch", action="store_true", help="print again at every change")
    status.set_defaults(run=run_status)
    for name, run, text in (
        ("why", run_why, "Say what a rollout waits for and what happens next"),
        ("history", run_history, "Past rollouts: who, when, how they ended"),
    ):
        command = commands.add_parser(name, help=text)
        command.add_argument("app", metavar="APP")
        command.set_defaults(run=run)
    commands.add_parser("apps", help="Applications").set_defaults(run=run_apps)
    lifecycle.register_groups(commands, run_groups)
    hosts = commands.add_parser("hosts", help="Hosts, as their regions see them now")
    hosts.add_argument("app", metavar="APP", nargs="?")
    hosts.add_argument("--region", default="", help="only there")
    hosts.add_argument("--group", default="", help="only its hosts")
    hosts.add_argument(
        "--logs",
        type=whole,
        default=0,
        metavar="N",
        help="and the last N lines of their logs; implies --gone",
    )
    hosts.add_argument("--gone", action="store_true", help="also what is kept of failed hosts that are gone")
    hosts.set_defaults(run=run_hosts)
    lifecycle.register_regions(commands, run_regions)
    events = commands.add_parser("events", help="Everything that happened, with who and why")
    events.add_argument("app", metavar="APP", nargs="?", default="")
    events.add_argument("--follow", action="store_true", help="and go on as things happen")
    events.add_argument("--since", type=whole, metavar="SEQUENCE", help="all after this one")
    events.add_argument("--limit", type=whole, help="the last N (default 50; with --since all)")
    events.set_defaults(run=run_events)


# ------------------------------------------------------------------------------------------------- status


def run_status(terminal: Terminal) -> int:
    arguments = terminal.arguments
    if not arguments.app:
        tell_frozen(terminal)
        code = run_apps(terminal)
        _tell_troubles(terminal)
        tell_proposals(terminal)
        return code
    if arguments.wait:
        return _wait(terminal, f"applications/{quoted(arguments.app)}", arguments.timeout)
    if arguments.watch:
        tell_frozen(terminal)
        path = f"applications/{quoted(arguments.app)}/stream"
        for status in lasting(terminal, path, summary=None if _is_of_lines(terminal) else summed(terminal)):
            _show_change(terminal, status)
        return DONE
    status = _status(terminal, f"applications/{quoted(arguments.app)}")
    tell_frozen(terminal)
    _show_status(terminal, status)
    tell_proposals(terminal, arguments.app)
    return DONE


def _status(terminal: Terminal, path: str) -> dict[str, Any]:
    """For people what fits a screen, whatever the fleet; all of it for programs, and with -o wide."""
    if terminal.format == "table":
        try:
            summed: dict[str, Any] = terminal.client.get(f"{path}/summary")
            return summed
        except CliError as error:
            if not error.is_unknown_route:  # of a controller of an older version
                raise
    whole: dict[str, Any] = terminal.client.get(path)
    return whole


def tell_proposals(terminal: Terminal, app: str = "") -> None:
    """Promotions that wait for a person. While they can't be read, as without a store, all else is shown."""
    if not terminal.is_for_people:
        return
    try:
        items = terminal.client.get("promotions")["items"]
    except CliError as error:
        if not error.is_unknown_route:  # of a controller of an older version
            terminal.say(f"promotions that wait are not known: {error.text}")
        return
    for each in items:
        if each["state"] == "proposed" and app in ("", each["application"]):
            terminal.say(
                f"proposed: {each['version']} of {each['source']} for {each['application']}; "
                f"repave promotions approve {each['application']}"
            )


def _tell_troubles(terminal: Terminal) -> None:
    """Of regions as a whole, under what a person looks at. What is only good to know stays with `regions`."""
    if terminal.is_for_people:
        for item in _troubled(terminal):
            for text in item["troubles"]:
                if not text.startswith(NOTE):
                    terminal.say(f"{item['name']}: {text}")


def _troubled(terminal: Terminal) -> list[dict[str, Any]]:
    try:
        items = terminal.client.get("regions", troubled="1")["items"]
    except CliError as error:
        if not error.is_unknown_query("troubled"):  # of a controller of an older version
            raise
        items = terminal.client.get("regions")["items"]
    return list(items)


def _wait(terminal: Terminal, path: str, timeout: float | None) -> int:
    """Asks once, so that a wrong name or address fails; then goes on over restarts of the controller."""
    deadline = None if timeout is None else time.monotonic() + timeout
    phase, first = "", _status(terminal, path)
    stream = lasting(terminal, f"{path}/stream", deadline=deadline, was_there=True, summary=summed(terminal))
    with closing(stream) as later:
        for status in chain([first], later):
            phase = status["phase"]
            code = ENDS.get(phase)
            if code is None and _leaves_at_gate(terminal) and person_awaited(status):
                terminal.say(person_awaited(status))
                code = DONE if terminal.arguments.gate_ok else WAITS
            if code is None and (job := job_awaited(status)):
                terminal.say(job)
                code = HELD
            if code is not None:
                _show_status(terminal, status)
                return code
    raise CliError(f"still {phase} after {timeout:g} s; the rollout goes on", TIMED_OUT)


def _leaves_at_gate(terminal: Terminal) -> bool:
    return bool(terminal.arguments.until_gate or terminal.arguments.gate_ok)


def _is_of_lines(terminal: Terminal) -> bool:
    """No person looks."""
    return terminal.format == "json" or (terminal.format == "table" and not sys.stdout.isatty())


def _show_change(terminal: Terminal, status: dict[str, Any]) -> None:
    """Where no person looks, one line for each snapshot."""
    if _is_of_lines(terminal):
        terminal.out(json.dumps(status))
    else:
        _show_status(terminal, status)


def _show_status(terminal: Terminal, status: dict[str, Any]) -> None:
    if not terminal.is_for_people:
        show_whole(terminal, status)
        return
    for line in status_lines(status, is_wide=terminal.format == "wide"):
        terminal.out(line)


# -------------------------------------------------------------------------------------------------- lists


def run_why(terminal: Terminal) -> int:
    answer = _status(terminal, f"applications/{quoted(terminal.arguments.app)}/why")
    if not terminal.is_for_people:
        show_whole(terminal, answer)
        return DONE
    terminal.out(f"{answer['application']}: {answer['text']}")
    for each in awaited(answer["because"]):
        since = f" (for {ago(each.since)[:-4]})" if each.since else ""
        terminal.out(f"  waits for {each.text}{since}")
        for line in (*each.then, *each.remedies):
            terminal.out(f"    {line}")
    for region, troubles in answer["troubles"].items():
        for text in troubles:
            terminal.out(f"  {region}: {trouble(text)}")
    if answer.get("waits_left"):
        terminal.out(f"  and {answer['waits_left']} other waits; all: -o wide")
    if answer.get("troubles_left"):
        terminal.out(f"  and {answer['troubles_left']} other regions with troubles; all: -o wide")
    return DONE


def run_apps(terminal: Terminal) -> int:
    answer = terminal.client.get("applications")
    show(
        terminal, answer, APPS, "nothing has been released yet; start with: repave init, then repave release"
    )
    return DONE


def run_history(terminal: Terminal) -> int:
    path = f"applications/{quoted(terminal.arguments.app)}/history"
    is_brief = "1" if terminal.is_for_people or terminal.format == "name" else None
    pages = terminal.client.pages_of(path, "before", HISTORY_PAGE, brief=is_brief)
    first = next(pages)
    rest = show_pages(terminal, chain([first], pages), HISTORY)
    last = rest.get("dropped_through", 0)  # a controller of before has none
    if terminal.is_for_people and last:
        terminal.say(f"rollouts 1 to {last} are no longer kept (retention.history_days, history_count)")
    newest = first["items"][0] if first["items"] else None
    if terminal.is_for_people and newest is not None and newest["phase"] in FAILED_PHASES:
        tell_failed_hosts(terminal, terminal.arguments.app, newest["group"])
    return DONE


def _size(group: dict[str, Any]) -> str:
    """Of its machines, where the spec says more than the regions' settings."""
    return " ".join([" or ".join(group["machine_sizes"]), "spot" * group["spot"]]).strip() or "-"


def run_groups(terminal: Terminal) -> int:
    show(terminal, terminal.client.get(_of_application(terminal, "groups")), GROUPS, "no server groups")
    return DONE


def run_hosts(terminal: Terminal) -> int:
    arguments = terminal.arguments
    pages: Iterable[dict[str, Any]] = terminal.client.pages_of(
        _of_application(terminal, "hosts"),
        "after",
        HOSTS_PAGE,
        region=arguments.region,
        group=arguments.group,
        log_lines=arguments.logs or None,
        gone="1" if arguments.gone or arguments.logs else None,
        probes=PROBES if terminal.format == "wide" else None,
    )
    if terminal.is_for_people and arguments.logs:
        pages = list(pages)  # their logs follow the table
    unreachable = show_pages(terminal, pages, HOSTS, "no hosts")["unreachable"]
    if terminal.is_for_people and arguments.logs:
        for host in chain.from_iterable(page["items"] for page in pages):
            terminal.out(f"\n{host['region']} {host['name']}:\n{host['log_tail']}")
    for region, why in unreachable.items():
        terminal.say(f"{region}: {why}")
    return ERROR if unreachable else DONE


def run_regions(terminal: Terminal) -> int:
    answer = terminal.client.get("regions")
    unused = [item for item in answer["items"] if item["unused"]]
    if not terminal.is_for_people or len(unused) == len(answer["items"]):
        show(terminal, answer, REGIONS, "no agent has connected yet")
    else:
        show(terminal, {"items": [item for item in answer["items"] if not item["unused"]]}, REGIONS, "")
        if unused:
            terminal.out("\nNo application is in:")
            show(terminal, {"items": unused}, REGIONS, "")
    for item in answer["items"] if terminal.is_for_people else []:
        for text in item["troubles"]:
            terminal.say(f"{item['name']}: {text}")
        if item["ahead"]:
            terminal.say(f"{item['name']} is ahead of the store: {item['ahead']}; {RECOVER}")
        if item["rival"]:
            terminal.say(f"two agents run for {item['name']}, and one is refused; repave doctor says more")
    return DONE


def _probes(host: dict[str, Any]) -> str:
    """Of how many that are kept passed, and how long the last one took."""
    probes = host.get("probes")
    if not probes:
        return "-"
    return f"{sum(each['passed'] for each in probes)}/{len(probes)} {output.took(probes[0]['took_seconds'])}"


def _in_hand(region: dict[str, Any]) -> str:
    """Hosts that it makes and that it ends now; an older controller does not say."""
    made, ended = region.get("launching", 0), region.get("destroying", 0)
    return " ".join([f"+{made}"] * bool(made) + [f"-{ended}"] * bool(ended)) or "-"


def _phase(host: dict[str, Any]) -> str:
    phase = f"{host['phase']}, gone {ago(host['gone_at'])}" if host["gone_at"] else str(host["phase"])
    return f"{phase}, baseline" if host.get("baseline") else phase


def _agent(region: dict[str, Any]) -> str:
    state = "connected" if region["connected"] else "AWAY"
    return f"{state}, AHEAD" if region["ahead"] else state


def run_events(terminal: Terminal) -> int:
    arguments = terminal.arguments
    pages = _events(terminal)
    if not terminal.is_for_people and terminal.format != "jsonl" and not arguments.follow:
        show_pages(terminal, pages, ())
        return DONE
    after = arguments.since or 0
    for event in chain.from_iterable(page["items"] for page in pages):
        after = event["sequence"]
        _show_event(terminal, event)
    if arguments.follow:
        events = lasting(terminal, "events/stream", after=after, was_there=True, application=arguments.app)
        for event in events:
            _show_event(terminal, event)
    elif terminal.is_for_people and not after:
        terminal.say("nothing has happened yet")
    return DONE


def _events(terminal: Terminal) -> Iterator[dict[str, Any]]:
    """The last ones, or all after one, in pages."""
    arguments, left = terminal.arguments, terminal.arguments.limit
    if arguments.since is None:
        limit = DEFAULT_EVENTS if left is None else left
        yield terminal.client.get("events", application=arguments.app, limit=limit, newest="1")
        return
    after, is_more = arguments.since, True
    while is_more:
        limit = EVENTS_PAGE if left is None else min(left, EVENTS_PAGE)
        page = terminal.client.get("events", application=arguments.app, after=after, limit=limit)
        yield page
        items = page["items"]
        is_more = len(items) >= limit > 0
        after = items[-1]["sequence"] if items else after
        left = None if left is None else left - len(items)
        is_more = is_more and (left is None or left > 0)


def _show_event(terminal: Terminal, event: dict[str, Any]) -> None:
    if terminal.is_for_people:
        terminal.out(event_line(event))
    else:
        show_line(terminal, event)


def event_line(event: dict[str, Any]) -> str:
    """Its time is UTC, as in the audit log and the daemons' logs."""
    where = f"{event['region']}: " if event["region"] else ""
    who = f"  ({event['by']})" if event["by"] else ""
    return f"{event['at'][:19].replace('T', ' ')}  {event['kind']:<20} {where}{event['text']}{who}"


def _of_application(terminal: Terminal, noun: str) -> str:
    app = terminal.arguments.app
    return f"applications/{quoted(app)}/{noun}" if app else noun


def _traffic(weights: dict[str, int]) -> str:
    """One number when it is the same in all regions."""
    shares = {region: percent(weight_bp) for region, weight_bp in weights.items()}
    if len(set(shares.values())) <= 1:
        return next(iter(shares.values()), "0 %")
    return ", ".join(f"{region} {share}" for region, share in shares.items())
