"""What servers are made of beside flavor and image: interfaces, the operator's ports, floating addresses,
volumes, hints, the operator's own user data."""

import asyncio
import base64
from collections.abc import AsyncIterator
from email import message_from_string
from pathlib import Path
from typing import Any

import pytest

from repave_agent.core.ports import HostSpec, OutOfCapacityError, RefusedError, TransientError
from repave_agent.providers.openstack import lookup
from repave_agent.providers.openstack.options import OpenstackOptions
from repave_agent.providers.openstack.provider import OpenstackProvider
from repave_protos.package.archive import sha256_of
from repave_protos.protocol.queries import BakeOrder, FindRoom
from repave_protos.protocol.values import HostName
from tests.agent.providers.openstack.test_provider import cloud, provider_of, spec
from tests.fakes.clouds.openstack import FakeOpenstack

__all__ = ["cloud"]  # a fixture
NETWORKS = (
    {"id": "n1", "name": "fleet"},
    {"id": "n2", "name": "storage"},
    {"id": "n3", "name": "world", "router:external": True},
)


@pytest.fixture
async def grown(cloud: FakeOpenstack) -> FakeOpenstack:
    """A cloud with several networks, an external one, and two ports of the operator."""
    cloud.networks = [dict(each) for each in NETWORKS]
    for name in ("p1", "p2"):
        unused = {"device_id": "", "device_owner": ""}
        cloud.ports[name] = {"id": name, "name": f"port {name}", "network_id": "n1", **unused}
    return cloud


class Made:
    """A provider with these settings, over a grown cloud."""

    def __init__(self, cloud: FakeOpenstack, folder: Path, package: Path) -> None:
        self.cloud, self._folder, self.package = cloud, folder, package
        self._made: list[OpenstackProvider] = []

    def __call__(self, **options: Any) -> OpenstackProvider:
        state = self._folder / f"{len(self._made)}"
        state.mkdir()
        self._made.append(provider_of(self.cloud, state, **options))
        return self._made[-1]

    async def close(self) -> None:
        for each in self._made:
            await each.close()

    def spec(self, number: int = 1) -> HostSpec:
        return spec(self.package, number)

    async def refused(self, **options: Any) -> str:
        with pytest.raises(RefusedError) as caught:
            await self(**options).start()
        return str(caught.value)

    @property
    def asked(self) -> dict[str, Any]:
        """With what the last server was asked for."""
        return dict(self.cloud.asked[-1]["server"])


@pytest.fixture
async def made(grown: FakeOpenstack, tmp_path: Path, package: Path) -> AsyncIterator[Made]:
    maker = Made(grown, tmp_path, package)
    yield maker
    await maker.close()


# ------------------------------------------------------------------------------------------------ interfaces


