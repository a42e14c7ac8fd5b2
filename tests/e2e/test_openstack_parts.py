"""What servers are made of beside flavor and image, on a real OpenStack control plane: interfaces, ports of
the operator, floating addresses, key pairs, hints, own cloud-init; and logins that may only look. Slow: `make
test-rigs`."""

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from repave_agent.balancers.cloud.balancer import CloudBalancer
from repave_agent.balancers.octavia.load_balancer import OctaviaLoadBalancer
from repave_agent.balancers.octavia.model import Tls
from repave_agent.clients.openstack.api import Api
from repave_agent.clients.openstack.login import Cloud
from repave_agent.clock import SystemClock
from repave_agent.core.ports import (
    BalancerError,
    Frontend,
    HostSpec,
    OutOfCapacityError,
    RefusedError,
    Structure,
)
from repave_agent.packages.server import Depot
from repave_agent.providers.openstack.options import OpenstackOptions
from repave_agent.providers.openstack.provider import OpenstackProvider
from repave_protos.package.archive import pack
from repave_protos.protocol.queries import FindRoom
from repave_protos.protocol.values import ApplicationName, GroupName, HostName, RegionName
from tests.fakes.templates import a_template
from tests.support.rigs import load_balancer, rig_cloud

pytestmark = [pytest.mark.e2e, pytest.mark.rig, pytest.mark.usefixtures("rig"), pytest.mark.timeout(400)]


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    made = Api(rig_cloud(), SystemClock())
    yield made
    await made.close()


@asynccontextmanager
async def there(api: Api, service: str, path: str, kind: str, **body: Any) -> AsyncIterator[dict[str, Any]]:
    made = (await api.call(service, "POST", path, {kind: body}))[kind]
    try:
        yield made
    finally:
        await api.call(service, "DELETE", f"{path}/{made.get('id') or made['name']}")


def provider_of(tmp_path: Path, cloud: Cloud | None = None, **options: Any) -> OpenstackProvider:
    wanted = OpenstackOptions(**{"flavor": "m1.tiny", "image": "tiny", "network": "fleet", **options})
    api, depot = Api(cloud or rig_cloud(), SystemClock()), Depot(tmp_path, "127.0.0.1:0")
    return OpenstackProvider(RegionName("parts"), lambda: "ours", api, wanted, depot, SystemClock())


def spec(tmp_path: Path, number: int) -> tuple[HostSpec, Path]:
    (tmp_path / "app").mkdir(exist_ok=True)
    (tmp_path / "app" / "a").write_text("a")
    package = tmp_path / "app.tar.gz"
    digest = pack(tmp_path / "app", package)
    name, group = HostName(f"parts-v001-{number}"), GroupName("parts-v001")
    return HostSpec(name, group, ApplicationName("parts"), digest, a_template(("serve",))), package


async def test_a_real_server_has_all_that_the_settings_say_and_leaves_nothing(
    tmp_path: Path, api: Api
) -> None:
    (fleet,) = await api.list_all("network", "/networks", "networks", name="fleet")
    (public,) = await api.list_all("network", "/networks", "networks", name="public")
    mark = secrets.token_hex(4)
    (tmp_path / "own").write_text("#cloud-config\npackages: [jq]\n")
    async with (
        there(api, "network", "/networks", "network", name=f"storage-{mark}") as storage,
        there(
            api, "network", "/subnets", "subnet", network_id=storage["id"], ip_version=4, cidr="10.99.0.0/24"
        ),
        there(api, "network", "/ports", "port", name=f"port-{mark}", network_id=fleet["id"]) as port,
        there(api, "compute", "/os-keypairs", "keypair", name=f"key-{mark}", **a_public_key()),
        there(
            api, "compute", "/os-server-groups", "server_group", name=f"group-{mark}", policy="affinity"
        ) as group,
    ):
        provider = provider_of(
            tmp_path,
            network="",
            networks=("fleet", f"storage-{mark}"),
            ports=(f"port-{mark}",),
            floating_ip_pool="public",
            key_name=f"key-{mark}",
            hints={"group": f"group-{mark}"},
            cloud_init=tmp_path / "own",
        )
        first, package = spec(tmp_path, 1)
        host = await provider.launch(first, package)
        (server,) = await ours(api)
        assert (server["key_name"], host.address) == (f"key-{mark}", port["fixed_ips"][0]["ip_address"])
        ports = await api.list_all("network", "/ports", "ports", device_id=server["id"])
        assert {each["network_id"] for each in ports} == {fleet["id"], storage["id"]}
        (address,) = await floating(api)
        assert (address["port_id"], address["floating_network_id"]) == (port["id"], public["id"])
        assert address["tags"] == server["tags"]
        members = (await api.call("compute", "GET", f"/os-server-groups/{group['id']}"))["server_group"]
        assert members["members"] == [server["id"]]
        assert await provider.room(FindRoom(1)) == "ports: 1 of 1 are used, 1 more are needed"
        with pytest.raises(OutOfCapacityError, match=r"openstack\.ports"):
            await provider.launch(*spec(tmp_path, 2))
        await provider.destroy(host.name)
        assert (await ours(api), await floating(api)) == ([], [])
        left = (await api.call("network", "GET", f"/ports/{port['id']}"))["port"]
        assert left["device_id"] == ""
        await provider.close()


