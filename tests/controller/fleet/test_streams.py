"""The promises about what is written to a stream: encoded once for all regions that shall be alike."""

from dataclasses import replace

import pytest

from repave_controller.fleet.streams import encoded
from repave_protos.protocol import wire
from repave_protos.protocol.values import DesiredState, Epoch
from tests.fakes.agent.region_values import a_group, a_state


def a_wanted(rev: int) -> DesiredState:
    """Made anew each time, as for each region."""
    return replace(a_state(a_group(weight_bp=10_000)), epoch=Epoch(7, 7, rev))


def test_regions_that_shall_be_alike_are_sent_the_same_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[object] = []
    real = wire.encode_from_controller

    def encode(message: DesiredState, traceparent: str = "") -> bytes:
        made.append(message)
        return real(message, traceparent)

    monkeypatch.setattr(wire, "encode_from_controller", encode)
    sent = [encoded(a_wanted(3)) for _ in range(100)]
    assert len(made) == 1
    assert {wire.decode_from_controller(each) for each in sent} == {a_wanted(3)}
    assert wire.decode_from_controller(encoded(a_wanted(4))) == a_wanted(4)
    assert encoded(a_wanted(3), "00-" + "1" * 32 + "-" + "2" * 16 + "-01") != sent[0]


def test_what_an_agent_would_refuse_is_refused_each_time() -> None:
    unfit = replace(a_wanted(5), groups=(a_group(weight_bp=10_001),))
    for _ in range(2):
        with pytest.raises(ValueError, match="weight_bp"):
            encoded(unfit)
