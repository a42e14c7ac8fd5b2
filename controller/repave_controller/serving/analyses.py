"""The analyses of a controller: which sources they read, as the settings have it."""

from repave_controller.fleet.sessions import Sessions
from repave_controller.operations.analysis.reading import Reader
from repave_controller.operations.analysis.runner import Analyses, Tell
from repave_controller.operations.analysis.sources.balancer import Balancer
from repave_controller.operations.analysis.sources.of_settings import sources_of
from repave_controller.operations.traffic import TrafficReader
from repave_controller.runtime.scheduler import Scheduler
from repave_controller.settings import ControllerSettings


def analyses_of(
    settings: ControllerSettings, scheduler: Scheduler, sessions: Sessions, tell: Tell = lambda *_: None
) -> Analyses:
    """Each application is judged by the controller that decides for it. Raises OSError, ValueError."""
    balancer = Balancer(TrafficReader(sessions, scheduler.clock))
    sources = sources_of(settings.analysis, balancer, scheduler.clock)
    return Analyses(scheduler, Reader(sources, settings.analysis.at_once), tell)
