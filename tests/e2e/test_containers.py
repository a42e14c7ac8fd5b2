"""An application that is an OCI image: a real registry, real podman, a release and another one under load."""

import contextlib
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.test_examples import EXAMPLES
from tests.support.clients import asking
from tests.support.registry import push, registry, why_no_registry
from tests.support.stage import Stage, staged

pytestmark = [pytest.mark.e2e, pytest.mark.rig, pytest.mark.timeout(400)]
PODMAN = """\
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
"""
"""So that it also works on machines whose root may not raise limits, and with both kinds of cgroups."""
SPEC = """\
repave: 1
app: boxed
artifact: {{oci: "{image}"}}
host:
  env: {{RELEASE: "{{version}}", CONTAINERS_REGISTRIES_CONF: "{registries}", CONTAINERS_CONF: "{podman}"}}
health:
  http: {{port: 8080, path: /health}}
  min_healthy_time: 0s
  launch_deadline: 1m
traffic: {{port: 8000}}
regions:
  - {{name: paris, size: 2}}
strategy:
  blue_green: {{warm: 1s}}
rollback:
  keep: {{for: 0s}}
"""


@pytest.fixture
def stage(directory: Path) -> Iterator[Stage]:
    if reason := why_no_registry():
        pytest.skip(reason)
    plain = {"REPAVE_AGENT_LOCAL__ISOLATION": "none"}
    with staged(directory, regions=("paris",), agent_environment=plain) as started:
        yield started


def processes_of(group: str) -> list[str]:
    """Of containers too, whose processes have the variables of their host."""
    found = []
    for place in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if f"REPAVE_GROUP={group}".encode() in place.read_bytes().split(b"\0"):
                found.append((place.parent / "cmdline").read_text().replace("\0", " ")[:200])
    return found


def test_an_image_is_released_and_replaced_under_load(stage: Stage, directory: Path) -> None:
    source = next(each for each in EXAMPLES if each.heading == "A static binary").files["serve.c"]
    (directory / "serve.c").write_text(source)
    program = directory / "serve"
    subprocess.run(["cc", "-static", "-o", program, directory / "serve.c"], check=True, timeout=60)
    registries = directory / "registries.conf"
    with registry(directory) as address:
        podman = directory / "containers.conf"
        podman.write_text(PODMAN)
        registries.write_text(f'[[registry]]\nlocation = "{address}"\ninsecure = true\n')
        spec = directory / "boxed.yaml"
        image = push(address, "shop", program)
        spec.write_text(SPEC.format(image=image, registries=registries, podman=podman))
        first = stage.repave("release", "-f", str(spec), "--version", "v1")
        assert first.returncode == 0, f"{first.stdout}{first.stderr}\n{stage.logs()}"
        assert f"stored oci://{address}/shop@sha256:" in first.stderr
        with asking(stage, [("paris", 8000)]) as results:
            second = stage.repave("release", "-f", str(spec), "--version", "v2")
            assert second.returncode == 0, f"{second.stdout}{second.stderr}\n{stage.logs()}"
            assert "stored" not in second.stderr, "the package of an image is made once"
        result = results["paris", 8000]
        assert result.failures == (), result.summary()
        assert result.answered_by("shop v2") > 0
        stage.wait(lambda: not any("v001" in each for each in stage.hosts()["paris"]), "the old group's end")
        assert processes_of("boxed-v002")
        assert not processes_of("boxed-v001"), "containers end with their hosts"

        spec.write_text(re.sub("@sha256:[0-9a-f]{64}", "@sha256:" + "0" * 64, spec.read_text()))
        third = stage.repave("release", "-f", str(spec), "--version", "v3")
        assert third.returncode != 0
        why = stage.repave("why", "boxed")
        assert "manifest unknown" in f"{third.stdout}{third.stderr}{why.stdout}"
