"""What only Google Cloud has: labels that anybody can set, and credentials of its own kinds."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from repave_agent.core.ports import RefusedError, TransientError
from repave_agent.providers.gcp.provider import GcpProvider
from repave_protos.protocol.values import HostName
from tests.agent.providers.cloud.test_faults import spec
from tests.fakes.clock import FastClock
from tests.support.clouds import GCP, QUICK
from tests.support.rigs import CloudRig, cloud_rig, why_no_cloud


@pytest.fixture(scope="module")
def rig() -> Iterator[CloudRig]:
    if reason := why_no_cloud("gcp"):
        pytest.skip(reason)
    with TemporaryDirectory(prefix="rg") as directory, cloud_rig("gcp", Path(directory), 110) as made:
        yield made


async def test_a_stranger_with_our_label_is_neither_listed_nor_ended(
    rig: CloudRig, tmp_path: Path, package: Path
) -> None:
    rig.reset(**QUICK)
    provider = GCP.provider(rig, tmp_path, FastClock(20.0))
    assert isinstance(provider, GcpProvider)
    await provider.launch(spec(package), package)
    compute, owner = provider._compute, provider._instances.owner()
    image = await provider._instances.image(GCP.settings(rig)["image"])
    body = {
        "name": "stranger",
        "labels": {"repave-owner": owner},
        "machineType": "zones/europe-west1-b/machineTypes/e2-small",
        "disks": [{"boot": True, "initializeParams": {"sourceImage": image}}],
        "networkInterfaces": [{"network": "global/networks/default"}],
    }
    await compute.settle(await compute.change("POST", "zones/europe-west1-b/instances", body), "insert")
    assert [host.name for host in await provider.list_hosts()] == ["shop-v001-1"]
    await provider.destroy(HostName("shop-v001-1"))
    assert [each["name"] for each in rig.instances()] == ["stranger"]
    await provider.close()


async def test_credentials_that_google_refuses_are_named_with_their_file(
    rig: CloudRig, tmp_path: Path
) -> None:
    rig.reset(**QUICK)
    rig.fault("oauth2.token", "error", times=0, status=400, code="invalid_grant", message="Invalid JWT")
    provider = GCP.provider(rig, tmp_path, FastClock(20.0))
    with pytest.raises((RefusedError, TransientError), match=r"the credentials of .*service-account\.json"):
        await provider.start()
    await provider.close()
