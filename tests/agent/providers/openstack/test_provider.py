"""The provider openstack against a cloud that loses answers, refuses, fails late and forgets tokens."""

import asyncio
import base64
import subprocess
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from repave_agent.clients.openstack.api import Api
from repave_agent.clients.openstack.login import load_cloud
from repave_agent.clients.rest import TRIES_MAX
from repave_agent.core.ports import HostSpec, OutOfCapacityError, ProviderError, RefusedError, TransientError
from repave_agent.packages.server import Depot
from repave_agent.providers.cloud import lifecycle
from repave_agent.providers.cloud.first_boot import ON_SERVER, quoted, user_data
from repave_agent.providers.openstack.options import OpenstackOptions
from repave_agent.providers.openstack.provider import OpenstackProvider
from repave_protos.package.archive import sha256_of
from repave_protos.protocol.queries import FindRoom
from repave_protos.protocol.values import ApplicationName, Digest, GroupName, HostName, RegionName
from tests.fakes.clock import QuickClock
from tests.fakes.clouds.openstack import FakeOpenstack, served
from tests.fakes.packages import RELEASED
from tests.fakes.templates import a_template
from tests.fakes.waiting import until


@pytest.fixture
async def cloud() -> AsyncIterator[FakeOpenstack]:
    async with served(FakeOpenstack()) as fake:
        yield fake


@pytest.fixture
async def provider(cloud: FakeOpenstack, tmp_path: Path) -> AsyncIterator[OpenstackProvider]:
    made = provider_of(cloud, tmp_path)
    yield made
    await made.close()


def provider_of(cloud: FakeOpenstack, tmp_path: Path, **options: Any) -> OpenstackProvider:
    wanted = OpenstackOptions(**{"flavor": "small", "image": "base", "network": "fleet", **options})
    depot, clock = Depot(tmp_path, "127.0.0.1:0"), QuickClock()
    api = Api(cloud.cloud(region_name="one"), clock)
    return OpenstackProvider(RegionName("here"), lambda: "ours", api, wanted, depot, clock)


def spec(package: Path, number: int = 1) -> HostSpec:
    name, group = HostName(f"shop-v001-{number}"), GroupName("shop-v001")
    return HostSpec(name, group, ApplicationName("shop"), sha256_of(package), a_template(("serve", "$PORT")))


# ---------------------------------------------------------------------------------------------- launches


async def test_an_answer_that_is_lost_makes_no_second_server(
    cloud: FakeOpenstack, provider: OpenstackProvider, package: Path
) -> None:
    cloud.lost = 1
    host = await provider.launch(spec(package), package)
    assert host.is_running
    assert len(cloud.servers) == 1


async def test_of_two_servers_with_one_name_the_older_one_stays(
    cloud: FakeOpenstack, provider: OpenstackProvider, package: Path
) -> None:
    await provider.launch(spec(package), package)
    (first,) = cloud.servers.values()
    cloud.servers["server-twin"] = {**first, "id": "server-twin", "created": "2999-01-01T00:00:00Z"}
    assert [host.name for host in await provider.list_hosts()] == ["shop-v001-1"]
    assert list(cloud.servers) == [first["id"]]


@pytest.mark.parametrize(
    ("status", "said", "kind"),
    [
        (
            403,
            "Quota exceeded for instances: Requested 1, but already used 5 of 5 instances",
            OutOfCapacityError,
        ),
        (400, "Invalid key_name provided.", RefusedError),
        (409, "Multiple possible networks found", TransientError),
        (500, "Unexpected API Error", TransientError),
    ],
)
async def test_a_refusal_is_told_in_the_cloud_s_words_by_its_kind(
    cloud: FakeOpenstack,
    provider: OpenstackProvider,
    package: Path,
    status: int,
    said: str,
    kind: type[Exception],
) -> None:
    cloud.refusals = [(status, said)]
    with pytest.raises(kind, match=said):
        await provider.launch(spec(package), package)
    assert cloud.servers == {}


async def test_a_cloud_that_is_busy_is_asked_again(
    cloud: FakeOpenstack, provider: OpenstackProvider, package: Path
) -> None:
    cloud.refusals = [(429, "slow down"), (503, "maintenance")]
    assert (await provider.launch(spec(package), package)).is_running