@pytest.mark.parametrize(
    ("options", "asked"),
    [
        ({"network": "fleet"}, [{"uuid": "n1"}]),
        ({"network": "", "networks": ("storage", "fleet")}, [{"uuid": "n2"}, {"uuid": "n1"}]),
        ({"network": "fleet", "ports": ("p1",)}, [{"port": "p1"}]),
        ({"network": "", "ports": ("port p2",)}, [{"port": "p2"}]),
        ({"network": "storage", "ports": ("p1",)}, [{"port": "p1"}, {"uuid": "n2"}]),
        (
            {"network": "", "networks": ("storage", "fleet"), "ports": ("p1",)},
            [{"uuid": "n2"}, {"port": "p1"}],
        ),
    ],
)
async def test_a_server_has_its_interfaces_in_the_order_of_the_settings(
    made: Made, options: dict[str, Any], asked: list[dict[str, str]]
) -> None:
    await made(**options).launch(made.spec(), made.package)
    assert made.asked["networks"] == asked


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"ports": ("p9",)}, "openstack.ports: the project has no p9"),
        ({"ports": ("p1", "port p1")}, "openstack.ports: port p1 is named twice (p1)"),
        (
            {"ports": ("p1", "far")},
            "openstack.ports: they are in 2 networks (n1, n2): each server gets one of them",
        ),
        ({"ports": ("same",)}, "openstack.ports: 2 are called same: name one by its id: s1, s2"),
        ({"network": "", "networks": ("fleet", "moon")}, "openstack.networks: the project has no moon"),
        ({"network": ""}, "openstack.network is not set: name one of: fleet, storage, world"),
        ({"floating_ip_pool": "moon"}, "openstack.floating_ip_pool: the project has no moon; it has: world"),
        (
            {"floating_ip_pool": "storage"},
            "openstack.floating_ip_pool: storage is no external network; there are: world",
        ),
        ({"hints": {"group": "mine"}}, "openstack.hints.group: the project has no mine; it has: none"),
        (
            {"volume_size": 20, "volume_type": "tape"},
            "openstack.volume_type: the project has no tape; it has: hdd, ssd",
        ),
    ],
)
async def test_what_is_not_there_is_refused_when_the_agent_starts(
    made: Made, options: dict[str, Any], said: str
) -> None:
    for name, network in (("far", "n2"), ("s1", "n1"), ("s2", "n1")):
        called = "same" if name.startswith("s") else name
        made.cloud.ports[name] = {"id": name, "name": called, "network_id": network, "device_id": ""}
    assert said in await made.refused(**options)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"network": "a", "networks": ("a", "b")}, "name the network in openstack.networks only"),
        ({"volume_type": "ssd"}, "openstack.volume_type needs openstack.volume_size"),
        ({"interface": "secret"}, "'public', 'internal' or 'admin'"),
        ({"volume_size": -1}, "greater than or equal to 0"),
        ({"hints": "group"}, "write pairs such as team=shop"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        OpenstackOptions(**options)


# ----------------------------------------------------------------------------------------------------- ports


async def test_each_port_has_one_server_at_a_time_and_none_is_ever_deleted(made: Made) -> None:
    provider = made(ports=("p1", "p2"))
    made.cloud.leaves_ports = True  # Neutron is away when the servers end
    await asyncio.gather(*(provider.launch(made.spec(number), made.package) for number in (1, 2)))
    assert sorted(each["server"]["networks"][0]["port"] for each in made.cloud.asked) == ["p1", "p2"]
    with pytest.raises(OutOfCapacityError, match=r"openstack\.ports: each of the 2 has a server: add ports"):
        await provider.launch(made.spec(3), made.package)
    assert await provider.room(FindRoom(1)) == "ports: 2 of 2 are used, 1 more are needed"
    for number in (1, 2):
        await provider.destroy(HostName(f"shop-v001-{number}"))
    assert {name: port["device_id"] for name, port in made.cloud.ports.items()} == {"p1": "", "p2": ""}
    assert (await provider.launch(made.spec(4), made.package)).is_running


async def test_a_port_of_a_server_that_another_agent_began_is_not_given_twice(made: Made) -> None:
    """It is not bound before the server is built."""
    await made(ports=("p1", "p2")).launch(made.spec(1), made.package)
    made.cloud.ports["p1"]["device_id"] = ""
    await made(ports=("p1", "p2")).launch(made.spec(2), made.package)
    assert [each["server"]["networks"][0]["port"] for each in made.cloud.asked] == ["p1", "p2"]


async def test_a_port_that_the_settings_no_longer_name_outlives_its_server(made: Made) -> None:
    await made(ports=("p1",)).launch(made.spec(1), made.package)
    made.cloud.leaves_ports = True
    await made().destroy(HostName("shop-v001-1"))
    assert made.cloud.ports["p1"]["device_id"] == ""


# --------------------------------------------------------------------------------------- floating addresses


async def test_a_floating_address_is_made_marked_attached_and_removed_with_its_host(made: Made) -> None:
    provider = made(network="", networks=("storage", "fleet"), floating_ip_pool="world")
    made.cloud.subnets = [{"network_id": "n2", "ip_version": 4}]
    host = await provider.launch(made.spec(), made.package)
    (server,) = made.cloud.servers.values()
    ((tag,), (address,)) = (server["tags"], made.cloud.floating.values())
    assert (address["floating_network_id"], address["tags"]) == ("n3", [tag])
    assert made.cloud.ports[address["port_id"]]["network_id"] == "n2"
    assert address["description"] == f"{tag} {server['id']}"
    assert host.address != address["floating_ip_address"]  # repave reaches it inside
    (listed,) = await provider.list_hosts()
    assert listed.public_address == address["floating_ip_address"]
    await provider.destroy(host.name)
    assert made.cloud.floating == {}


async def test_a_floating_address_whose_answer_is_lost_is_not_made_twice(made: Made) -> None:
    made.cloud.lost_addresses = 1
    assert (await made(floating_ip_pool="world").launch(made.spec(), made.package)).is_running
    assert len(made.cloud.floating) == 1


async def test_floating_addresses_that_a_killed_agent_left_are_removed_and_no_others(made: Made) -> None:
    await made(floating_ip_pool="world").launch(made.spec(), made.package)
    (address,) = made.cloud.floating.values()
    tag = address["tags"][0]
    more = {"left": f"{tag} server-gone", "operator": "the office", "other": f"{tag}0 server-gone"}
    for name, description in more.items():
        made.cloud.floating[name] = {**address, "id": name, "description": description}
    await made(floating_ip_pool="world").start()
    assert set(made.cloud.floating) == {address["id"], "operator", "other"}


async def test_a_host_whose_floating_address_was_removed_gets_another_one(made: Made) -> None:
    provider = made(floating_ip_pool="world")
    await provider.launch(made.spec(), made.package)
    made.cloud.floating.clear()
    await provider.troubles()
    assert len(made.cloud.floating) == 1


async def test_a_host_of_before_the_setting_gets_no_floating_address(made: Made) -> None:
    await made().launch(made.spec(), made.package)
    await made(floating_ip_pool="world").start()
    assert made.cloud.floating == {}


async def test_a_pool_that_no_router_leads_to_is_named_and_the_server_goes(made: Made) -> None:
    made.cloud.router = False
    with pytest.raises(RefusedError, match=r"openstack\.floating_ip_pool: .* by a router"):
        await made(floating_ip_pool="world").launch(made.spec(), made.package)
    assert made.cloud.servers == {}


# --------------------------------------------------------------------------------------------------- volumes


async def test_a_server_boots_from_a_volume_that_goes_with_it(made: Made) -> None:
    provider = made(volume_size=20, volume_type="ssd")
    await provider.launch(made.spec(), made.package)
    (disk,) = made.asked["block_device_mapping_v2"]
    assert made.asked["imageRef"] == ""
    assert disk == {
        "boot_index": 0,
        "uuid": "i1",
        "source_type": "image",
        "destination_type": "volume",
        "volume_size": 20,
        "volume_type": "ssd",
        "delete_on_termination": True,
    }
    (volume,) = made.cloud.volumes.values()
    assert [volume["metadata"]["repave_owner"]] == next(iter(made.cloud.servers.values()))["tags"]
    await provider.destroy(HostName("shop-v001-1"))
    assert made.cloud.volumes == {}


@pytest.mark.parametrize("fault", ["", "Build of instance aborted: disk on fire"])
async def test_no_volume_outlives_its_server_though_nova_leaves_it(made: Made, fault: str) -> None:
    made.cloud.leaves_volumes = True
    made.cloud.faults = [fault] if fault else []
    made.cloud.volumes["operator-s"] = {
        "id": "operator-s",
        "status": "available",
        "size": 1,
        "metadata": {},
        "attachments": [],
    }
    provider = made(volume_size=20)
    if fault:
        with pytest.raises(TransientError, match=fault):
            await provider.launch(made.spec(), made.package)
    else:
        await provider.launch(made.spec(), made.package)
        await provider.destroy(HostName("shop-v001-1"))
    assert list(made.cloud.volumes) == ["operator-s"]


async def test_many_hosts_that_end_at_once_share_their_looks_for_what_is_left(made: Made) -> None:
    provider = made(volume_size=20, floating_ip_pool="world")
    numbers = range(20)
    await asyncio.gather(*(provider.launch(made.spec(number), made.package) for number in numbers))
    before = provider._api.calls
    await asyncio.gather(*(provider.destroy(HostName(f"shop-v001-{number}")) for number in numbers))
    assert (made.cloud.volumes, made.cloud.floating) == ({}, {})
    assert (provider._api.calls - before) / len(numbers) <= 10


async def test_a_volume_that_a_killed_agent_left_is_found_by_its_mark(made: Made) -> None:
    await made(volume_size=20).launch(made.spec(), made.package)
    made.cloud.leaves_volumes = True
    made.cloud._end(next(iter(made.cloud.servers)))
    await made(volume_size=20).start()
    assert made.cloud.volumes == {}


async def test_room_for_volumes_is_told_before(made: Made) -> None:
    made.cloud.volumes_max = 1
    provider = made(volume_size=600)
    assert await provider.room(FindRoom(1)) == ""
    assert await provider.room(FindRoom(2)) == (
        "volumes: 0 of 1 are used, 2 more are needed; "
        "GiB of volumes: 0 of 1000 are used, 1200 more are needed"
    )


async def test_the_image_must_fit_on_the_volume_and_not_on_the_flavor(made: Made) -> None:
    made.cloud.images[0]["min_disk"] = 20
    await made(volume_size=20).start()
    assert await made.refused(volume_size=19) == "openstack.volume_size: image base needs 20 GiB"


async def test_a_cloud_without_cinder_is_named(made: Made) -> None:
    made.cloud.has_volumes = False
    assert "openstack.volume_size: the cloud's catalogue has no block-storage" in await made.refused(
        volume_size=20
    )


# ----------------------------------------------------------------------------------------------------- hints


async def test_the_operator_s_hints_go_with_the_server_group(made: Made) -> None:
    provider = made(hints={"same_host": ("a", "b"), "gpu": "yes"})
    await provider.launch(made.spec(1), made.package)
    (group,) = made.cloud.groups
    hints = made.cloud.asked[-1]["os:scheduler_hints"]
    assert hints == {"same_host": ["a", "b"], "gpu": "yes", "group": group}
    made.cloud.members_max = 1
    await provider.launch(made.spec(2), made.package)  # the group is full, the other hints stay
    assert made.cloud.asked[-1]["os:scheduler_hints"] == {"same_host": ["a", "b"], "gpu": "yes"}


async def test_a_server_group_of_the_operator_counts_instead_of_repave_s(made: Made) -> None:
    made.cloud.groups["g1"] = {"id": "g1", "name": "mine", "policy": "affinity", "members": []}
    provider = made(hints={"group": "mine"})
    await provider.launch(made.spec(), made.package)
    await provider.destroy(HostName("shop-v001-1"))
    assert made.cloud.asked[-1]["os:scheduler_hints"] == {"group": "g1"}
    assert list(made.cloud.groups) == ["g1"]


# ------------------------------------------------------------------------------------------------ cloud-init


def parts_of(user_data: str) -> list[tuple[str, str | None, str]]:
    message = message_from_string(base64.b64decode(user_data).decode())
    assert message.is_multipart()
    return [
        (each.get_content_type(), each.get_filename(), each.get_payload(decode=True).decode())  # type: ignore[union-attr]
        for each in message.get_payload()
    ]


OWN = {
    "text/cloud-config": "#cloud-config\npackages: [jq]\nfinal_message: From the café\n",
    "text/x-shellscript": "#!/bin/sh\nFrom=1\necho '--==repave=='\n",
    "text/cloud-boothook": "#cloud-boothook\n#!/bin/sh\n",
    "text/jinja2": "## template: jinja\n#cloud-config\nhostname: {{ v1.local_hostname }}\n",
    "text/x-include-url": "#include\nhttp://10.0.0.1/more\n",
    "text/cloud-config-archive": "#cloud-config-archive\n- {type: text/cloud-config, content: ''}\n",
}


@pytest.mark.parametrize("kind", OWN)
async def test_the_operator_s_own_user_data_comes_before_repave_s(
    made: Made, tmp_path: Path, kind: str
) -> None:
    (tmp_path / "own").write_text(OWN[kind])
    await made(cloud_init=tmp_path / "own").launch(made.spec(), made.package)
    own, script = parts_of(made.asked["user_data"])
    assert own == (kind, "operator", OWN[kind])
    assert script[:2] == ("text/x-shellscript", "zz-repave.sh")
    assert script[2].startswith("#!/bin/sh\n# Made by repave for shop-v001-1.")


async def test_without_it_the_user_data_is_a_script_that_needs_no_cloud_init(made: Made) -> None:
    await made().launch(made.spec(), made.package)
    assert base64.b64decode(made.asked["user_data"]).startswith(b"#!/bin/sh\n")


async def test_an_image_is_baked_with_it_on_the_flavor_s_own_disk(made: Made, tmp_path: Path) -> None:
    (tmp_path / "own").write_text(OWN["text/cloud-config"])
    made.cloud.faults = ["enough"]
    provider = made(cloud_init=tmp_path / "own", hints={"gpu": "yes"}, volume_size=20)
    with pytest.raises(TransientError, match="enough"):
        await provider.bake(
            BakeOrder(sha256_of(made.package), "shop-1", (), "ann"), made.package, lambda _: None
        )
    assert len(parts_of(made.asked["user_data"])) == 2
    assert "block_device_mapping_v2" not in made.asked
    assert made.cloud.asked[-1]["os:scheduler_hints"] == {"gpu": "yes"}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, r"can't be read: No such file or directory"),
        (b"packages: [jq]\n", r"its first line is 'packages: \[jq\]': begin it with #cloud-config or"),
        (b"", r"its first line is ''"),
        (b"#cloud-config\npackages: [jq\n", r"is no YAML"),
        (b"#cloud-config\n- a\n", r"expected options such as packages: \[jq\]"),
        (b"\xff\xfe", r"is no UTF-8 text"),
        (b"#!/bin/sh\n" + b"#" * 40_000, r"Nova takes 65,535: shorten openstack.cloud_init \(40,010 bytes\)"),
    ],
)
async def test_user_data_that_can_not_work_is_refused_when_the_agent_starts(
    made: Made, tmp_path: Path, content: bytes | None, said: str
) -> None:
    if content is not None:
        (tmp_path / "own").write_bytes(content)
    with pytest.raises(RefusedError, match=rf"openstack\.cloud_init: .*{said}"):
        await made(cloud_init=tmp_path / "own").start()


