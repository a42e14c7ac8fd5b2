"""Draws a judgement as text: a table of its metrics, and of each a small chart of both sides.

Works on the document that `repave analysis judge -o json` prints.
"""

from collections.abc import Sequence
from typing import Any

from repave_cli.render.output import Column, column, table

BARS = "▁▂▃▄▅▆▇█"
WIDTH = 60

COLUMNS = (
    column("METRIC", "name"),
    column("VERDICT"),
    Column("CANARY", lambda item: item["canary"]["text"]),
    Column("BASELINE", lambda item: item["baseline"]["text"]),
    column("CHANGE"),
    Column("P", lambda item: "-" if item["p"] is None else f"{item['p']:.2g}"),
    Column(
        "NEEDED", lambda item: "-" if item["threshold"] is None else f"{item['threshold']:.2g}", is_wide=True
    ),
    column("RULE", is_wide=True),
)


def judgement_lines(document: dict[str, Any], *, is_wide: bool) -> list[str]:
    """For people: what the whole came to, the metrics, then each one's chart and sentence."""
    chosen = [each for each in COLUMNS if is_wide or not each.is_wide]
    lines = [document["text"], ""]
    if document["items"]:
        lines += [table(chosen, document["items"])]
    for item in document["items"]:
        lines += ["", item["text"], *chart(item["canary"]["steps"], item["baseline"]["steps"])]
    return lines


def chart(canary: Sequence[float | None], baseline: Sequence[float | None]) -> list[str]:
    """Both sides under each other, on one scale: from zero, or near the least where all are far from it."""
    known = [value for value in (*canary, *baseline) if value is not None]
    if not known:
        return []
    low, high = min(known), max(known)
    low = low - (high - low) / 4 if low > high / 2 else min(0.0, low)
    return [
        f"  canary    {bars(canary, low, high)}".rstrip(),
        f"  baseline  {bars(baseline, low, high)}".rstrip(),
    ]


def bars(steps: Sequence[float | None], low: float, high: float, width: int = WIDTH) -> str:
    """One character for so many steps after each other, by their mean; a blank where there is no number."""
    each = max(1, -(-len(steps) // width))
    return "".join(_bar(steps[begin : begin + each], low, high) for begin in range(0, len(steps), each))


def _bar(part: Sequence[float | None], low: float, high: float) -> str:
    known = [value for value in part if value is not None]
    if not known:
        return " "
    height = (sum(known) / len(known) - low) / (high - low) if high > low else 0.0
    return BARS[max(0, min(len(BARS) - 1, int(height * len(BARS))))]
