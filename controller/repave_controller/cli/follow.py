"""Follows a rollout: a live tree where a person looks on, one line for each change everywhere else."""

import time
from collections.abc import Iterator
from typing import Any

from repave_controller.cli.client import UnreachableError, quoted
from repave_controller.cli.output import percent
from repave_controller.cli.reading import ENDS, because_line, group_line, rollout_line
from repave_controller.cli.terminal import DETACHED, DONE, HELD, ROLLED_BACK, TIMED_OUT, CliError, Terminal

RECONNECTS_MAX = 60
RECONNECT_SECONDS = 1.0
BAR_WIDTH = 20


def follow(terminal: Terminal, app: str, number: int, timeout: float | None) -> int:
    """Until rollout `number` (0: the present one) ends; the exit code tells how. Ctrl-C only leaves."""
    deadline = None if timeout is None else time.monotonic() + timeout
    try:
        for status in _watched(terminal, app, deadline):
            rollout = status["current_rollout"]
            if rollout is not None and rollout["number"] >= number and rollout["phase"] in ENDS:
                return _finish(terminal, status)
    except KeyboardInterrupt:
        terminal.say(f"\nleft; the rollout goes on. Come back with: repave watch {app}")
        return DETACHED
    raise CliError(f"not done after {timeout:g} s; the rollout goes on: repave watch {app}", TIMED_OUT)


def _watched(terminal: Terminal, app: str, deadline: float | None) -> Iterator[dict[str, Any]]:
    """Every snapshot, shown as it comes; ends at the deadline."""
    show = _Tree() if terminal.is_interactive and terminal.is_for_people else _Lines(terminal)
    with show:
        for status in _snapshots(terminal, app):
            show.show(status)
            yield status
            if deadline is not None and time.monotonic() > deadline:
                return


def _snapshots(terminal: Terminal, app: str) -> Iterator[dict[str, Any]]:
    """The stream of snapshots, opened again when it breaks: a restarted controller is no end."""
    failures = 0
    while True:
        try:
            for _, status in terminal.client.stream(f"applications/{quoted(app)}/stream"):
                failures = 0
                yield status
        except UnreachableError as error:
            failures += 1
            if failures == 1:
                terminal.say(f"{error.text}; trying again")
            if failures > RECONNECTS_MAX:
                raise
        time.sleep(RECONNECT_SECONDS)


def _finish(terminal: Terminal, status: dict[str, Any]) -> int:
    """One clear line on how it ended."""
    rollout = status["current_rollout"]
    code = ENDS[rollout["phase"]]
    where = ", ".join(region["name"] for region in status["region_items"])
    if code == DONE:
        terminal.say(f"done: {status['serving']} serves {status['name']} in {where}")
    elif code == ROLLED_BACK:
        now = f"{status['serving']} serves" if status["serving"] else "nobody serves"
        terminal.say(f"NOT RELEASED: {rollout['group']} {rollout['phase']}: {rollout['outcome']}. {now}.")
    elif code == HELD:
        terminal.say(f"HELD: {rollout['outcome']}; a person must act: repave why {status['name']}")
    return code


class _Lines:
    """One plain line for each thing that changed, or a whole snapshot a line with -o json and jsonl."""

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal
        self._shown: dict[str, str] = {}
        self._began = time.monotonic()

    def __enter__(self) -> "_Lines":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def show(self, status: dict[str, Any]) -> None:
        if not self._terminal.is_for_people:
            if self._terminal.format == "jsonl":
                import json

                self._terminal.out(json.dumps(status))
            return
        rollout = status["current_rollout"]
        if rollout:
            self._line("rollout", rollout_line(rollout))
        for region in status["region_items"]:
            if not region["connected"]:
                self._line(region["name"], f"{region['name']}  its agent is away")
            for group in region["groups"]:
                key = f"{region['name']}/{group['name']}"
                self._line(key, f"{region['name']}  {group_line(group)}")
        self._line("because", "; ".join(because_line(each) for each in status["because"][:3]))

    def _line(self, key: str, text: str) -> None:
        if text and self._shown.get(key) != text:
            self._shown[key] = text
            self._terminal.say(f"{time.monotonic() - self._began:6.1f} s  {text}")


class _Tree:
    """The live tree: steps, regions, groups, a bar of verified hosts, weights, what is waited for."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.live import Live

        self._live = Live(console=Console(stderr=True), auto_refresh=False)
        self._began = time.monotonic()

    def __enter__(self) -> "_Tree":
        self._live.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.__exit__(None, None, None)

    def show(self, status: dict[str, Any]) -> None:
        from rich.markup import escape
        from rich.tree import Tree

        rollout = status["current_rollout"]
        title = rollout_line(rollout) if rollout else status["name"]
        tree = Tree(f"[bold]{escape(title)}[/]  {time.monotonic() - self._began:.0f} s")
        for region in status["region_items"]:
            away = "" if region["connected"] else "  [red]agent away[/]"
            branch = tree.add(f"{region['name']}  [dim]{region['traffic_address']}[/]{away}")
            for group in region["groups"]:
                branch.add(_group_text(group))
        for because in status["because"]:
            tree.add(f"[yellow]waits[/] {escape(because_line(because))}")
        self._live.update(tree, refresh=True)


def _group_text(group: dict[str, Any]) -> str:
    from rich.markup import escape

    full = BAR_WIDTH * group["verified"] // max(1, group["size"])
    started = BAR_WIDTH * (group["starting"] + group["healthy"]) // max(1, group["size"])
    bar = f"[green]{'#' * full}[/][yellow]{'+' * started}[/]{'.' * max(0, BAR_WIDTH - full - started)}"
    hosts = f"{group['verified']}/{group['size']}"
    trouble = f"  [red]{escape(group['trouble'][:100])}[/]" if group["trouble"] else ""
    return (
        f"{group['name']:<18} {group['state']:<9} {bar} {hosts:>7}  {percent(group['weight_bp']):>6}{trouble}"
    )
