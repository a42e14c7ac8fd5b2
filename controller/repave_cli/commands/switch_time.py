"""How long did the switch of a rollback take? From the accepted command to the moment at which every region's
balancer had confirmed it, by the controller's own clock, as its events tell."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from repave_cli.transport.errors import CliError
from repave_cli.transport.terminal import Terminal
from repave_client.places import quoted

BEGIN, END = "rollback.started", "traffic.moved"
OVER = frozenset({"rollback.succeeded", "rollback.held"})
EVENTS_READ = 500


def tell_switch(terminal: Terminal, app: str, group: str) -> None:
    """Says it after a rollback to `group`; silent where nothing tells, for that is no failure."""
    try:
        path = f"events?application={quoted(app)}&newest=1&limit={EVENTS_READ}"
        events = terminal.client.get(path)["items"]
    except CliError:
        return
    took = switch_seconds(events, group)
    if took is not None:
        terminal.say(f"the switch to {group} took {_length(took)} in all regions")


def switch_seconds(events: Iterable[dict[str, Any]], group: str) -> float | None:
    """Between the newest rollback to `group` and the last switch that it made in any region; None if one of
    them is not there.

    Regions may go back to different groups. Neither is there when a rollback turned a release round that had
    not switched yet.
    """
    began = ended = None
    is_over = False
    for event in sorted(events, key=lambda each: int(each["sequence"])):
        if event["kind"] == BEGIN and event["group"] == group:
            began, ended, is_over = event["at"], None, False
        elif event["kind"] == END and began is not None and not is_over:
            ended = event["at"]
        elif event["kind"] in OVER:
            is_over = True
    return None if began is None or ended is None else _between(began, ended)


def _between(began: str, ended: str) -> float:
    return (datetime.fromisoformat(ended) - datetime.fromisoformat(began)).total_seconds()


def _length(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"
