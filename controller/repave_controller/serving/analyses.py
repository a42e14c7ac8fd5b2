"""What a controller reads metrics for: analyses, and the numbers of hosts. Which sources it has, the settings
say."""

from collections.abc import Mapping

from repave_controller.fleet.sessions import Sessions
from repave_controller.operations.analysis.reading import Reader
from repave_controller.operations.analysis.runner import Analyses, Tell
from repave_controller.operations.analysis.sources.balancer import Balancer
from repave_controller.operations.analysis.sources.of_settings import sources_of
from repave_controller.operations.analysis.sources.ports import Source
from repave_controller.operations.scaling.reading import LoadReader
from repave_controller.operations.scaling.runner import ScalingRunner
from repave_controller.operations.traffic import TrafficReader
from repave_controller.runtime.scheduler import Scheduler
from repave_controller.settings import ControllerSettings


def sources_for(
    settings: ControllerSettings, scheduler: Scheduler, sessions: Sessions
) -> Mapping[str, Source]:
    """Raises OSError, ValueError."""
    balancer = Balancer(TrafficReader(sessions, scheduler.clock))
    return sources_of(settings.analysis, balancer, scheduler.clock)


def analyses_of(
    settings: ControllerSettings,
    scheduler: Scheduler,
    sources: Mapping[str, Source],
    tell: Tell = lambda *_: None,
) -> Analyses:
    """Each application is judged by the controller that decides for it."""
    return Analyses(scheduler, Reader(sources, settings.analysis.at_once), tell)


def scaling_of(scheduler: Scheduler, sources: Mapping[str, Source]) -> ScalingRunner:
    """Each application is scaled by the controller that decides for it."""
    return ScalingRunner(scheduler, LoadReader(sources))
