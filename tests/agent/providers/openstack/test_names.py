"""What settings name, as clouds have it: gone, made anew, there twice, of IPv6; services that are away."""

import base64
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from repave_agent.clients.openstack.login import load_cloud
from repave_agent.core.ports import RefusedError, TransientError
from repave_agent.providers.cloud.first_boot import BAKED
from repave_agent.providers.openstack.provider import OpenstackProvider
from repave_protos.package.archive import sha256_of
from repave_protos.protocol.queries import BakeOrder, FindRoom
from tests.agent.providers.openstack.test_provider import cloud, provider, provider_of, spec
from tests.fakes.clouds.openstack import FLAVOR, FakeOpenstack

__all__ = ["cloud", "provider"]  # fixtures
BASE = {"status": "active", "os_hash_value": "abc", "owner": "admin", "min_ram": 256}


def make_anew(cloud: FakeOpenstack, what: str) -> None:
    """Deletes it, and makes it again under its name."""
    if what == "image":
        cloud.images = [{"id": "i9", "name": "base", **BASE}]
    elif what == "flavor":
        cloud.flavors = [{**FLAVOR, "id": "f9"}]
    else:
        cloud.networks, cloud.subnets = (
            [{"id": "n9", "name": "fleet"}],
            [{"network_id": "n9", "ip_version": 4}],
        )


@pytest.mark.parametrize("what", ["image", "flavor", "network"])
async def test_what_was_made_anew_under_its_name_is_found_and_told(
    cloud: FakeOpenstack, provider: OpenstackProvider, package: Path, what: str
) -> None:
    await provider.launch(spec(package, 1), package)
    assert await provider.troubles() == []
    make_anew(cloud, what)
    assert (await provider.launch(spec(package, 2), package)).is_running
    name = {"image": "base", "flavor": "small", "network": "fleet"}[what]
    (told,) = await provider.troubles()
    assert told.startswith(f"note: openstack.{what}: {name} was replaced under its name: hosts made from now")


@pytest.mark.parametrize("what", ["image", "flavor", "network"])
async def test_what_is_gone_is_named_by_a_launch_the_plan_and_the_doctor(
    cloud: FakeOpenstack, provider: OpenstackProvider, package: Path, what: str
) -> None:
    await provider.launch(spec(package, 1), package)
    make_anew(cloud, what)
    for each in (*cloud.images, *cloud.flavors, *cloud.networks):
        each["name"] = "other"
    said = {
        "image": r"openstack\.image: there is no image base",
        "flavor": r"openstack\.flavor: the project has no small; it has: other",
        "network": r"openstack\.network: the project has no fleet; it has: other",
    }[what]
    untouched = (
        rf"{said}.*openstack\.{what}.* disappeared from the cloud while the agent ran: hosts that run and "
        "their traffic stay as they are; no host is made before it is there again, or another one is named"
    )
    with pytest.raises(RefusedError, match=untouched):
        await provider.launch(spec(package, 2), package)
    assert said.split(": ")[1] in await provider.room(FindRoom(1))
    with pytest.raises(RefusedError, match=said):
        await provider.troubles()


@pytest.mark.parametrize("what", ["queued", "twice"])
async def test_what_is_there_but_of_no_use_has_not_disappeared(
    cloud: FakeOpenstack, provider: OpenstackProvider, what: str
) -> None:
    await provider.start()
    if what == "queued":
        cloud.images[0]["status"] = "queued"
    else:
        cloud.flavors.append({**FLAVOR, "id": "f2"})
    assert "disappeared" not in await provider.room(FindRoom(1))


async def test_an_image_that_a_spec_names_is_looked_up_anew_as_well(
    cloud: FakeOpenstack, provider: OpenstackProvider, package: Path
) -> None:
    cloud.images.append({"id": "i5", "name": "special", **BASE})
    wanted = spec(package, 1)
    named = {
        "template": wanted.template.__class__(**{**_fields(wanted.template), "machine_image": "special"})
    }
    await provider.launch(wanted.__class__(**{**_fields(wanted), **named}), package)
    cloud.images[-1]["id"] = "i6"
    second = spec(package, 2)
    await provider.launch(second.__class__(**{**_fields(second), **named}), package)
    assert [each["image"]["id"] for each in cloud.servers.values()] == ["i5", "i6"]


async def test_a_new_image_whose_former_one_only_lost_its_name_is_used_within_a_minute(
    cloud: FakeOpenstack, provider: OpenstackProvider, package: Path
) -> None:
    """Nothing is refused then: the former one is still there."""
    await provider.launch(spec(package, 1), package)
    cloud.images[0]["name"] = "base-until-yesterday"
    cloud.images.append({"id": "i9", "name": "base", **BASE})
    (told,) = await provider.troubles()
    assert told.startswith("note: openstack.image: base was replaced under its name")
    await provider.launch(spec(package, 2), package)
    assert [each["image"]["id"] for each in cloud.servers.values()] == ["i1", "i9"]


