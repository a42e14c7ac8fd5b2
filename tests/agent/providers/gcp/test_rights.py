"""The role in deploy/gcp has the rights that the provider's calls need, and no others."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from ruamel.yaml import YAML

from repave_agent.providers.gcp.provider import GcpProvider
from repave_protos.protocol.queries import FindRoom
from tests.agent.providers.cloud.test_faults import spec
from tests.fakes.clock import FastClock
from tests.support.bakes import baked
from tests.support.clouds import GCP, QUICK
from tests.support.paths import ROOT
from tests.support.rigs import CloudRig, cloud_rig, why_no_cloud

RIGHTS = {
    "images.list": {"images.list"},
    "images.get": {"images.get"},
    "images.insert": {"images.create", "images.setLabels", "disks.useReadOnly"},
    "images.delete": {"images.delete"},
    "globalOperations.wait": {"globalOperations.get"},
    "instances.stop": {"instances.stop"},
    "instances.aggregatedList": {"instances.list"},
    "instances.get": {"instances.get"},
    "instances.delete": {"instances.delete"},
    "instances.getSerialPortOutput": {"instances.getSerialPortOutput"},
    "instances.insert": {
        "instances.create", "instances.setLabels", "instances.setMetadata", "instances.setTags",
        "disks.create", "disks.setLabels", "images.useReadOnly", "subnetworks.use",
    },
    "machineTypes.get": {"machineTypes.get"},
    "regions.get": {"regions.get"},
    "zoneOperations.wait": {"zoneOperations.get"},
}  # fmt: skip
"""Of Google's reference: what each call needs, below `compute.`."""


@pytest.fixture
def rig() -> Iterator[CloudRig]:
    if reason := why_no_cloud("gcp"):
        pytest.skip(reason)
    with TemporaryDirectory(prefix="rg") as directory, cloud_rig("gcp", Path(directory), 95) as made:
        made.reset(**QUICK)
        yield made


async def test_the_role_allows_the_calls_that_are_made_and_no_others(
    rig: CloudRig, tmp_path: Path, package: Path
) -> None:
    provider = GCP.provider(rig, tmp_path, FastClock(20.0))
    assert isinstance(provider, GcpProvider)
    host = await provider.launch(spec(package), package)
    await provider.room(FindRoom(3))
    await provider.log_tail(host.name, 5)
    await provider.troubles()
    (machine,) = await provider._instances.machines()
    await provider._instances.look(machine.id)
    await provider._instances.image("debian-cloud/debian-12-bookworm-v20261111")
    await provider.destroy(host.name)
    made_image = await baked(provider, rig, tmp_path, package)
    await provider._oven._cloud.delete_image(made_image.image)
    await provider.close()
    made = set(rig.state()["counts"]) - {"oauth2.token"}
    assert made <= RIGHTS.keys()
    role = YAML(typ="safe").load((ROOT / "deploy" / "gcp" / "role.yaml").read_text())
    needed = {f"compute.{right}" for call in made for right in RIGHTS[call]}
    assert set(role["includedPermissions"]) == needed
