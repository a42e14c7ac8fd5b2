"""What a host costs an hour: as the spec says, else as the operator's table does; None where neither does.

A table knows sizes as specs write them. A host of several sizes counts as one of the first. Pure.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from repave_protos.protocol.values import HostTemplate, RegionName

EVERYWHERE = "*"
"""For the region of a row: all regions with that provider."""


@dataclass(frozen=True, slots=True)
class Price:
    """Of one host for one hour."""

    hourly: float
    currency: str


@dataclass(frozen=True, slots=True)
class Row:
    """`size`: "" of hosts whose spec names none. `spot`: None where it is not known."""

    usual: float | None
    spot: float | None
    currency: str


@dataclass(frozen=True, slots=True)
class Prices:
    """Of a table from `as_of`, a date. `rows`: by provider, region and size; `providers`: of the regions."""

    as_of: str = ""
    rows: Mapping[tuple[str, str, str], Row] = field(default_factory=dict)
    providers: Mapping[RegionName, str] = field(default_factory=dict)
    fault: str = ""  # why the table can't be used

    def of(self, region: RegionName, template: HostTemplate) -> Price | None:
        provider, size = self.providers.get(region, ""), _size(template)
        row = self.rows.get((provider, region, size)) or self.rows.get((provider, EVERYWHERE, size))
        hourly = None if row is None else row.spot if template.is_spot else row.usual
        return None if row is None or hourly is None else Price(hourly, row.currency)

    def unknown(self, region: RegionName, template: HostTemplate) -> str:
        """Of what there is no price."""
        spot = ", spot" if template.is_spot else ""
        size = _size(template) or "the size of its settings"
        return f"{region}: no price of {self.providers.get(region) or 'a host'}, {size}{spot}"


NO_PRICES = Prices()


def _size(template: HostTemplate) -> str:
    return template.machine_sizes[0] if template.machine_sizes else ""


@dataclass(frozen=True, slots=True)
class Rates:
    """What hosts cost an hour, in one currency: now, at the most, while old groups are kept, and then; and
    what all of the release costs more than going on as now."""

    currency: str
    now: float
    peak: float
    kept: float
    after: float
    extra: float


def summed(rates: Iterable[Rates]) -> tuple[Rates, ...]:
    """One for each currency."""
    found: dict[str, Rates] = {}
    for each in rates:
        so_far = found.get(each.currency, Rates(each.currency, 0.0, 0.0, 0.0, 0.0, 0.0))
        found[each.currency] = Rates(
            each.currency,
            so_far.now + each.now,
            so_far.peak + each.peak,
            so_far.kept + each.kept,
            so_far.after + each.after,
            so_far.extra + each.extra,
        )
    return tuple(found.values())
