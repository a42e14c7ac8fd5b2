"""Prints answers: as tables for people, or as the API's own JSON, YAML or names for programs."""

import io
import json
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from repave_cli.transport.terminal import Terminal
from repave_protos.daemon.printable import printable

SHORT_DIGEST_LENGTH = 12
NAMES = ("sequence", "name", "group", "id", "number", "digest", "to", "host", "application", "region")
"""Fields that hold a name, the best one first; an event has its number alone."""


class Column(NamedTuple):
    """One column of a table; `is_wide` ones are shown with -o wide only."""

    title: str
    value: Callable[[dict[str, Any]], object]
    is_wide: bool = False


def column(title: str, field: str = "", is_wide: bool = False) -> Column:
    """The column of a field that is called like its title, or as given."""
    name = field or title.lower().replace(" ", "_")
    return Column(title, lambda item: item[name], is_wide)


def show(terminal: Terminal, answer: dict[str, Any], columns: Sequence[Column], nothing: str = "") -> None:
    """A list answer in the chosen format; a person who looks is told `nothing` when it is empty."""
    items: list[dict[str, Any]] = answer["items"]
    match terminal.format:
        case "jsonl":
            for item in items:
                terminal.out(json.dumps(item))
        case "name":
            _names_out(terminal, items)
        case "markdown" if items:
            _markdown_out(terminal, columns, items, is_first=True)
        case "table" | "wide" | "markdown":
            chosen = [each for each in columns if terminal.format == "wide" or not each.is_wide]
            if items:
                terminal.out(table(chosen, items))
            elif nothing:
                terminal.say(nothing)
        case _:
            show_whole(terminal, answer)


def _markdown_out(
    terminal: Terminal, columns: Sequence[Column], items: Sequence[dict[str, Any]], *, is_first: bool
) -> None:
    """Only the first page of a table has its titles."""
    from repave_cli.render import markdown  # few ask for it

    chosen = [each for each in columns if not each.is_wide]
    rows = ([markdown.escaped(each.value(item)) for each in chosen] for item in items)
    lines = markdown.table([each.title for each in chosen], rows)
    terminal.out("\n".join(lines if is_first else lines[2:]))


def show_pages(
    terminal: Terminal, pages: Iterable[dict[str, Any]], columns: Sequence[Column], nothing: str = ""
) -> dict[str, Any]:
    """A list answer that comes in pages, each shown as it comes: how long the list is costs no memory.
    Returns what the answers say besides, the first ones where they differ."""
    rest: dict[str, Any] = {}
    listed: list[dict[str, Any]] = []
    widths: list[int] = []
    count = 0
    for page in pages:
        items = page["items"]
        for name, value in page.items():
            if isinstance(value, dict):
                rest.setdefault(name, {}).update(value)
            elif name not in ("items", "next"):
                rest.setdefault(name, value)
        if terminal.format == "json":
            terminal.write("".join(_in_list(item, count + place) for place, item in enumerate(items)))
        elif terminal.format == "yaml":
            listed.extend(items)
        elif terminal.format == "markdown" and items:
            _markdown_out(terminal, columns, items, is_first=not count)
        elif terminal.is_for_people and items:
            widths = _rows_out(terminal, columns, items, widths)
        elif not terminal.is_for_people:
            show(terminal, page, columns)
        count += len(items)
    if terminal.format == "json":
        fields = "".join(f",\n{_indented(each)}" for each in _fields(rest))
        terminal.out(("\n  ]" if count else '{\n  "items": []') + fields + "\n}")
    elif terminal.format == "yaml":
        terminal.out(_yaml({"items": listed, **rest}))
    elif terminal.is_for_people and not count and nothing:
        terminal.say(nothing)
    return rest


def _in_list(item: dict[str, Any], place: int) -> str:
    """One of `items` in the document."""
    before = ",\n" if place else '{\n  "items": [\n'
    return before + _indented(_indented(json.dumps(item, indent=2)))


def _fields(rest: dict[str, Any]) -> list[str]:
    return [f"{json.dumps(name)}: {json.dumps(value, indent=2)}" for name, value in rest.items()]


def _indented(text: str) -> str:
    return "  " + text.replace("\n", "\n  ")


