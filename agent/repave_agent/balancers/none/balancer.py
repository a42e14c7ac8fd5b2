"""The balancer of a region that has none: it takes nothing, and is well."""

from collections.abc import Callable

from repave_agent.core.ports import BalancerError, BalancerView, Frontend, Route, Structure, UnfitError, WayIn

LACK = "this region's agent has no balancer (balancer = none): it takes workers only, which say traffic: none"


class NoBalancer:
    name = "none"
    traffic_address = ""

    async def start(self) -> None: ...

    async def arrange(self, structure: Structure) -> None:
        if structure != Structure():
            frontends = {each.application: LACK for each in structure.frontends}
            raise UnfitError(frontends, {each.group: LACK for each in structure.backends})

    async def way_in(self, frontend: Frontend) -> WayIn:
        return WayIn(LACK)

    async def route(self, routes: tuple[Route, ...]) -> None:
        if routes:
            raise BalancerError(LACK)

    async def observe(self) -> BalancerView:
        return BalancerView(is_running=True, structure=Structure(), routes=(), backends=(), old_workers=0)

    def on_change(self, callback: Callable[[], None]) -> None: ...

    async def close(self) -> None: ...

    async def end(self) -> None: ...
