"""An event of the log as a CloudEvent 1.0, in JSON. Pure."""

import json
from datetime import UTC, datetime
from typing import Any, Final

from repave_controller.notices.ports import Notice

CONTENT_TYPE: Final = "application/cloudevents+json"
TYPE_PREFIX: Final = "dev.repave."
USUAL: Final = (
    "release.*",
    "rollback.*",
    "rollout.*",
    "gate.*",
    "freeze.*",
    "region.failed",
    "region.skipped",
    "region.ahead",
    "application.*",
    "promotion.*",
    "hook.failed",
    "gitops.failed",
)
"""What a target is told of unless its settings say what it wants."""


def cloud_event(notice: Notice) -> dict[str, Any]:
    """Its `type` is the event's kind; `sequence`, of the extension of that name, its number in the log."""
    event = notice.event
    told: dict[str, Any] = {
        "specversion": "1.0",
        "id": notice.id,
        "source": f"urn:repave:{notice.installation}",
        "type": f"{TYPE_PREFIX}{event.kind}",
        "time": datetime.fromtimestamp(event.at, UTC).isoformat().replace("+00:00", "Z"),
        "sequence": f"{event.sequence:020d}",
        "datacontenttype": "application/json",
        "data": {
            "sequence": event.sequence,
            "kind": event.kind,
            "text": event.text,
            "application": event.application,
            "group": event.group,
            "region": event.region,
            "host": event.host,
            "by": event.by,
        },
    }
    if event.application:
        told["subject"] = event.application
    return told


def body_of(notice: Notice) -> bytes:
    return json.dumps(cloud_event(notice), sort_keys=True).encode()
