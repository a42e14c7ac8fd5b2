"""What failed hosts said last, beneath the line that says how their release ended: for people."""

from collections.abc import Iterable, Iterator
from typing import Any

from repave_cli.transport.errors import CliError
from repave_cli.transport.terminal import Terminal
from repave_client.places import quoted

HOSTS_SHOWN_MAX = 3
LINES_SHOWN = 10
FAILED = ("failed", "unhealthy", "starting")
"""The phases of hosts that are worth a look, the worst first."""


def tell_failed_hosts(terminal: Terminal, app: str, group: str) -> None:
    """A controller or a region that does not answer now changes nothing of what was told before."""
    try:
        answer = terminal.client.get(
            f"applications/{quoted(app)}/hosts", group=group, gone="1", log_lines=LINES_SHOWN
        )
    except CliError as error:
        terminal.say(f"the logs of {group} can't be had now: {error.text}")
        return
    for line in failed_hosts(answer["items"]):
        terminal.say(line)
    if any(item["phase"] in FAILED for item in answer["items"]):
        terminal.say(f"more: repave logs {app} --group {group} --gone")


def failed_hosts(items: Iterable[dict[str, Any]]) -> Iterator[str]:
    """The worst and newest hosts: why, and the last lines of their logs."""
    found = [item for item in items if item["phase"] in FAILED]
    found.sort(key=lambda item: str(item["gone_at"] or ""), reverse=True)
    found.sort(key=lambda item: FAILED.index(item["phase"]))
    for item in found[:HOSTS_SHOWN_MAX]:
        yield f"{item['region']} {item['name']}: {item['trouble'] or item['phase']}"
        yield from (f"  | {line}" for line in item["log_tail"].splitlines() or ["(its log is empty)"])
    if len(found) > HOSTS_SHOWN_MAX:
        yield f"and {len(found) - HOSTS_SHOWN_MAX} more"
