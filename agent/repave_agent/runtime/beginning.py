"""Begins a region's work step by step: what provider and balancer need of the world may be away for now.

The balancer comes first: by the journal and its own files it serves as before, whatever the provider does. A
step that may work later is tried again, with pauses that grow, and people are told what is waited for.
"""

from collections.abc import Awaitable, Callable

import structlog

from repave_agent.core.ports import BalancerAwaitedError, TransientError

PAUSE_SECONDS, PAUSE_SECONDS_MAX = 1.0, 15.0

log = structlog.get_logger()


async def begin(
    steps: tuple[tuple[str, Callable[[], Awaitable[object]]], ...],
    tell: Callable[[str], None],
    sleep: Callable[[float], Awaitable[None]],
) -> None:
    """Does each step, in their order; `tell` hears what is waited for, and "" in the end. Raises what waiting
    can't mend."""
    for name, step in steps:
        pause = PAUSE_SECONDS
        while True:
            try:
                await step()
                break
            except (TransientError, BalancerAwaitedError) as error:
                log.warning("agent.waits", step=name, why=str(error), again_in_seconds=pause)
                tell(f"its agent can't begin yet: {error}; it tries again every {PAUSE_SECONDS_MAX:g} s")
            await sleep(pause)
            pause = min(2 * pause, PAUSE_SECONDS_MAX)
    tell("")
