"""The operator's table of prices: a file that is read again when it has changed, and never in doubt.

CSV with a head: provider, region, size, hourly, currency, and perhaps spot_hourly. A table with a fault is
not used at all, and plans say what is wrong with it.
"""

import asyncio
import csv
import io
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from repave_controller.core.planning.prices import NO_PRICES, Prices, Row
from repave_protos.protocol.values import RegionName

BYTES_MAX = 4 * 1024 * 1024
NEEDED = ("provider", "region", "size", "hourly", "currency")
KNOWN = (*NEEDED, "spot_hourly")
PRICE = re.compile(r"[0-9]{1,6}(\.[0-9]{1,8})?")
CURRENCY = re.compile(r"[A-Z]{3}")


class PriceError(ValueError):
    """The table can't be used. The text says where it is wrong."""


class PriceFile:
    """None: there is no table."""

    def __init__(self, path: Path | None) -> None:
        self._path, self._read_at = path, (0, 0)
        self._table = NO_PRICES

    async def now(self, providers: Mapping[RegionName, str]) -> Prices:
        """The table as the file has it now."""
        if self._path is not None:
            self._table = await asyncio.to_thread(self._fresh, self._path)
        return Prices(self._table.as_of, self._table.rows, providers, self._table.fault)

    def _fresh(self, path: Path) -> Prices:
        try:
            known = path.stat()
            stamp = (known.st_mtime_ns, known.st_size)
            if stamp == self._read_at:
                return self._table
            if known.st_size > BYTES_MAX:
                raise PriceError(f"is larger than {BYTES_MAX:,} bytes")
            rows = read_rows(path.read_text(encoding="utf-8"))
            as_of = datetime.fromtimestamp(known.st_mtime, UTC).date().isoformat()
        except (OSError, UnicodeDecodeError, PriceError) as error:
            self._read_at = (0, 0)
            why = error.strerror if isinstance(error, OSError) else error
            return Prices(fault=f"prices: {path}: {why}")
        self._read_at = stamp
        return Prices(as_of, rows)


def read_rows(text: str) -> dict[tuple[str, str, str], Row]:
    """Raises PriceError."""
    try:
        lines = csv.DictReader(io.StringIO(text.removeprefix("\ufeff")), strict=True, skipinitialspace=True)
        names = lines.fieldnames or ()
        if missing := [each for each in NEEDED if each not in names]:
            raise PriceError(f"line 1: has no {', '.join(missing)}: write {','.join(KNOWN)}")
        if other := [each for each in names if each not in KNOWN]:
            raise PriceError(f"line 1: {other[0]} is none of {', '.join(KNOWN)}")
        rows: dict[tuple[str, str, str], Row] = {}
        for line in lines:
            key, row = _row(line, lines.line_num)
            if key in rows:
                raise PriceError(f"line {lines.line_num}: {', '.join(key)} is there twice")
            rows[key] = row
    except csv.Error as error:
        raise PriceError(f"is no CSV: {error}") from None
    return rows


def _row(line: Mapping[str, str | None], number: int) -> tuple[tuple[str, str, str], Row]:
    cells = {name: (value or "").strip() for name, value in line.items() if isinstance(name, str)}
    if None in line or any(line.get(name) is None for name in NEEDED):
        raise PriceError(f"line {number}: has another number of cells than the first line")
    for name in ("provider", "region"):
        if not cells[name]:
            raise PriceError(f"line {number}: {name} is empty; a region may be *, for all")
    if CURRENCY.fullmatch(cells["currency"]) is None:
        raise PriceError(f"line {number}: currency {cells['currency']!r} is not three letters such as EUR")
    usual, spot = (_price(cells.get(name, ""), name, number) for name in ("hourly", "spot_hourly"))
    return (cells["provider"], cells["region"], cells["size"]), Row(usual, spot, cells["currency"])


def _price(text: str, name: str, number: int) -> float | None:
    """An empty one is not known."""
    if not text:
        return None
    if PRICE.fullmatch(text) is None:
        raise PriceError(f"line {number}: {name} {text!r} is no price such as 0.12")
    return float(text)
