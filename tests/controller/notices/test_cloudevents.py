"""What targets are sent is a CloudEvent 1.0, by the specification's own schema."""

import json
from pathlib import Path

import jsonschema  # type: ignore[import-untyped]  # no stubs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from repave_controller.core.domain.application import Event, Instant
from repave_controller.notices.cloudevents import body_of, cloud_event
from repave_controller.notices.ports import Notice
from tests.support.paths import ROOT

SCHEMA = json.loads((Path(ROOT) / "tests/support/cloudevents/schema.json").read_text())
CHECK = jsonschema.Draft7Validator(SCHEMA, format_checker=jsonschema.FormatChecker())


def told(event: Event) -> Notice:
    return Notice("i1-7", "i1", event)


EVENTS = [
    Event("release.started", "web-v002 (2.0) is released", "web", at=Instant(5.5), sequence=7, by="ann"),
    Event("gate.waiting", "web-v002 waits", "web", region="paris", group="web-v002", sequence=8),
    Event("freeze.all.added", 'everything is frozen "<b>', sequence=9),
    Event("release.failed", "ünïcode \u202e \ud83d\ude00 \x1b[31m", "web", sequence=10),
]


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.kind)
def test_each_is_valid(event: Event) -> None:
    CHECK.validate(json.loads(body_of(told(event))))


@given(
    st.builds(
        Event,
        st.text(min_size=1),
        st.text(),
        application=st.text(),
        at=st.floats(0, 4e9).map(Instant),
        sequence=st.integers(0),
    )
)
def test_whatever_an_event_says(event: Event) -> None:
    CHECK.validate(json.loads(body_of(told(event))))


def test_what_it_says() -> None:
    assert cloud_event(told(EVENTS[0])) == {
        "specversion": "1.0",
        "id": "i1-7",
        "source": "urn:repave:i1",
        "type": "dev.repave.release.started",
        "subject": "web",
        "time": "1970-01-01T00:00:05.500000Z",
        "sequence": "00000000000000000007",
        "datacontenttype": "application/json",
        "data": {
            "sequence": 7,
            "kind": "release.started",
            "text": "web-v002 (2.0) is released",
            "application": "web",
            "group": "",
            "region": "",
            "host": "",
            "by": "ann",
        },
    }


def test_an_invalid_one_would_be_noticed() -> None:
    with pytest.raises(jsonschema.ValidationError):
        CHECK.validate({**cloud_event(told(EVENTS[0])), "id": ""})
