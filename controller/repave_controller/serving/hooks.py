"""What leads to releases by itself, as the settings have it: hooks, repositories that
are followed, promotions."""

from collections.abc import Callable

from repave_controller.core.ports import Store
from repave_controller.gitops.deciding import Runs
from repave_controller.gitops.watching import GitOps
from repave_controller.hooks.hooks import Hooks, SpecOf
from repave_controller.operations.promotion import Promotions
from repave_controller.peers.ports import NotOwner
from repave_controller.runtime.scheduler import Scheduler
from repave_controller.security.outbound import HttpOutbound, Outbound
from repave_controller.settings import ControllerSettings
from repave_protos.protocol.values import ApplicationName


def hooks_of(
    settings: ControllerSettings, store: Store, scheduler: Scheduler, outbound: Outbound | None = None
) -> Hooks:
    """What comes for a hook is carried out by the controller that has its shard."""
    return Hooks(
        settings.hooks,
        store,
        scheduler.clock,
        turns(scheduler, "hooks"),
        scheduler.event_log.tell,
        specs_of(store, scheduler),
        outbound if outbound is not None else HttpOutbound(),
    )


def gitops_of(settings: ControllerSettings, store: Store, scheduler: Scheduler) -> GitOps:
    """Each repository is followed by the controller that has its shard."""

    def runs_of(name: str) -> Runs | None:
        application = scheduler.saved(ApplicationName(name))
        if application is None:
            return None
        serving = application.group(application.serving)
        is_moving = application.running is not None or bool(application.queue)
        return Runs(serving.version, serving.digest, is_moving) if serving is not None else None

    return GitOps(
        settings.gitops,
        settings.state / "gitops",
        store,
        scheduler.clock,
        turns(scheduler, "gitops"),
        scheduler.event_log.tell,
        runs_of,
    )


def promotions_of(settings: ControllerSettings, store: Store, scheduler: Scheduler) -> Promotions:
    """What is proposed to an application is decided by the controller that decides for it."""

    def is_mine(name: str) -> bool:
        try:
            scheduler.tenure_of(ApplicationName(name))
        except NotOwner:
            return False
        return True

    return Promotions(
        settings.promotions,
        store,
        scheduler.clock,
        scheduler.applications,
        is_mine,
        scheduler.event_log.tell,
    )


def turns(scheduler: Scheduler, what: str) -> Callable[[str], bool]:
    """Whether it is this controller's turn, for each name: several share them as they share applications."""

    def is_mine(name: str) -> bool:
        try:
            scheduler.tenure_of(ApplicationName(f"{what}/{name}"))
        except NotOwner:
            return False
        return True

    return is_mine


def specs_of(store: Store, scheduler: Scheduler) -> SpecOf:
    async def spec_of(name: str) -> str | None:
        application = scheduler.saved(ApplicationName(name))
        serving = application.group(application.serving) if application is not None else None
        if application is None or serving is None:
            return None
        return await store.spec(application.name, serving.name)

    return spec_of
