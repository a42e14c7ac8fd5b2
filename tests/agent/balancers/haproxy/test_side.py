"""What happens to HAProxy's processes while the agent stops."""

import asyncio
import gc
from types import SimpleNamespace
from typing import Any, cast

from repave_agent.balancers.haproxy.instance import HaproxyInstance
from repave_agent.balancers.haproxy.side import HaproxySide


async def test_a_process_that_is_found_dead_as_the_agent_stops_is_not_mended() -> None:
    failures: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: failures.append(context))
    mended: list[None] = []
    instance = SimpleNamespace(
        process=SimpleNamespace(watched=()), restarts=0, mend=lambda: mended.append(None)
    )
    side = HaproxySide(cast("HaproxyInstance", instance), lambda: None)
    side._mend_soon()  # as a process descriptor tells
    await side.close()
    del side
    gc.collect()
    await asyncio.sleep(0)
    assert (failures, mended) == ([], [])
