"""Bakes on stand-ins for clouds, whose machines run here."""

from pathlib import Path

from repave_agent.clients.azure.resources import COMPUTE
from repave_agent.providers.azure.provider import AzureProvider
from repave_agent.providers.cloud.provider import CloudProvider
from repave_protos.package.archive import sha256_of
from repave_protos.protocol.queries import BakedImage, BakeOrder
from tests.support.rigs import CloudRig

GALLERY = "fleet/baked"
ON_THIS_MACHINE = """\
command() {{
    case "$2" in cloud-init|waagent|google_guest_agent) return 1;; esac
    type "$2" >/dev/null 2>&1
}}
ROOT={root}
"""
"""What a stand-in's machine runs, it runs here: it must not believe that this machine is one of a cloud."""


async def baked(provider: CloudProvider, rig: CloudRig, directory: Path, package: Path) -> BakedImage:
    """An image of the package."""
    rig.set(run_user_data=True)
    provider._oven._prepare = ON_THIS_MACHINE.format(root=directory / "machine")
    return await provider.bake(BakeOrder(sha256_of(package), "shop-1"), package, lambda _: None)


async def a_gallery(provider: AzureProvider) -> None:
    """What the operator has made for baked images."""
    resources = provider._resources
    gallery = resources.path(COMPUTE, "galleries", "fleet")
    await resources.make(gallery, {"location": "westeurope", "properties": {}}, "a gallery")
    definition = {
        "location": "westeurope",
        "properties": {
            "osType": "Linux",
            "osState": "Generalized",
            "hyperVGeneration": "V2",
            "identifier": {"publisher": "us", "offer": "repave", "sku": "baked"},
        },
    }
    await resources.make(f"{gallery}/images/baked", definition, "an image definition")