@pytest.mark.parametrize(
    ("fault", "kind"),
    [("No valid host was found. There are not enough hosts available.", OutOfCapacityError),
     ("Build of instance aborted: disk on fire", TransientError)],
)  # fmt: skip
async def test_a_server_that_fails_after_it_was_accepted_is_removed_and_told(
    cloud: FakeOpenstack, provider: OpenstackProvider, package: Path, fault: str, kind: type[Exception]
) -> None:
    cloud.faults = [fault]
    with pytest.raises(kind, match=fault):
        await provider.launch(spec(package), package)
    assert cloud.servers == {}


async def test_a_server_that_is_still_built_by_an_agent_that_ended_is_listed_and_taken_up(
    cloud: FakeOpenstack, provider: OpenstackProvider, package: Path, tmp_path: Path
) -> None:
    (tmp_path / "heir").mkdir()
    heir = provider_of(cloud, tmp_path / "heir")
    await heir.start()
    cloud.builds_for = 150  # looks, which the first one takes as fast as it can
    launch = asyncio.create_task(provider.launch(spec(package), package))
    await until(lambda: bool(cloud.servers))
    (half,) = await heir.list_hosts()
    assert (half.is_running, half.ended) == (False, f"its server {lifecycle.HALF_MADE}")
    cloud.builds_for = 0
    assert (await heir.launch(spec(package), package)).is_running
    await launch
    assert len(cloud.servers) == 1
    await heir.close()


async def test_hosts_are_found_over_pages_and_one_listing_serves_all_who_wait(
    cloud: FakeOpenstack, provider: OpenstackProvider, package: Path
) -> None:
    await provider.start()
    before = provider._api.calls
    await asyncio.gather(*(provider.launch(spec(package, number), package) for number in range(10)))
    assert len(await provider.list_hosts()) == 10
    assert (provider._api.calls - before) / 10 <= 6


async def test_a_cloud_that_can_not_list_for_a_while_costs_no_launch(
    cloud: FakeOpenstack, provider: OpenstackProvider, package: Path
) -> None:
    cloud.listings_refused = 2 * TRIES_MAX
    assert (await provider.launch(spec(package), package)).is_running
    assert len(cloud.servers) == 1
    assert cloud.listings_refused == 0


async def test_the_server_group_goes_with_its_last_host(
    cloud: FakeOpenstack, provider: OpenstackProvider, package: Path
) -> None:
    await asyncio.gather(*(provider.launch(spec(package, number), package) for number in (1, 2)))
    assert [each["policy"] for each in cloud.groups.values()] == ["soft-anti-affinity"]
    await provider.destroy(HostName("shop-v001-1"))
    assert len(cloud.groups) == 1
    await provider.destroy(HostName("shop-v001-2"))
    assert cloud.groups == {}


# ------------------------------------------------------------------------------- groups, ports, gateways


async def test_more_hosts_than_a_server_group_takes_are_made_all_the_same(
    cloud: FakeOpenstack, provider: OpenstackProvider, package: Path
) -> None:
    cloud.members_max = 2
    hosts = [await provider.launch(spec(package, number), package) for number in range(4)]
    assert all(host.is_running for host in hosts)
    assert [len(each["members"]) for each in cloud.groups.values()] == [2]
    assert cloud.crowded == 1  # a group that is full is not tried with each host
    await provider.destroy(hosts[0].name)
    await provider.launch(spec(package, 9), package)
    assert [len(each["members"]) for each in cloud.groups.values()] == [2]


async def test_where_there_is_no_room_for_a_server_group_hosts_are_made_without(
    cloud: FakeOpenstack, provider: OpenstackProvider, package: Path
) -> None:
    cloud.groups_max = 0
    assert (await provider.launch(spec(package), package)).is_running
    assert cloud.groups == {}


async def test_a_server_group_that_somebody_deleted_costs_no_launch(
    cloud: FakeOpenstack, provider: OpenstackProvider, package: Path
) -> None:
    await provider.launch(spec(package, 1), package)
    cloud.groups.clear()
    assert (await provider.launch(spec(package, 2), package)).is_running
    assert (await provider.launch(spec(package, 3), package)).is_running
    assert [len(each["members"]) for each in cloud.groups.values()] == [1]


async def test_a_server_group_that_a_killed_agent_left_goes_with_the_next_one(
    cloud: FakeOpenstack, provider: OpenstackProvider, package: Path
) -> None:
    await provider.launch(spec(package), package)
    (group,) = cloud.groups.values()
    cloud.groups["leaked"] = {**group, "id": "leaked", "name": group["name"] + "-older", "members": []}
    cloud.groups["foreign"] = {**group, "id": "foreign", "name": "somebody-s", "members": []}
    await provider.destroy(HostName("shop-v001-1"))
    assert list(cloud.groups) == ["foreign"]


