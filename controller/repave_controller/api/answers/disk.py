"""What `repave doctor` shows of the controller's disk, and what it finds there."""

from collections.abc import Mapping

from repave_controller.api.answers.models import CheckItem, DiskAnswer, FreedItem, PackedItem, TableItem
from repave_controller.operations.disk import Usage

SHOWN_MAX = 3
BIT_BYTES = 1024 * 1024
UNITS = ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"))


def disk_answer(usage: Usage, baked: Mapping[str, int]) -> DiskAnswer:
    return DiskAnswer(
        place=usage.place,
        free_bytes=usage.room.free_bytes,
        total_bytes=usage.room.total_bytes,
        store_bytes=usage.store_bytes,
        packages_bytes=usage.packages_bytes,
        store=[TableItem(name=each.table, rows=each.rows, bytes=each.bytes) for each in usage.tables],
        packages=[
            PackedItem(application=each.application, packages=each.packages, bytes=each.bytes)
            for each in usage.packages
        ],
        baked_images=dict(baked),
        removed_next=[
            FreedItem(kind=each.kind, rows=each.rows, bytes=each.bytes, at_least=not each.is_all)
            for each in usage.freed
            if each.rows
        ],
        held=usage.held,
    )


def disk_checks(usage: Usage, baked: Mapping[str, int]) -> list[CheckItem]:
    """The disk, then what retention does about it."""
    return [_disk(usage, baked), _retention(usage)]


def _disk(usage: Usage, baked: Mapping[str, int]) -> CheckItem:
    room, tables = usage.room, sorted(usage.tables, key=lambda each: -each.bytes)
    store = _named([(each.table, each.bytes) for each in tables if each.bytes >= BIT_BYTES])
    packages = _named([(each.application or "needed by none", each.bytes) for each in usage.packages])
    parts = [
        f"{size_of(room.free_bytes)} of {size_of(room.total_bytes)} free",
        f"store {size_of(usage.store_bytes)}{store}",
        f"packages {size_of(usage.packages_bytes)}{packages}",
        *(f"{count} baked images in {region}" for region, count in sorted(baked.items()) if count),
    ]
    remedy = f"free some space at {usage.place}, or keep less: retention.packages_days and so on"
    text = "; ".join(parts)
    return CheckItem(name="disk", state=room.state, text=text, remedy="" if room.state == "ok" else remedy)


def _retention(usage: Usage) -> CheckItem:
    rows = [
        f"{'at least ' * (not each.is_all)}{each.rows:,} {each.kind}" for each in usage.freed if each.rows
    ]
    freed = f"{', '.join(rows)}: about {size_of(sum(each.bytes for each in usage.freed))}"
    text = f"the next removal takes {freed}" if rows else "nothing is old enough to be removed"
    held = f"history and packages are all kept while {usage.held}" if usage.held else ""
    told = "; ".join(filter(None, (text, held)))
    return CheckItem(name="retention", state="warn" if held else "ok", text=told, remedy="")


def _named(sizes: list[tuple[str, int]]) -> str:
    shown = ", ".join(f"{name} {size_of(size)}" for name, size in sizes[:SHOWN_MAX])
    return f" ({shown})" if shown else ""


def size_of(count: float) -> str:
    """In the units of disks: 1 kB is 1000 bytes."""
    for factor, unit in UNITS:
        if count >= factor:
            return f"{count / factor:.1f} {unit}"
    return f"{count:.0f} B"
