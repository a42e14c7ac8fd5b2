"""Which cloud the agent logs in to, from settings, clouds.yaml, its profiles, and variables."""

from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from repave_agent.balancers.octavia import OctaviaOptions, _as_openstack
from repave_agent.clients.openstack import CloudOptions
from repave_agent.clients.openstack.api import Api
from repave_agent.clients.openstack.login import Cloud, cloud_of
from repave_agent.core.ports import RefusedError
from repave_agent.kinds import Site
from repave_agent.registry import installed
from tests.fakes.clock import QuickClock
from tests.fakes.clouds.openstack import FakeOpenstack, served

AUTH = {"auth_url": "http://k", "username": "u", "password": "p", "project_name": "d"}


def found(tmp_path: Path, cloud: dict[str, Any], environment: dict[str, str], **options: Any) -> Cloud:
    file = tmp_path / "clouds.yaml"
    YAML().dump({"clouds": {"home": {"auth": AUTH, **cloud}}}, file)
    variables = {"OS_CLIENT_CONFIG_FILE": str(file), **environment}
    return cloud_of(CloudOptions(cloud="home", **options), variables)


@pytest.mark.parametrize(
    ("cloud", "environment", "options", "interface"),
    [
        ({}, {}, {}, "public"),
        ({"interface": "internal"}, {}, {}, "internal"),
        ({"interface": "internalURL"}, {}, {}, "internal"),
        ({"endpoint_type": "adminURL"}, {}, {}, "admin"),
        ({}, {"OS_INTERFACE": "internal"}, {}, "internal"),
        ({}, {"OS_ENDPOINT_TYPE": "internalURL"}, {}, "internal"),
        ({"interface": "public"}, {"OS_INTERFACE": "internal"}, {}, "public"),
        ({"interface": "public"}, {}, {"interface": "internal"}, "internal"),
    ],
)
def test_the_interface_is_that_of_settings_then_clouds_yaml_then_variables(
    tmp_path: Path,
    cloud: dict[str, Any],
    environment: dict[str, str],
    options: dict[str, Any],
    interface: str,
) -> None:
    assert found(tmp_path, cloud, environment, **options).interface == interface


def test_an_interface_that_there_is_not_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match="interface of the cloud: private: write one of public, internal"):
        found(tmp_path, {"interface": "private"}, {})


@pytest.mark.parametrize(
    ("cloud", "options", "region"),
    [
        ({}, {}, ""),
        ({"region_name": "one"}, {}, "one"),
        ({"regions": ["one", "two"]}, {}, "one"),
        ({"regions": [{"name": "one", "values": {}}, "two"]}, {}, "one"),
        ({"regions": ["one", "two"], "region_name": "two"}, {}, "two"),
        ({"regions": ["one", "two"]}, {"region_name": "two"}, "two"),
        ({"regions": "odd"}, {}, ""),
    ],
)
def test_the_region_is_that_of_the_settings_then_of_the_cloud(
    tmp_path: Path, cloud: dict[str, Any], options: dict[str, Any], region: str
) -> None:
    assert found(tmp_path, cloud, {}, **options).region_name == region


@pytest.mark.parametrize(
    ("cloud", "verifies"),
    [({}, True), ({"verify": False}, False), ({"insecure": True}, False), ({"verify": "false"}, False)],
)
def test_certificates_are_verified_unless_the_cloud_says_otherwise(
    tmp_path: Path, cloud: dict[str, Any], verifies: bool
) -> None:
    assert found(tmp_path, cloud, {}).verifies is verifies


def test_the_cacert_of_the_settings_counts(tmp_path: Path) -> None:
    assert found(tmp_path, {"cacert": "/a.pem"}, {}).cacert == "/a.pem"
    assert found(tmp_path, {"cacert": "/a.pem"}, {}, cacert=Path("/b.pem")).cacert == "/b.pem"


@pytest.mark.parametrize(
    ("profile", "options", "url", "region"),
    [
        ("elastx", {}, "https://ops.elastx.cloud:5000/v3", "se-sto"),
        ("otc", {}, "https://iam.eu-de.otc.t-systems.com/v3", "eu-de"),
        ("otc", {"region_name": "eu-nl"}, "https://iam.eu-nl.otc.t-systems.com/v3", "eu-nl"),
    ],
)
def test_a_vendor_that_everybody_s_tools_know_needs_no_clouds_public_yaml(
    tmp_path: Path, profile: str, options: dict[str, Any], url: str, region: str
) -> None:
    login = {"username": "u", "password": "p", "project_name": "d"}
    cloud = found(tmp_path, {"profile": profile, "auth": login}, {}, **options)
    assert (cloud.auth_url, cloud.region_name) == (url, region)


def test_octavia_s_cloud_is_that_of_the_servers_but_for_what_its_settings_say(tmp_path: Path) -> None:
    section = {"cloud": "home", "interface": "internal", "region_name": "one"}
    settings = installed().settings_model().model_validate({"region": "here", "openstack": section})
    taken = _as_openstack(OctaviaOptions(interface="public"), Site(settings, QuickClock()))
    assert (taken.cloud, taken.interface, taken.region_name) == ("home", "public", "one")


async def test_the_services_are_called_at_the_interface_and_another_one_is_named() -> None:
    async with served(FakeOpenstack()) as fake:
        api = Api(fake.cloud(region_name="one", interface="internal"), QuickClock())
        assert await api._endpoint("compute") == f"{fake.url}/inside/compute"
        await api.close()
        api = Api(fake.cloud(region_name="one", interface="admin"), QuickClock())
        with pytest.raises(RefusedError) as caught:
            await api._endpoint("compute")
        assert str(caught.value) == (
            "the cloud's catalogue has no compute in region one for interface admin: correct region_name or "
            "interface of the cloud; it has: internal in one, public in one, public in two"
        )
        await api.close()