async def test_user_data_of_a_host_that_gets_too_long_with_it_is_refused(made: Made, tmp_path: Path) -> None:
    (tmp_path / "own").write_text("#!/bin/sh\n" + "#" * 20_000)
    wanted = made.spec()
    long = lookup.USER_DATA_MAX // 4
    words = wanted.template.__class__(
        **{name: getattr(wanted.template, name) for name in wanted.template.__dataclass_fields__}
        | {"run": ("serve", "x" * long)}
    )
    spec_of = HostSpec(wanted.name, wanted.group, wanted.application, wanted.digest, words)
    with pytest.raises(RefusedError, match=r"shorten openstack.cloud_init \(20,010 bytes\), run, env"):
        await made(cloud_init=tmp_path / "own").launch(spec_of, made.package)
    assert made.cloud.servers == {}


# ---------------------------------------------------------------------------------------------------- rights


async def test_a_login_that_may_only_look_is_named_when_the_agent_starts(made: Made) -> None:
    made.cloud.roles = ("reader",)
    said = await made.refused()
    assert "the login of the cloud may not make servers (its roles in project p1: reader): " in said
    assert said.endswith("Give the user, or the application credential, the role member in this project")


async def test_a_role_that_is_taken_away_is_told_by_the_doctor(made: Made) -> None:
    provider = made()
    await provider.start()
    made.cloud.roles = ("reader",)
    with pytest.raises(RefusedError, match="may not make servers"):
        await provider.troubles()


async def test_the_question_whether_servers_may_be_made_makes_none(made: Made) -> None:
    await made().start()
    assert (made.cloud.servers, made.cloud.asked) == ({}, [])
