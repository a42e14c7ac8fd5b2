"""Events as they happen, and snapshots of which only the newest counts."""

from typing import Any

from repave_controller.api.web import streams
from tests.controller.api.conftest import Asked
from tests.fakes.controller.scheduler import ServedController


def test_the_stream_tells_what_was_stored_and_then_what_happens(
    api: Asked, controller: ServedController
) -> None:
    controller.hold()
    api.release()
    with api.stream("events/stream?after=0") as events:
        assert next(events)[1]["kind"] == "release.started"
        controller.let_go()
        kinds = [event["kind"] for _, event in take_until(events, "release.succeeded")]
    assert "traffic.moved" in kinds


def test_a_client_that_returns_gets_each_event_once(api: Asked) -> None:
    api.release()
    api.ended()
    with api.stream("events/stream?after=0") as events:
        seen = take_until(events, "release.succeeded")
    last = seen[1][0]
    with api.stream("events/stream", **{"Last-Event-ID": str(last)}) as events:
        again = take_until(events, "release.succeeded")
    assert again == seen[2:]


def test_a_last_event_id_that_nobody_gave_out_is_refused(api: Asked) -> None:
    for wrong in ("9" * 5000, "9" * 19, "-1", "soon"):
        answer = api.get("events/stream", **{"Last-Event-ID": wrong})
        assert (answer.status, answer.json["rule"]) == (400, "bad-request"), wrong


def test_the_first_snapshot_comes_at_once_and_a_new_one_with_each_change(
    api: Asked, controller: ServedController
) -> None:
    controller.hold()
    api.release()
    with api.stream("applications/hello/stream") as snapshots:
        assert next(snapshots)[1]["phase"] == "running"
        controller.let_go()
        last = next(status for _, status in snapshots if status["phase"] != "running")
    assert last["serving"] == "hello-v001"


def test_more_streams_than_the_bound_are_refused(api: Asked, monkeypatch: Any) -> None:
    monkeypatch.setattr(streams, "CLIENTS_MAX", 1)
    api.release()
    with api.stream("events/stream") as events:
        next(events)
        answer = api.get("events/stream")
        assert (answer.status, answer.json["rule"]) == (503, "too-many-streams")


def test_streams_end_when_the_controller_stops(api: Asked, controller: ServedController) -> None:
    api.release()
    with api.stream("events/stream") as events:
        next(events)
        controller.end()
        for _ in events:
            pass  # comes to an end


def take_until(events: Any, kind: str) -> list[tuple[int, Any]]:
    taken = []
    for number, event in events:
        taken.append((number, event))
        if event["kind"] == kind:
            return taken
    raise AssertionError(f"{kind} never came")
