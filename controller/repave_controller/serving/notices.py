"""The outbox of a controller: who is told of what happens, as the settings have it."""

import random
from collections.abc import Sequence

from repave_controller.core.domain.audience import Hearer
from repave_controller.core.ports import Store
from repave_controller.notices.outbox import Outbox
from repave_controller.notices.targets import targets_of
from repave_controller.runtime.scheduler import Scheduler
from repave_controller.serving.hooks import turns
from repave_controller.settings import ControllerSettings
from repave_protos.protocol.values import ApplicationName


def outbox_of(settings: ControllerSettings, store: Store, installation: str, scheduler: Scheduler) -> Outbox:
    """Each target is told by the controller that has its shard. Raises OSError, ValueError."""

    def hearers(application: str) -> Sequence[Hearer]:
        known = scheduler.saved(ApplicationName(application))
        return known.policy.notify if known is not None else ()

    return Outbox(
        store,
        targets_of(settings, hearers=hearers),
        installation,
        scheduler.clock,
        scheduler.event_log.news,
        turns(scheduler, "notices"),
        scheduler.event_log.tell,
        random.Random().random,  # noqa: S311  # spreads tries over time; nothing hangs on it
    )
