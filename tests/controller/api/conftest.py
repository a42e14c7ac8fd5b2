"""A served controller and a client for it."""

import gzip
import hashlib
import io
import tarfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from repave_controller.api.app import Api
from repave_controller.api.web.openapi import Route
from repave_controller.core.domain.application import Instant
from repave_controller.runtime.clock import SteadyClock
from repave_protos.protocol.values import ApplicationName
from tests.fakes.controller.api_rig import RealController, real_controller
from tests.fakes.controller.asking import Answered, Asking
from tests.fakes.controller.scheduler import ServedController, served
from tests.fakes.waiting import until

SPEC = """\
repave: 1
app: hello
artifact: {uri: ./app}
host: {image: local, run: ./serve}
health: {http: {port: 8080, path: /}, min_healthy_time: 0s}
traffic: {frontend: hello, port: 8000}
regions:
  - {name: paris, size: 2}
  - {name: oslo, size: 3}
strategy: {blue_green: {warm: 0s}}
"""


@dataclass(frozen=True)
class Asked(Asking):
    """A client that has an application to release."""

    def push(self, content: str = "v1", **headers: str) -> str:
        package = a_package(content)
        answer = self.post("images", package, **{"X-Repave-Name": "app", **headers})
        assert answer.status == 201, answer.content
        digest: str = answer.json["digest"]
        return digest

    def release(self, version: str = "v1", key: str = "", **changes: Any) -> Answered:
        body = {"spec": SPEC, "digest": self.push(version), "version": version, **changes}
        return self.post("applications/hello/releases", body, **({"Idempotency-Key": key} if key else {}))

    def ended(self) -> dict[str, Any]:
        """The rollout once it has ended, as the stream of snapshots tells."""
        with self.stream("applications/hello/stream") as snapshots:
            for _, status in snapshots:
                if status["phase"] not in ("running", "undoing"):
                    rollout: dict[str, Any] = status["current_rollout"]
                    return rollout
        raise AssertionError("the stream ended before the rollout")


def a_package(content: str) -> bytes:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w") as archive:
        member = tarfile.TarInfo("serve")
        member.size, member.mode = len(content.encode()), 0o755
        archive.addfile(member, io.BytesIO(content.encode()))
    return gzip.compress(sink.getvalue(), mtime=0)  # the same content: the same digest


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def controller(tmp_path: Path) -> Iterator[ServedController]:
    with served(tmp_path) as started:
        yield started


@pytest.fixture
def api(controller: ServedController) -> Asked:
    return Asked(controller.url)


@pytest.fixture
async def real(tmp_path: Path) -> AsyncIterator[RealController]:
    async with real_controller(tmp_path, SteadyClock(Instant(0.0))) as started:
        await until(lambda: len(started.sessions.views()) == 2)
        yield started


async def release(
    real: RealController, version: str = "v1", application: str = "hello", **changes: Any
) -> dict[str, Any]:
    """Pushes, releases and waits for the end."""
    async with real.client.post("images", data=a_package(version)) as pushed:
        digest = (await pushed.json())["digest"]
    body = {"spec": SPEC.replace("hello", application), "digest": digest, "version": version, **changes}
    async with real.client.post(f"applications/{application}/releases", json=body) as accepted:
        answer: dict[str, Any] = await accepted.json()
        assert accepted.status == 202, answer
    name = ApplicationName(application)
    await until(lambda: real.scheduler.applications()[name].running is None)
    return answer


def routes() -> tuple[Route, ...]:
    return Api(None, None, None, None, None).routes()  # type: ignore[arg-type]  # the table alone
