"""The audit log: list, verify, export. It is verified here, by its rows: the controller is not believed."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from repave_cli.render.output import Column, show, show_pages, show_whole
from repave_cli.transport.errors import CliError
from repave_cli.transport.exit_codes import DONE, ERROR, USAGE
from repave_cli.transport.terminal import Terminal
from repave_protos.daemon.chain import Link, Verdict, verify

PAGE = 1000
TRIMMED = "trim audit"
"""What the controller writes into the log before it takes rows away (retention.audit_days)."""
ROWS = (
    Column("ROW", lambda item: str(item["number"])),
    Column("AT", lambda item: str(item["at"])),
    Column("WHO", lambda item: item["who"] or item["kind"]),
    Column("FROM", lambda item: item["address"]),
    Column("WHAT", lambda item: item["action"]),
    Column("OUTCOME", lambda item: item["outcome"]),
    Column("REASON", lambda item: item["reason"]),
    Column("FACTS", lambda item: "; ".join(f"{k}: {v}" for k, v in item["facts"].items()), is_wide=True),
)


def register(commands: Any) -> None:
    audit = commands.add_parser("audit", help="Who did what, from where, why: list, verify, export")
    verbs = audit.add_subparsers(dest="verb", metavar="VERB", required=True)
    listing = verbs.add_parser("list", help="The last commands and what came of them")
    listing.add_argument("--limit", type=int, default=50, help="how many rows are looked at (50)")
    listing.add_argument("--app", default="", help="only of this application")
    listing.add_argument("--who", default="", help="only of this person or machine")
    listing.set_defaults(run=run_list)
    check = verbs.add_parser("verify", help="Whether no row was changed, left out or moved")
    check.add_argument("--file", type=Path, help="rows that repave audit export has written")
    check.add_argument("--head", default="", metavar="ROW:HASH", help="a row that was seen before")
    check.set_defaults(run=run_verify)
    export = verbs.add_parser("export", help="All rows as JSON lines, on standard output")
    export.add_argument("--after", type=int, default=0, metavar="ROW", help="only rows after this one")
    export.set_defaults(run=run_export)


def run_list(terminal: Terminal) -> int:
    """Ends of commands; of one that has no end yet, its beginning."""
    arguments = terminal.arguments
    limit = max(1, min(arguments.limit, PAGE))
    answer = terminal.client.get("audit", limit=limit, newest=1)
    rows = [{"number": each["number"], **_entry(each)} for each in answer["items"]]
    ended = {each["of"] for each in rows}
    items = [
        {**each, "at": _time(each["at"])}
        for each in rows
        if each["number"] not in ended
        and arguments.app in ("", each["application"])
        and arguments.who in ("", each["who"])
    ]
    show(terminal, {"items": items}, ROWS, "nothing is written down yet")
    return DONE


def run_export(terminal: Terminal) -> int:
    rows = _rows(terminal, terminal.arguments.after)
    items = ({"installation": installation, **each} for installation, each in rows)
    if terminal.is_for_people:
        for item in items:
            terminal.out(json.dumps(item))
    else:
        show_pages(terminal, ({"items": [item]} for item in items), ())
    return DONE


def run_verify(terminal: Terminal) -> int:
    known = _head(terminal.arguments.head)
    file = terminal.arguments.file
    rows = list(_rows_of(file) if file is not None else _rows(terminal, 0))
    names = {installation for installation, _ in rows}
    if len(names) > 1:
        raise CliError("the rows are of more than one installation", ERROR)
    links = [Link(each["number"], each["text"], each["hash"]) for _, each in rows]
    verdict = verify(links, next(iter(names), ""), known, _trimmed)
    if verdict.fault:
        raise CliError(f"the audit log does not hold: {verdict.fault}", ERROR)
    end = f"{verdict.end.number}:{verdict.end.hash}" if verdict.end is not None else ""
    if terminal.is_for_people:
        for text in _verdict_lines(verdict):
            terminal.say(text)
        if end:
            terminal.out(end)
    else:
        found = {"rows": verdict.count, "trimmed_through": verdict.trimmed_through}
        show_whole(terminal, {"name": end, **found, "is_compared": verdict.is_compared})
    return DONE


def _verdict_lines(verdict: Verdict) -> Iterator[str]:
    if verdict.end is None:
        yield "the audit log is empty"
        return
    if verdict.trimmed_through:
        yield f"rows 1 to {verdict.trimmed_through} are no longer kept, as a later row tells"
    if not verdict.is_compared:
        yield "the row of --head is one of them: it could not be compared"
    yield f"{verdict.count} rows hold; keep its end elsewhere, for --head next time:"


def _trimmed(row: Link) -> tuple[int, str] | None:
    """Which rows the controller took away, as this one tells."""
    entry = json.loads(row.text)
    if entry.get("action") != TRIMMED or entry.get("kind") != "local":
        return None
    return int(entry["facts"]["through"]), str(entry["facts"]["hash"])


def _head(text: str) -> Link | None:
    if not text:
        return None
    number, _, hash_ = text.partition(":")
    if not number.isdigit() or len(hash_) != 64:
        raise CliError("--head: write ROW:HASH, as repave audit verify prints it", USAGE)
    return Link(int(number), "", hash_)


def _rows(terminal: Terminal, after: int) -> Iterator[tuple[str, dict[str, Any]]]:
    while True:
        answer = terminal.client.get("audit", after=after, limit=PAGE)
        for each in answer["items"]:
            yield answer["installation"], each
            after = each["number"]
        if len(answer["items"]) < PAGE:
            return


def _rows_of(file: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    try:
        with sys.stdin if str(file) == "-" else file.open() as lines:
            for line in lines:
                each = json.loads(line)
                yield each["installation"], each
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise CliError(f"{file} holds no rows of an audit log: {error}", USAGE) from error


def _entry(row: dict[str, Any]) -> dict[str, Any]:
    entry: dict[str, Any] = json.loads(row["text"])
    return entry


def _time(at: float) -> str:
    from datetime import UTC, datetime

    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S}"