async def test_the_server_group_of_a_launch_that_failed_is_not_left(
    cloud: FakeOpenstack, provider: OpenstackProvider, package: Path
) -> None:
    cloud.faults = ["Build of instance aborted"]
    with pytest.raises(TransientError):
        await provider.launch(spec(package), package)
    assert (cloud.servers, cloud.groups) == ({}, {})


async def test_a_creation_that_a_gateway_gave_up_is_found_and_not_repeated(
    cloud: FakeOpenstack, provider: OpenstackProvider, package: Path
) -> None:
    cloud.given_up = 1
    assert (await provider.launch(spec(package), package)).is_running
    assert len(cloud.servers) == 1


async def test_ports_that_nova_left_are_removed_and_only_those_of_our_server(
    cloud: FakeOpenstack, provider: OpenstackProvider, package: Path
) -> None:
    cloud.leaves_ports = True
    await provider.launch(spec(package), package)
    cloud.ports["foreign"] = {"id": "foreign", "device_id": "somebody-s", "device_owner": "compute:nova"}
    await provider.destroy(HostName("shop-v001-1"))
    assert list(cloud.ports) == ["foreign"]


async def test_a_destruction_ends_when_the_server_is_gone_not_when_it_was_asked_for(
    cloud: FakeOpenstack, provider: OpenstackProvider, package: Path
) -> None:
    cloud.leaves_for = 1_000_000  # listings: as long as the test looks
    await provider.launch(spec(package), package)
    destruction = asyncio.create_task(provider.destroy(HostName("shop-v001-1")))
    await until(lambda: any("leaves_for" in each for each in cloud.servers.values()))
    assert await provider.list_hosts() == []
    assert not destruction.done()
    (server,) = cloud.servers.values()
    server["leaves_for"] = 0
    await destruction
    assert cloud.servers == {}


async def test_a_server_that_somebody_deletes_while_it_is_built_is_told(
    cloud: FakeOpenstack, provider: OpenstackProvider, package: Path
) -> None:
    cloud.builds_for = 1_000_000
    launch = asyncio.create_task(provider.launch(spec(package), package))
    await until(lambda: bool(cloud.servers))
    cloud._end(next(iter(cloud.servers)))
    with pytest.raises(TransientError, match="deleted, and not by repave"):
        await launch


# ---------------------------------------------------------------------------------- the cloud and its login


async def test_a_token_that_is_not_accepted_any_more_is_renewed(
    cloud: FakeOpenstack, provider: OpenstackProvider, package: Path
) -> None:
    await provider.launch(spec(package), package)
    cloud.expire_tokens()
    assert len(await provider.list_hosts()) == 1
    assert cloud.logins == 2


async def test_a_cacert_that_can_not_be_read_is_named(cloud: FakeOpenstack, tmp_path: Path) -> None:
    (tmp_path / "broken.pem").write_text("no PEM")
    for name in ("missing.pem", "broken.pem"):
        known = replace(cloud.cloud(region_name="one"), cacert=str(tmp_path / name))
        api = Api(known, QuickClock())
        with pytest.raises(RefusedError, match=f"cacert of the cloud: .*{name} can't be used"):
            await api.call("compute", "GET", "/limits")
        assert name in await api.greet_identity()


async def test_many_calls_with_an_old_token_cost_one_login(
    cloud: FakeOpenstack, provider: OpenstackProvider
) -> None:
    await provider.start()
    cloud.expire_tokens()
    await asyncio.gather(*(provider._api.call("compute", "GET", "/limits") for _ in range(8)))
    assert cloud.logins == 2


async def test_all_that_is_wrong_with_the_settings_is_told_at_once(
    cloud: FakeOpenstack, tmp_path: Path
) -> None:
    provider = provider_of(cloud, tmp_path, flavor="huge", image="raw", network="moon")
    with pytest.raises(RefusedError) as caught:
        await provider.start()
    await provider.close()
    assert str(caught.value).split("; ") == [
        "openstack.flavor: the project has no huge",
        "it has: small",
        "openstack.network: the project has no moon",
        "it has: fleet",
        "openstack.image: raw is queued, not active",
    ]


