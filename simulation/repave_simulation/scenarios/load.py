"""The load of a region as a function of a seed and of time, and the rule by which regions follow it."""

from functools import lru_cache

from repave_controller.core.domain.application import ReleaseOrder
from repave_controller.core.domain.by_region import ByRegion
from repave_controller.core.domain.scaling import Scaling
from repave_protos.protocol.values import ApplicationName, RegionName
from repave_simulation.kernel.chance import Chance

TARGET = 10.0
LEAST, MOST = 1, 5
BLOCK_SECONDS = 30.0
"""So long a load stays as it is."""
HOSTS = (0.0, 0.5, 1.5, 2.5, 3.5, 4.5, 9.0)
"""That a load may ask for."""


def rule_of(region: RegionName, least: int = LEAST, most: int = MOST) -> Scaling:
    return Scaling(
        region,
        least,
        most,
        "requests",
        TARGET,
        interval_seconds=4.0,
        window_seconds=4.0,
        steady_seconds=20.0,
    )


def scaling_of(order: ReleaseOrder) -> ByRegion[Scaling]:
    """For each of its regions."""
    return ByRegion(rule_of(region) for region, _ in order.sizes)


def load_at(
    seed: int, until: float, application: ApplicationName, region: RegionName, instant: float
) -> float:
    """From `until` on it stays as it is, so that a run comes to rest."""
    return _load_of(seed, application, region, int(max(0.0, min(instant, until)) // BLOCK_SECONDS))


@lru_cache(maxsize=10_000)
def _load_of(seed: int, application: ApplicationName, region: RegionName, block: int) -> float:
    return TARGET * Chance(f"{seed}/load").one_of(HOSTS, application, region, block)
