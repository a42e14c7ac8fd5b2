"""What an agent counts of its calls, by what was asked and what came of it; nothing is changed."""

import asyncio
import errno

import pytest
from prometheus_client.registry import CollectorRegistry

from repave_agent.core.host_health import PASSED, ProbeResult
from repave_agent.core.ports import (
    BalancerAwaitedError,
    BalancerError,
    OutOfCapacityError,
    ProviderError,
    RefusedError,
    TransientError,
    UnfitError,
)
from repave_agent.metrics.calls import Calls, MeasuredDisk, counted_probes
from repave_protos.protocol.values import Probe

FAILURES = [
    (OutOfCapacityError("full"), "out_of_capacity"),
    (RefusedError("no"), "refused"),
    (TransientError("later"), "transient"),
    (ProviderError("?"), "error"),
    (UnfitError(), "unfit"),
    (BalancerAwaitedError("soon"), "transient"),
    (BalancerError("?"), "error"),
    (asyncio.CancelledError(), "cancelled"),
    (ZeroDivisionError(), "bug"),
]


@pytest.mark.parametrize(("error", "result"), FAILURES, ids=lambda each: type(each).__name__)
async def test_a_call_that_fails_is_counted_by_whose_fault_it_is(error: BaseException, result: str) -> None:
    registry, times = CollectorRegistry(), iter((10.0, 12.5))
    calls = Calls(registry, "provider", "text", ("launch",), lambda: next(times))
    with pytest.raises(type(error)):
        async with calls.timed("launch"):
            raise error
    labels = {"operation": "launch", "result": result}
    name = "repave_agent_provider_call_duration_seconds"
    assert registry.get_sample_value(f"{name}_count", labels) == 1
    assert registry.get_sample_value(f"{name}_sum", labels) == 2.5
    assert registry.get_sample_value(f"{name}_count", {"operation": "launch", "result": "ok"}) == 0


class _FullDisk:
    name = "journal"

    def read(self) -> bytes | None:
        return None

    def replace(self, content: bytes, *, durable: bool) -> None:
        if content == b"bad":
            raise OSError(errno.ENOSPC, "full")


def test_journal_writes_are_timed_and_their_failures_counted() -> None:
    registry = CollectorRegistry()
    disk = MeasuredDisk(_FullDisk(), registry, lambda: 0.0)
    disk.replace(b"good", durable=True)
    with pytest.raises(OSError):
        disk.replace(b"bad", durable=True)
    assert registry.get_sample_value("repave_agent_journal_failures_total") == 1
    name = "repave_agent_journal_write_duration_seconds_count"
    assert registry.get_sample_value(name, {"durable": "true"}) == 2


def test_probes_are_counted_by_kind_and_result() -> None:
    registry = CollectorRegistry()
    heard = counted_probes(registry)
    for result in (PASSED, ProbeResult(False, "no")):
        heard(Probe("tcp", 80), result)
    for word in ("passed", "failed"):
        assert registry.get_sample_value("repave_agent_probes_total", {"kind": "tcp", "result": word}) == 1
