"""Reads samples of metrics from a file of CSV or JSON: what `repave analysis judge` compares.

CSV has a column for each metric, and a row for each step. A rate has two columns, `NAME.events` and
`NAME.trials`; events without trials are a count. An empty cell is a step without a number. Columns called
time or timestamp are left out. JSON has an object of the same names: `{"latency": [212, null], "errors":
{"events": [0, 3], "trials": [50, 51]}}`.
"""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from repave_cli.transport.errors import CliError
from repave_cli.transport.exit_codes import USAGE

BYTES_MAX = 64 * 2**20
TIMES = frozenset({"time", "timestamp", "at"})
NOTHING = frozenset({"", "nan", "null", "none", "n/a", "-"})
PARTS = ("events", "trials")


@dataclass(frozen=True, slots=True)
class Column:
    """One metric of a file; NaN is a step without a number."""

    values: tuple[float, ...] = ()
    events: tuple[float, ...] = ()
    trials: tuple[float, ...] = ()

    @property
    def kind(self) -> str:
        return "value" if not self.events else "rate" if self.trials else "count"


def read_samples(path: Path) -> dict[str, Column]:
    """By name of the metric. Raises CliError, naming file, line and column."""
    try:
        size = path.stat().st_size
        if size > BYTES_MAX:
            raise CliError(f"{path}: {size:,} bytes are too many; at most {BYTES_MAX:,}", USAGE)
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise CliError(f"{path}: {error.strerror or error}", USAGE) from error
    except UnicodeDecodeError as error:
        raise CliError(f"{path}: not UTF-8 at byte {error.start}", USAGE) from error
    series = _of_json(path, text) if text.lstrip()[:1] in ("{", "[") else _of_csv(path, text)
    columns = {name: _column(path, name, parts) for name, parts in series.items()}
    if not columns:
        raise CliError(f"{path}: no metric; give a column a name in the first line, such as latency", USAGE)
    return columns


_Parts = dict[str, tuple[float, ...]]
"""By `values`, `events`, `trials`."""


def _column(path: Path, name: str, parts: _Parts) -> Column:
    if "trials" in parts and "events" not in parts:
        raise CliError(f"{path}: {name}.trials without {name}.events", USAGE)
    if "events" in parts and "values" in parts:
        raise CliError(f"{path}: {name} and {name}.events: a metric has values, or events", USAGE)
    if "trials" in parts and len(parts["trials"]) != len(parts["events"]):
        lengths = f"{len(parts['events'])} events and {len(parts['trials'])} trials"
        raise CliError(f"{path}: {name}: {lengths}; give one of each for every step", USAGE)
    return Column(**parts)


def _of_csv(path: Path, text: str) -> dict[str, _Parts]:
    rows = list(csv.reader(io.StringIO(text)))
    if not rows:
        raise CliError(f"{path}: empty", USAGE)
    titles = [title.strip() for title in rows[0]]
    twice = next((title for index, title in enumerate(titles) if title in titles[:index]), None)
    if twice is not None:
        raise CliError(f"{path}:1: the column {twice or '(without a name)'} is there twice", USAGE)
    found: dict[str, list[float]] = {title: [] for title in titles}
    for line, row in enumerate(rows[1:], 2):
        if not any(cell.strip() for cell in row) and len(titles) > 1:
            continue
        if len(row) > len(titles):
            raise CliError(f"{path}:{line}: {len(row)} cells, but {len(titles)} columns have a name", USAGE)
        for title, cell in zip(titles, [*row, *[""] * (len(titles) - len(row))], strict=True):
            if title.lower() not in TIMES:
                found[title].append(_number(cell, f"{path}:{line}: {title}"))
    return _split({title: tuple(v) for title, v in found.items() if title.lower() not in TIMES})


def _split(columns: Mapping[str, tuple[float, ...]]) -> dict[str, _Parts]:
    """`errors.events` is the events of `errors`."""
    found: dict[str, _Parts] = {}
    for title, values in columns.items():
        name, _, part = title.rpartition(".")
        if name and part in PARTS:
            found.setdefault(name, {})[part] = values
        else:
            found.setdefault(title, {})["values"] = values
    return found


def _of_json(path: Path, text: str) -> dict[str, _Parts]:
    try:
        document = json.loads(text)
    except ValueError as error:
        raise CliError(f"{path}: no JSON: {error}", USAGE) from error
    if not isinstance(document, dict):
        raise CliError(f'{path}: an object of metrics is expected, such as {{"latency": [212, 215]}}', USAGE)
    found: dict[str, _Parts] = {}
    for name, written in document.items():
        if isinstance(written, dict):
            unknown = sorted(set(written) - {*PARTS, "values"})
            if unknown:
                raise CliError(f"{path}: {name}.{unknown[0]}: values, or events and trials, are known", USAGE)
            found[name] = {part: _numbers(path, f"{name}.{part}", each) for part, each in written.items()}
        else:
            found[name] = {"values": _numbers(path, name, written)}
    return found


def _numbers(path: Path, name: str, written: Any) -> tuple[float, ...]:
    if not isinstance(written, Sequence) or isinstance(written, str):
        raise CliError(f"{path}: {name}: a list of numbers is expected, such as [212, null, 215]", USAGE)
    return tuple(_number(each, f"{path}: {name}[{place}]") for place, each in enumerate(written))


def _number(written: Any, place: str) -> float:
    if written is None or (isinstance(written, str) and written.strip().lower() in NOTHING):
        return float("nan")
    try:
        if isinstance(written, bool):
            raise TypeError
        return float(written)
    except (TypeError, ValueError):
        shown = json.dumps(written)[:40]
        raise CliError(f"{place}: {shown} is no number; leave it empty where there is none", USAGE) from None