async def test_names_of_groups_keys_and_zones_and_the_size_of_the_flavor_are_looked_at_before(
    cloud: FakeOpenstack, tmp_path: Path
) -> None:
    provider = provider_of(
        cloud, tmp_path, security_groups=("open",), key_name="yours", availability_zones=("az1", "az3")
    )
    cloud.images[0]["min_disk"] = 20
    with pytest.raises(RefusedError) as caught:
        await provider.start()
    await provider.close()
    assert str(caught.value) == "; ".join([
        "openstack.security_groups: the project has no open; it has: default",
        "openstack.key_name: the project has no yours; it has: mine",
        "openstack.availability_zones: the project has no az3; it has: az1, az2",
        "openstack.flavor: small has disk 10, and image base needs 20",
    ])  # fmt: skip


async def test_an_image_that_was_exchanged_is_refused(cloud: FakeOpenstack, tmp_path: Path) -> None:
    provider = provider_of(cloud, tmp_path, image_hash="def")
    with pytest.raises(RefusedError, match="base has os_hash_value abc"):
        await provider.start()
    await provider.close()


async def test_a_region_that_the_catalogue_does_not_have_is_named(cloud: FakeOpenstack) -> None:
    api = Api(cloud.cloud(region_name="three"), QuickClock())
    with pytest.raises(RefusedError, match="the cloud's catalogue has no compute in region three"):
        await api.call("compute", "GET", "/flavors")
    await api.close()


async def test_what_does_not_fit_into_the_quota_is_said_before(
    cloud: FakeOpenstack, provider: OpenstackProvider
) -> None:
    cloud.instances_max = 3
    assert await provider.room(FindRoom(3)) == ""
    assert await provider.room(FindRoom(4)) == "instances: 0 of 3 are used, 4 more are needed"


def test_clouds_yaml_secure_yaml_and_variables_are_read_as_everybody_does(tmp_path: Path) -> None:
    (tmp_path / "clouds.yaml").write_text(
        "clouds: {home: {region_name: one, auth: {auth_url: 'http://k', username: u, project_name: p}}}"
    )
    (tmp_path / "secure.yaml").write_text("clouds: {home: {auth: {password: s}}}")
    environment = {"OS_CLIENT_CONFIG_FILE": str(tmp_path / "clouds.yaml"), "OS_CLOUD": "home"}
    found = load_cloud("", environment)
    assert (found.auth_url, found.region_name, found.auth["password"]) == ("http://k/v3", "one", "s")
    with pytest.raises(RefusedError, match=r"clouds\.yaml has no cloud work; it has: home"):
        load_cloud("work", environment)
    with pytest.raises(RefusedError, match="OS_AUTH_URL is not set"):
        load_cloud("", {})
    by_credential = {"APPLICATION_CREDENTIAL_ID": "a", "APPLICATION_CREDENTIAL_SECRET": "b"}
    named = {f"OS_{name}": value for name, value in by_credential.items()}
    identity = load_cloud("", {"OS_AUTH_URL": "http://k/v3/", **named}).login()["auth"]["identity"]
    assert identity["application_credential"] == {"id": "a", "secret": "b"}


# ------------------------------------------------------------------------------------------------ user data