async def test_images_are_baked_of_what_was_made_anew_and_those_of_before_are_not_current(
    cloud: FakeOpenstack, provider: OpenstackProvider, package: Path
) -> None:
    cloud.console = f"{BAKED} {{repave_bake}}\n"
    order = BakeOrder(sha256_of(package), "shop-1", (), "ann")
    before = await provider.bake(order, package, lambda _: None)
    cloud.images[0] |= {"id": "i9"}
    assert [each.is_current for each in await provider.baked()] == [False]
    after = await provider.bake(order, package, lambda _: None)
    assert (before.base, after.base) == ("i1", "i9")


async def test_an_image_of_a_spec_that_is_gone_is_named_by_the_launches_of_that_spec_only(
    cloud: FakeOpenstack, provider: OpenstackProvider, package: Path
) -> None:
    cloud.images.append({"id": "i5", "name": "special", **BASE})
    special = replace(spec(package, 1).template, machine_image="special")
    await provider.launch(replace(spec(package, 1), template=special), package)
    cloud.images.pop()
    assert await provider.troubles() == []
    await provider.launch(spec(package, 2), package)
    gone = (
        r"host\.image: there is no image special\. host\.image disappeared from the cloud while the agent ran"
    )
    with pytest.raises(RefusedError, match=gone):
        await provider.launch(replace(spec(package, 3), template=special), package)


def _fields(value: Any) -> dict[str, Any]:
    return {name: getattr(value, name) for name in value.__dataclass_fields__}


async def test_a_launch_that_is_refused_for_another_reason_is_tried_once(
    cloud: FakeOpenstack, provider: OpenstackProvider, package: Path
) -> None:
    cloud.refusals = [(400, "Invalid key_name provided.")]
    with pytest.raises(RefusedError, match="Invalid key_name"):
        await provider.launch(spec(package), package)
    assert cloud.servers == {}


# ------------------------------------------------------------------------------------------------- twice


@pytest.mark.parametrize(
    ("listed", "named", "said"),
    [
        ("networks", {}, "openstack.network: 2 are called fleet: name one by its id: n1, n2"),
        ("flavors", {}, "openstack.flavor: 2 are called small: name one by its id: f1, f2"),
        ("images", {}, "openstack.image: 2 images are called base: name one by its id"),
        (
            "security_groups",
            {"security_groups": ("default",)},
            "openstack.security_groups: 2 are called default: name one by its id: s1, s2",
        ),
    ],
)
async def test_of_two_of_one_name_none_is_taken(
    cloud: FakeOpenstack, tmp_path: Path, listed: str, named: dict[str, Any], said: str
) -> None:
    there = getattr(cloud, listed)
    first = there[0]
    there.append({**first, "id": f"{first['id'][0]}2"})
    if listed == "images":
        there[-1]["id"] = "i7"
    made = provider_of(cloud, tmp_path, **named)
    with pytest.raises(RefusedError, match=said):
        await made.start()
    await made.close()


async def test_one_of_two_is_taken_by_its_id(cloud: FakeOpenstack, tmp_path: Path) -> None:
    cloud.networks.append({"id": "n2", "name": "fleet"})
    cloud.security_groups += [{"id": "s2", "name": "default"}, {"id": "s3", "name": "x", "project_id": "p2"}]
    made = provider_of(cloud, tmp_path, network="n1", security_groups=("s1",))
    assert await made.start()
    await made.close()


async def test_a_group_of_another_project_is_no_second_one(cloud: FakeOpenstack, tmp_path: Path) -> None:
    cloud.security_groups[0]["project_id"] = "p1"
    cloud.security_groups.append({"id": "s2", "name": "default", "project_id": "p2"})
    made = provider_of(cloud, tmp_path, security_groups=("default",))
    assert await made.start()
    await made.close()


# -------------------------------------------------------------------------------------------------- IPv6


@pytest.mark.parametrize(("version", "address", "listens"), [(4, "10.1.", "0.0.0.0"), (6, "fd00::1", "::")])
async def test_hosts_are_reached_by_ipv6_in_a_network_that_has_nothing_else(
    cloud: FakeOpenstack,
    provider: OpenstackProvider,
    package: Path,
    version: int,
    address: str,
    listens: str,
) -> None:
    cloud.subnets[0]["ip_version"], cloud.addresses = version, (version,)
    assert (await provider.launch(spec(package), package)).address.startswith(address)
    (server,) = cloud.servers.values()
    assert f"\nHOST={listens}\n" in base64.b64decode(server["user_data"]).decode()
    cloud.subnets[0]["ip_version"] = 10 - version  # what comes later moves no host
    await provider._names.look_anew()
    (host,) = await provider.list_hosts()
    assert host.address.startswith(address)


