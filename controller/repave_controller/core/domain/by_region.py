"""A sequence of what there is in each region, where the entry of a region is found, and replaced, at once."""

from typing import Any, Protocol, TypeVar

from repave_controller.core.domain.sequences import ByKey
from repave_protos.protocol.values import RegionName


class Regional(Protocol):
    """A value that knows its region."""

    @property
    def region(self) -> RegionName: ...


Entry = TypeVar("Entry", bound=Regional | tuple[RegionName, Any])


class ByRegion(ByKey[RegionName, Entry]):
    """One entry a region at most: a value with its `region`, or a pair of the region and a value."""

    __slots__ = ()

    @staticmethod
    def key_of(entry: Regional | tuple[RegionName, Any]) -> RegionName:
        return entry[0] if isinstance(entry, tuple) else entry.region