async def test_what_a_server_runs_at_its_first_boot_fetches_checks_and_starts(
    cloud: FakeOpenstack, provider: OpenstackProvider, package: Path, tmp_path: Path
) -> None:
    provider._servers._options = OpenstackOptions(
        flavor="small", image="base", network="fleet", prepare=f"ROOT={tmp_path}/server HOST=127.9.9.9"
    )
    evil = "a b'c\"d $(touch /tmp/evil) `id`"
    tells = 'printf "%s|%s|%s" "$$COLOUR" "$$1" "$$HOST" >"$$OUT"; env >"$$OUT.env"'
    words = ("sh", "-c", tells, "-", "at $HOST:$PORT")
    wanted = HostSpec(
        HostName("shop-v001-1"), GroupName("shop-v001"), ApplicationName("shop"), sha256_of(package),
        a_template(words, (("COLOUR", evil), ("OUT", str(tmp_path / "out")))), released_at=RELEASED,
    )  # fmt: skip
    await provider.launch(wanted, package)
    (server,) = cloud.servers.values()
    script = tmp_path / "user-data"
    script.write_bytes(base64.b64decode(server["user_data"]))
    done = await asyncio.to_thread(
        subprocess.run, ["sh", str(script)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out").read_text() == f"{evil}|at 127.9.9.9:8080|127.9.9.9"
    found = {line.partition("=")[0] for line in (tmp_path / "out.env").read_text().splitlines()}
    ours = {f"REPAVE_{name}" for name in ("HOST", "GROUP", "APPLICATION", "REGION", "DIGEST")}
    assert found - {"PWD", "SHLVL", "_"} == {"PATH", "COLOUR", "OUT", "HOST", "PORT", *ours}
    assert "repave: exited 0" in done.stdout
    page = (tmp_path / "server" / "packages" / wanted.digest / "app" / "page.html").stat()
    assert (page.st_mode & 0o7777, page.st_mtime) == (0o444, RELEASED)


async def test_a_server_that_gets_another_package_starts_nothing(
    cloud: FakeOpenstack, provider: OpenstackProvider, package: Path, tmp_path: Path
) -> None:
    provider._servers._options = OpenstackOptions(
        flavor="small", image="base", network="fleet", prepare=f"ROOT={tmp_path}/server"
    )
    await provider.launch(spec(package), package)
    package.write_bytes(b"something else")
    (server,) = cloud.servers.values()
    script = tmp_path / "user-data"
    script.write_bytes(base64.b64decode(server["user_data"]))
    done = await asyncio.to_thread(
        subprocess.run, ["sh", str(script)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 65
    assert "what arrived has another SHA-256" in done.stderr


async def test_only_who_knows_the_word_gets_a_package(tmp_path: Path, package: Path) -> None:
    import aiohttp

    depot = Depot(tmp_path, "127.0.0.1:0")
    await depot.start()
    url = depot.offer(sha256_of(package), package)
    async with aiohttp.ClientSession() as client:
        async with client.get(url) as answer:
            assert (answer.status, await answer.read()) == (200, package.read_bytes())
        for wrong in (
            url.replace("/packages/", "/packages/x"),
            url[:-1] + "0",
            url.rpartition("/")[0] + "/..%2f",
        ):
            async with client.get(wrong) as answer:
                assert answer.status == 404
    await depot.close()
    assert Depot(tmp_path, "127.0.0.1:0").offer(Digest("d"), package).endswith(url.split("/")[-2] + "/d")


@pytest.mark.parametrize("word", ["plain", "it's", '"', "$HOME `id` \\", "", "line\nline", f"x{ON_SERVER}y'"])
def test_a_quoted_word_is_that_word_to_a_shell(word: str) -> None:
    done = subprocess.run(
        ["sh", "-c", f"HOST=h; printf %s {quoted(word)}"], capture_output=True, text=True, check=True
    )
    assert done.stdout == word.replace(ON_SERVER, "h")


def test_user_data_that_gets_too_long_is_refused() -> None:
    with pytest.raises(RefusedError, match="shorten run, env or prepare"):
        user_data(HostName("a"), Digest("d"), "http://x", ["x" * 50_000], {})


async def test_nothing_is_run_inside_and_the_reason_is_said(provider: OpenstackProvider) -> None:
    with pytest.raises(ProviderError, match=r"use health\.http or health\.tcp"):
        await provider.execute(HostName("shop-v001-1"), ("true",), 1.0)


# ---------------------------------------------------------------------------------------- machine images


def of_image(package: Path, image: str, number: int = 1) -> HostSpec:
    made = spec(package, number)
    return replace(made, template=replace(made.template, machine_image=image))


async def test_a_spec_may_name_another_image_than_the_settings(
    cloud: FakeOpenstack, provider: OpenstackProvider, package: Path
) -> None:
    cloud.images.append({**cloud.images[0], "id": "image-two", "name": "debian-13"})
    await provider.launch(spec(package, 1), package)
    await provider.launch(of_image(package, "debian-13", 2), package)
    await provider.launch(of_image(package, "image-two", 3), package)
    booted = {server["name"]: server["image"]["id"] for server in cloud.servers.values()}
    base = cloud.images[0]["id"]
    assert booted == {"shop-v001-1": base, "shop-v001-2": "image-two", "shop-v001-3": "image-two"}


async def test_an_image_that_is_not_there_is_refused_before_a_server_is_made(
    cloud: FakeOpenstack, provider: OpenstackProvider, package: Path
) -> None:
    with pytest.raises(RefusedError, match="there is no image debian-99"):
        await provider.launch(of_image(package, "debian-99"), package)
    assert cloud.servers == {}
