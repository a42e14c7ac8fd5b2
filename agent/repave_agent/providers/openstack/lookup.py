"""What a server of a region is asked for, and the cloud's ids of what the settings name."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from repave_agent.clients.faults import GoneError
from repave_agent.clients.openstack.api import Api
from repave_agent.core.ports import RefusedError, TransientError
from repave_agent.providers.openstack.options import OpenstackOptions


@dataclass(frozen=True, slots=True)
class Found:
    """Ids of what the settings name."""

    flavor: str = ""
    image: str = ""
    network: str = ""
    network_name: str = ""
    has_ipv4: bool = True  # of the network


def server_of(
    options: OpenstackOptions, found: Found, script: str, metadata: Mapping[str, str]
) -> dict[str, Any]:
    """All that a server is asked for with but name, tags and place. It runs `script` at its first boot."""
    server: dict[str, Any] = {
        "imageRef": found.image,
        "flavorRef": found.flavor,
        "networks": [{"uuid": found.network}],
        "metadata": {**options.metadata, **metadata},
        "user_data": base64.b64encode(script.encode()).decode(),
        "config_drive": options.config_drive,
    }
    if options.key_name:
        server["key_name"] = options.key_name
    if options.security_groups:
        server["security_groups"] = [{"name": name} for name in options.security_groups]
    return server


async def look_up(api: Api, options: OpenstackOptions) -> Found:
    """Looks everything up. Raises RefusedError with all that is not there, and what is; TransientError while
    the cloud lists nothing at all, as one that has just been started does."""
    flavors = await _listed(api, "compute", "/flavors/detail", "flavors")
    networks = await _listed(api, "network", "/networks", "networks")
    flavor, no_flavor = _one("flavor", options.flavor, flavors)
    network, no_network = _one("network", options.network, networks)
    wrong = [*no_flavor, *no_network, *await _missing_extras(api, options)]
    image, problem = await _image(api, options)
    if problem:
        wrong.append(problem)
    elif flavor is not None:
        wrong += _too_small(options, flavor, image)
    if wrong:
        raise RefusedError("; ".join(wrong))
    assert flavor is not None
    assert network is not None
    has_ipv4 = await _has_ipv4(api, network)
    return Found(flavor["id"], image["id"], network["id"], network["name"], has_ipv4)


async def _listed(api: Api, service: str, path: str, what: str) -> list[dict[str, Any]]:
    if there := await api.list_all(service, path, what):
        return there
    raise TransientError(f"the cloud lists no {what} at all for project {api.project_id}")


def _one(setting: str, named: str, there: list[dict[str, Any]]) -> tuple[dict[str, Any] | None, list[str]]:
    """What the setting names, by its id or its name, and what is wrong with that."""
    found = [each for each in there if each["id"] == named] or [
        each for each in there if each["name"] == named
    ]
    if len(found) > 1:
        ids = ", ".join(sorted(each["id"] for each in found))
        return None, [f"openstack.{setting}: {len(found)} are called {named}: name one by its id: {ids}"]
    return (found[0], []) if found else (None, _missing(setting, [named], there))


async def _has_ipv4(api: Api, network: dict[str, Any]) -> bool:
    """A network that lists no subnet at all may be another project's, which does not show them."""
    subnets = await api.list_all("network", "/subnets", "subnets", network_id=network["id"])
    return not subnets or any(each["ip_version"] == 4 for each in subnets)


async def _missing_extras(api: Api, options: OpenstackOptions) -> list[str]:
    """What is asked for only where the settings name it."""
    wrong: list[str] = []
    if options.security_groups:
        there = await api.list_all("network", "/security-groups", "security_groups")
        own = [each for each in there if each.get("project_id", api.project_id) == api.project_id]
        there = own or there  # an administrator is shown those of every project
        for name in options.security_groups:
            wrong += _one("security_groups", name, there)[1]
    if options.key_name:
        pairs = [each["keypair"] for each in await api.list_all("compute", "/os-keypairs", "keypairs")]
        names = [each["name"] for each in pairs]
        wrong += _missing("key_name", [] if options.key_name in names else [options.key_name], pairs)
    if options.availability_zones:
        answer = await api.call("compute", "GET", "/os-availability-zone")
        zones = [
            {"name": each["zoneName"]}
            for each in answer["availabilityZoneInfo"]
            if each["zoneState"]["available"]
        ]
        gone = [x for x in options.availability_zones if {"name": x} not in zones]
        wrong += _missing("availability_zones", gone, zones)
    return wrong


def _missing(setting: str, named: list[str], there: list[dict[str, Any]]) -> list[str]:
    names = ", ".join(sorted({each["name"] for each in there})) or "none"
    return [
        f"openstack.{setting}: the project has no {name}; it has: {names}"
        if name
        else f"openstack.{setting} is not set: name one of: {names}"
        for name in named
    ]


def _too_small(options: OpenstackOptions, flavor: dict[str, Any], image: dict[str, Any]) -> list[str]:
    """Nova would refuse every server. A flavor with disk 0 takes the image's size."""
    needs = {"ram": image.get("min_ram") or 0, "disk": image.get("min_disk") or 0}
    return [
        f"openstack.flavor: {options.flavor} has {what} {flavor[what]}, "
        f"and image {options.image} needs {need}"
        for what, need in needs.items()
        if need > flavor[what] and not (what == "disk" and flavor[what] == 0)
    ]


async def _image(api: Api, options: OpenstackOptions) -> tuple[dict[str, Any], str]:
    """The image of the settings, and what is wrong with it."""
    if not options.image:
        return {}, "openstack.image is not set: name an image by its name or id"
    image, problem = await _find_image(api, options.image)
    if problem:
        return {}, f"openstack.image: {problem}"
    if options.image_hash and image.get("os_hash_value") != options.image_hash:
        return {}, f"openstack.image_hash: {options.image} has os_hash_value {image.get('os_hash_value')}"
    return image, ""


def remade(before: Found | None, now: Found, options: OpenstackOptions) -> list[str]:
    """What has another id than before, and its old name: it was deleted and made again."""
    if before is None:
        return []
    pairs = (
        ("flavor", options.flavor, before.flavor, now.flavor),
        ("image", options.image, before.image, now.image),
        ("network", options.network, before.network, now.network),
    )
    return [f"openstack.{setting}: {name}" for setting, name, old, new in pairs if old != new]


async def look_up_image(api: Api, name: str) -> str:
    """The id of the image that a spec names, by its name or id. Raises RefusedError."""
    image, problem = await _find_image(api, name)
    if problem:
        raise RefusedError(f"host.image: {problem}")
    return str(image["id"])


async def _find_image(api: Api, name: str) -> tuple[dict[str, Any], str]:
    """The image, and what is wrong with it."""
    images = await api.list_all("image", "/images", "images", name=name)
    if not images:
        try:
            images = [await api.call("image", "GET", f"/images/{quote(name, safe='')}")]
        except GoneError:
            return {}, f"there is no image {name}"
    if len(images) > 1:
        return {}, f"{len(images)} images are called {name}: name one by its id"
    (image,) = images
    if image["status"] != "active":
        return {}, f"{name} is {image['status']}, not active"
    return image, ""