def _rows_out(
    terminal: Terminal, columns: Sequence[Column], items: Sequence[dict[str, Any]], widths: list[int]
) -> list[int]:
    """Rows of one table, page by page: the first page has the titles, and says how wide columns are."""
    chosen = [each for each in columns if terminal.format == "wide" or not each.is_wide]
    rows = [] if widths else [[each.title for each in chosen]]
    rows += [[str(each.value(item)) for each in chosen] for item in items]
    widths = [
        max(width, *(len(row[index]) for row in rows))
        for index, width in enumerate(widths or [0] * len(chosen))
    ]
    terminal.out(_aligned(rows, widths))
    return widths


def tell(terminal: Terminal, answer: dict[str, Any], text: str, *, name: object = "") -> None:
    """What was done: a sentence for people, the answer with that sentence for programs. `name`: what it was
    done to, where the answer does not say."""
    if terminal.is_for_people:
        terminal.say(text)
    elif terminal.format == "name" and name:
        terminal.out(printable(str(name)))
    else:
        show_whole(terminal, {**answer, "text": text})


def show_whole(terminal: Terminal, answer: dict[str, Any]) -> None:
    """One object, for programs."""
    match terminal.format:
        case "yaml":
            terminal.out(_yaml(answer))
        case "jsonl":
            terminal.out(json.dumps(answer))
        case "name":
            _names_out(terminal, [answer])
        case _:
            terminal.out(json.dumps(answer, indent=2))


def show_line(terminal: Terminal, item: dict[str, Any]) -> None:
    """One of a stream that may never end, for programs: a line each, whatever the format but name."""
    if terminal.format == "name":
        _names_out(terminal, [item])
    else:
        terminal.out(json.dumps(item))


def _names_out(terminal: Terminal, items: Iterable[dict[str, Any]]) -> None:
    """A line for each that has a name: what a further command would be given."""
    for item in items:
        name = next((str(item[field]) for field in NAMES if item.get(field)), "")
        if name:
            terminal.out(printable(name))


def table(columns: Sequence[Column], items: Sequence[dict[str, Any]]) -> str:
    """Aligned columns, no borders."""
    rows = [[each.title for each in columns]]
    rows += [[str(each.value(item)) for each in columns] for item in items]
    return _aligned(rows, [max(len(row[index]) for row in rows) for index in range(len(columns))])


def _aligned(rows: Sequence[Sequence[str]], widths: Sequence[int]) -> str:
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def _yaml(answer: dict[str, Any]) -> str:
    from ruamel.yaml import YAML  # slow to import, and only -o yaml needs it

    def dumped(*, is_ascii: bool) -> str:
        text = io.StringIO()
        yaml = YAML(typ="safe", pure=True)
        yaml.default_flow_style = False
        yaml.allow_unicode = not is_ascii
        yaml.dump(answer, text)
        return text.getvalue().rstrip()

    plain = dumped(is_ascii=False)
    return plain if printable(plain, "\n") == plain else dumped(is_ascii=True)


def short(digest: str) -> str:
    """As people read a digest."""
    return digest[:SHORT_DIGEST_LENGTH]


def ago(at: str | None) -> str:
    """ "6 min ago" for an ISO 8601 time."""
    if not at:
        return "-"
    return f"{span(_now() - _parse(at))} ago"


def left(at: str | None) -> str:
    """ "in 6 min" for an ISO 8601 time to come."""
    return f"in {span(_parse(at) - _now())}" if at else "-"


def until(at: str) -> float:
    """Seconds to an ISO 8601 time; below 0 when it is over."""
    return _parse(at) - _now()


def span(seconds: float) -> str:
    """A length of time, in its largest fitting unit."""
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(0.0, seconds):.0f} s"


def took(seconds: float) -> str:
    """How long an answer took."""
    return f"{seconds * 1000:.1f} ms" if seconds < 1 else f"{seconds:.1f} s"


def clock(at: str, zone: str) -> str:
    """`Mon 2026-01-05 09:00 Europe/Berlin` for an ISO 8601 time."""
    from zoneinfo import ZoneInfo  # slow to import, and few commands need it

    return f"{datetime.fromisoformat(at).astimezone(ZoneInfo(zone)):%a %Y-%m-%d %H:%M} {zone}"


def percent(weight_bp: int) -> str:
    return f"{weight_bp / 100:g} %"


def _parse(at: str) -> float:
    return datetime.fromisoformat(at).timestamp()


def _now() -> float:
    return time.time()