@pytest.mark.parametrize(
    ("subnet", "versions", "kind", "said"),
    [
        (4, (6,), RefusedError, "has only fd00::1, and the network fleet has subnets of IPv4, by which"),
        (6, (4,), RefusedError, r"has only 10\.1\..*, and the network fleet has subnets of IPv6, by which"),
        (4, (), TransientError, "runs, without an address for 60 s: has the network fleet a subnet"),
    ],
)
async def test_a_server_without_an_address_that_is_of_use_is_told_as_what_it_is_and_removed(
    cloud: FakeOpenstack,
    provider: OpenstackProvider,
    package: Path,
    subnet: int,
    versions: tuple[int, ...],
    kind: type[Exception],
    said: str,
) -> None:
    cloud.subnets[0]["ip_version"], cloud.addresses = subnet, versions
    with pytest.raises(kind, match=said):
        await provider.launch(spec(package), package)
    assert cloud.servers == {}


async def test_a_server_with_both_is_reached_by_ipv4(
    cloud: FakeOpenstack, provider: OpenstackProvider, package: Path
) -> None:
    cloud.addresses = (6, 4)
    assert (await provider.launch(spec(package), package)).address.startswith("10.1.")


async def test_a_server_that_loses_its_address_is_listed_without_one(
    cloud: FakeOpenstack, provider: OpenstackProvider, package: Path
) -> None:
    await provider.launch(spec(package), package)
    for server in cloud.servers.values():
        server["addresses"] = {}
    assert [(each.is_running, each.address) for each in await provider.list_hosts()] == [(True, "")]


# ------------------------------------------------------------------------------------- services that are away


@pytest.mark.parametrize("service", ["identity", "compute", "image", "network"])
async def test_a_service_that_is_away_at_the_start_may_come_and_is_no_reason_to_give_up(
    cloud: FakeOpenstack, provider: OpenstackProvider, service: str
) -> None:
    cloud.down = {service}
    with pytest.raises(TransientError, match="503"):
        await provider.start()
    cloud.down = set()
    assert await provider.start() == "servers of project p1"


@pytest.mark.parametrize("listed", ["networks", "flavors"])
async def test_a_list_that_is_empty_is_not_final(
    cloud: FakeOpenstack, provider: OpenstackProvider, listed: str
) -> None:
    there = getattr(cloud, listed)
    setattr(cloud, listed, [])
    with pytest.raises(TransientError, match=f"the cloud lists no {listed} at all for project p1"):
        await provider.start()
    setattr(cloud, listed, there)
    assert await provider.start()


@pytest.mark.parametrize(
    ("service", "said"),
    [
        ("identity", "Keystone: "),
        ("compute", "Nova: compute: GET /servers: 503"),
        ("image", "Glance: image: GET /images: 503"),
        ("network", "Neutron: network: GET /networks: 503"),
    ],
)
async def test_a_service_that_is_away_is_told(
    cloud: FakeOpenstack, provider: OpenstackProvider, service: str, said: str
) -> None:
    await provider.start()
    assert await provider.troubles() == []
    cloud.down = {service}
    (told,) = await provider.troubles()
    assert told.startswith(said)
    cloud.down = set()
    assert await provider.troubles() == []


# ------------------------------------------------------------------------------------------------- profile


def test_a_profile_of_clouds_yaml_stands_in_clouds_public_yaml(tmp_path: Path) -> None:
    own, public = tmp_path / "clouds.yaml", tmp_path / "clouds-public.yaml"
    own.write_text("clouds: {work: {profile: vendor, auth: {username: u, password: p, project_name: d}}}")
    environment = {"OS_CLIENT_CONFIG_FILE": str(own)}
    with pytest.raises(RefusedError, match=r"work has profile vendor, which is not in clouds-public\.yaml"):
        load_cloud("work", environment)
    public.write_text("public-clouds: {vendor: {auth: {auth_url: 'http://v:5000'}, region_name: one}}")
    found = load_cloud("work", environment)
    assert (found.auth_url, found.region_name, found.auth["username"]) == ("http://v:5000/v3", "one", "u")
    own.write_text("clouds: {work: {auth: {username: u}}}")
    with pytest.raises(RefusedError, match="work has no auth_url in its auth, nor has its profile"):
        load_cloud("work", environment)
