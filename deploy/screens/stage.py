"""The world that the screenshots show: a real controller with three regions of real hosts, in which a release
is half-way, one has gone back, one waits for an approval, releases are queued, a freeze is to come.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.example import Example
from tests.support.stage import Stage, staged

REGIONS = ("frankfurt", "oslo", "virginia")
HALF_WAY = "{canary: {steps: [{traffic: 10%, hold: 2s}, {traffic: 50%, hold: 30m}]}}"
FAST = {"min_healthy": "0s", "interval": "2s", "launch_deadline": "2m"}


@contextmanager
def shown_world() -> Iterator[Stage]:
    with tempfile.TemporaryDirectory(prefix="rp") as place, staged(Path(place), regions=REGIONS) as stage:
        fill(stage)
        yield stage


def fill(stage: Stage) -> None:
    """Brings about what the screens show."""
    _serve(stage, "checkout", "4.2.0", 8001, size=4)
    _serve(stage, "search", "2025.11.3", 8002, size=5)
    _serve(stage, "catalog", "1.17.2", 8003, size=3)
    _serve(stage, "mail", "3.0.1", 8004, size=2)
    _serve(stage, "mail", "3.1.0", 8004, size=2)
    sick = {"environment": {"HEALTH": "500 Oops"}, "launch_deadline": "4s"}
    _release(stage, "catalog", "1.18.0", 8003, size=3, **sick)
    _release(stage, "search", "2025.12.0", 8002, size=5, strategy=HALF_WAY)
    waves = "waves:\n  - {regions: [oslo]}\n  - {regions: rest, approve: ops}\n"
    _release(stage, "checkout", "4.3.0", 8001, size=4, more=waves)
    for version in ("4.3.1", "4.4.0"):
        _release(stage, "checkout", version, 8001, size=4, queue=True)
    stage.call(
        "POST",
        "freezes",
        {"from": "2026-12-18", "to": "2027-01-04", "applications": ["*"], "reason": "holidays", "by": "ann"},
    )
    stage.ended(application="catalog")
    stage.wait(lambda: _waits(stage, "checkout"), "the approval", 120)
    stage.wait(lambda: _share(stage, "search") == 5000, "half of the traffic", 120)


def _serve(stage: Stage, application: str, version: str, port: int, **options: Any) -> None:
    _release(stage, application, version, port, **options)
    assert stage.ended(application=application)["phase"] == "succeeded"


def _release(stage: Stage, application: str, version: str, port: int, **options: Any) -> None:
    queue = options.pop("queue", False)
    example = Example(
        **{**FAST, **options, "application": application, "port": port, "regions": stage.regions}
    )
    spec = example.write(stage.directory, version).read_text()
    digest = stage.push(stage.directory / version)
    body = {"spec": spec, "digest": digest, "version": version, "by": "ann", "queue": queue}
    stage.call("POST", f"applications/{application}/releases", body)


def _waits(stage: Stage, application: str) -> bool:
    return bool(stage.get(f"applications/{application}")["gates"])


def _share(stage: Stage, application: str) -> int:
    regions = stage.get(f"applications/{application}")["region_items"]
    return min(
        max((g["weight_bp"] for g in each["groups"] if g["state"] == "new"), default=0) for each in regions
    )