def a_public_key() -> dict[str, str]:
    key = ed25519.Ed25519PrivateKey.generate().public_key()
    form = key.public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    return {"public_key": form.decode(), "type": "ssh"}


async def ours(api: Api) -> list[dict[str, Any]]:
    listed = await api.list_all("compute", "/servers/detail", "servers")
    return [each for each in listed if each["metadata"].get("repave_region") == "parts"]


async def floating(api: Api) -> list[dict[str, Any]]:
    listed = await api.list_all("network", "/floatingips", "floatingips")
    return [each for each in listed if str(each["description"]).startswith("repave-")]


async def test_a_pool_that_no_router_leads_to_is_named_by_the_real_neutron(tmp_path: Path, api: Api) -> None:
    mark = secrets.token_hex(4)
    async with (
        there(api, "network", "/networks", "network", name=f"island-{mark}") as island,
        there(
            api, "network", "/subnets", "subnet", network_id=island["id"], ip_version=4, cidr="10.98.0.0/24"
        ),
    ):
        provider = provider_of(tmp_path, network=f"island-{mark}", floating_ip_pool="public")
        with pytest.raises(RefusedError, match=r"openstack\.floating_ip_pool: .* by a router"):
            await provider.launch(*spec(tmp_path, 1))
        await provider.destroy(HostName("parts-v001-1"))
        assert (await ours(api), await floating(api)) == ([], [])
        await provider.close()


async def test_a_credential_that_may_only_look_is_named_by_the_real_nova(tmp_path: Path, api: Api) -> None:
    await api.list_all("compute", "/servers", "servers")  # logs in
    cloud = rig_cloud()
    token = await api._rest.send("POST", f"{cloud.auth_url}/auth/tokens", cloud.login())
    user = token.body["token"]["user"]["id"]
    headers = {"X-Auth-Token": token.headers["X-Subject-Token"]}
    path = f"{cloud.auth_url}/users/{user}/application_credentials"
    wanted = {"name": f"looks-{secrets.token_hex(4)}", "roles": [{"name": "reader"}]}
    made = await api._rest.send("POST", path, {"application_credential": wanted}, headers=headers)
    assert made.status == 201, made.body
    credential = made.body["application_credential"]
    auth = {
        "auth_url": cloud.auth["auth_url"],
        "application_credential_id": credential["id"],
        "application_credential_secret": credential["secret"],
    }
    provider = provider_of(tmp_path, replace(cloud, auth=auth))
    with pytest.raises(RefusedError, match=r"may not make servers \(its roles in project .*: reader\)"):
        await provider.start()
    await provider.close()
    await api._rest.send("DELETE", f"{path}/{credential['id']}", headers=headers)


async def test_a_certificate_that_is_not_there_is_told_and_no_listener_made(tmp_path: Path) -> None:
    """The rig has no Barbican at all."""
    async with load_balancer() as name:
        tls = {443: Tls("http://127.0.0.1:9311/v1/secrets/none")}
        api = Api(rig_cloud(), SystemClock())
        there = OctaviaLoadBalancer(api, name, clock=SystemClock(), tls=tls)
        balancer: CloudBalancer[Any, Any] = CloudBalancer(tmp_path / "b", there, "parts", clock=SystemClock())
        await balancer.start()
        with pytest.raises(BalancerError) as caught:
            await balancer.arrange(Structure((Frontend(ApplicationName("parts"), 443),), ()))
        assert "certificate" in str(caught.value), str(caught.value)
        await balancer.end()
        await balancer.close()
