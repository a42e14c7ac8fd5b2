"""A release that brings an application to a further region, and is undone there: no way in stays."""

import socket
import urllib.request

import pytest

from tests.support.example import Example
from tests.support.stage import Stage

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]


def test_a_release_undone_where_its_region_was_new_closes_that_region(stage: Stage) -> None:
    release(stage, "v1", ("paris",))
    assert stage.ended()["phase"] == "succeeded"
    release(stage, "v2", ("paris", "oslo"), warm="60s", interval="200ms", environment={"ILL_AFTER": "1"})
    stage.wait(lambda: is_open(stage, "oslo"), "the way into oslo")
    for _ in range(2):  # one for each host, which falls ill of it
        urllib.request.urlopen(f"http://{stage.traffic_address('oslo')}:8000/", timeout=5).close()
    assert stage.ended()["phase"] == "rolled-back"
    stage.wait(lambda: stage.hosts()["oslo"] == [], "the end of oslo's hosts")
    stage.wait(lambda: not is_open(stage, "oslo"), "the end of the way into oslo")
    assert stage.weights()["paris"] == {"hello-v001": 10_000}
    assert is_open(stage, "paris")


def release(stage: Stage, version: str, regions: tuple[str, ...], **options: object) -> None:
    spec = Example(size=2, regions=regions, **options).write(stage.directory, version)  # type: ignore[arg-type]
    body = {"spec": spec.read_text(), "digest": stage.push(stage.directory / version), "version": version}
    stage.call("POST", "applications/hello/releases", body)


def is_open(stage: Stage, region: str) -> bool:
    with socket.socket() as client:
        return client.connect_ex((stage.traffic_address(region), 8000)) == 0
