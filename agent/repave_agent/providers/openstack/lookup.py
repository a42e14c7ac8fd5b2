"""What a server of a region is asked for, and the cloud's ids of what the settings name."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from repave_agent.clients.faults import GoneError
from repave_agent.clients.openstack.api import Api
from repave_agent.clients.yaml_file import parse_yaml
from repave_agent.core.ports import RefusedError, TransientError
from repave_agent.providers.cloud.cloud_init import kind_of, merged
from repave_agent.providers.cloud.first_boot import user_data
from repave_agent.providers.openstack.options import OpenstackOptions
from repave_agent.providers.openstack.ports import listed
from repave_agent.providers.openstack.spread import PATH as SERVER_GROUPS
from repave_agent.providers.openstack.volumes import SERVICE as VOLUMES
from repave_agent.providers.openstack.volumes import disk_from
from repave_protos.daemon.files import read_file
from repave_protos.protocol.values import Digest, HostName

USER_DATA_MAX = 65_535
"""Characters of base64 that Nova takes."""
OTHER_YAML = ("binary",)
"""What a #cloud-config may hold beside plain values: content of files."""
NONE_OF_NAME, NO_IMAGE = "the project has no", "there is no image"


class MissingError(RefusedError):
    """What settings name is not there. `settings`: those by which every host is made."""

    def __init__(self, text: str, settings: tuple[str, ...]) -> None:
        super().__init__(text)
        self.settings = settings


@dataclass(frozen=True, slots=True)
class Found:
    """Ids of what the settings name."""

    flavor: str = ""
    image: str = ""
    networks: tuple[str, ...] = ()  # of the interfaces, in their order
    network_name: str = ""  # of the primary one
    has_ipv4: bool = True  # of the primary one
    ports: tuple[str, ...] = ()
    ports_network: str = ""  # which all of them are in
    pool: str = ""  # the external network of floating addresses
    hints: Mapping[str, Any] = field(default_factory=dict)
    cloud_init: str = ""  # the operator's own, not an id
    flavors: tuple[dict[str, Any], ...] = field(default=(), compare=False)  # all that there are

    @property
    def network(self) -> str:
        return self.networks[0] if self.networks else ""


def server_of(
    options: OpenstackOptions, found: Found, script: str, metadata: Mapping[str, str], port: str = ""
) -> dict[str, Any]:
    """All that a server is asked for with but name, tags and place. It runs `script` at its first boot, and
    has `port` in the network of the ports. Raises RefusedError when that gets too long."""
    server: dict[str, Any] = {
        "imageRef": found.image,
        "flavorRef": found.flavor,
        "networks": _interfaces(found, port),
        "metadata": {**options.metadata, **metadata},
        "user_data": _encoded(script, found.cloud_init),
        "config_drive": options.config_drive,
    }
    if options.key_name:
        server["key_name"] = options.key_name
    if options.security_groups:
        server["security_groups"] = [{"name": name} for name in options.security_groups]
    return server


def on_volume(options: OpenstackOptions, found: Found) -> dict[str, Any]:
    """What is asked for beside, where the settings want volumes."""
    if not options.volume_size:
        return {}
    return disk_from(found.image, options.volume_size, options.volume_type)


def _interfaces(found: Found, port: str) -> list[dict[str, str]]:
    asked = [{"uuid": network} for network in found.networks]
    if port:
        asked[found.networks.index(found.ports_network)] = {"port": port}
    return asked


def _encoded(script: str, own: str) -> str:
    encoded = base64.b64encode(merged(script, own).encode()).decode()
    if len(encoded) > USER_DATA_MAX:
        raise RefusedError(
            f"the user data has {len(encoded):,} characters as base64, Nova takes {USER_DATA_MAX:,}: shorten "
            f"openstack.cloud_init ({len(own.encode()):,} bytes), run, env or prepare"
        )
    return encoded


async def look_up(api: Api, options: OpenstackOptions) -> Found:
    """Looks everything up. Raises RefusedError with all that is not there, and what is; TransientError while
    the cloud lists nothing at all, as one that has just been started does."""
    flavors = await _listed(api, "compute", "/flavors/detail", "flavors")
    networks = await _listed(api, "network", "/networks", "networks")
    flavor, no_flavor = _flavor(options, flavors)
    ports, no_ports = await _ports(api, options)
    interfaces, no_network = _networks(options, ports, networks)
    pool, no_pool = _pool(options, networks)
    wrong = [*no_flavor, *no_network, *no_ports, *no_pool, *await _missing_extras(api, options)]
    image, problem = await _image(api, options)
    if problem:
        wrong.append(problem)
    elif flavor is not None:
        wrong += _too_small(options, flavor, image)
    hints, no_hints = await _hints(api, options)
    own, no_cloud_init = _own_cloud_init(options)
    wrong += [*no_hints, *no_cloud_init, *await _missing_volume_type(api, options)]
    if wrong:
        named = {"flavor": no_flavor, "image": [problem], "network": no_network, "ports": no_ports}
        missing = (name for name, problems in named.items() if any(map(_is_missing, problems)))
        raise MissingError("; ".join(wrong), tuple(f"openstack.{each}" for each in missing))
    assert flavor is not None
    primary = interfaces[0]
    return Found(
        flavor["id"],
        image["id"],
        tuple(each["id"] for each in interfaces),
        primary["name"],
        await _has_ipv4(api, primary),
        tuple(each["id"] for each in ports),
        ports[0]["network_id"] if ports else "",
        pool,
        hints,
        own,
        tuple(flavors),
    )


def _flavor(
    options: OpenstackOptions, there: list[dict[str, Any]]
) -> tuple[dict[str, Any] | None, list[str]]:
    """The usual one, and what is wrong with it and with those that words stand for."""
    flavor, wrong = _one("flavor", options.usual_flavors[0], there)
    for word, names in options.sizes.items():
        wrong += [problem for name in names for problem in _one(f"sizes.{word}", name, there)[1]]
    return flavor, wrong


def _networks(
    options: OpenstackOptions, ports: Sequence[dict[str, Any]], there: list[dict[str, Any]]
) -> tuple[list[dict[str, Any]], list[str]]:
    """Of the interfaces in their order: that of the ports is the first where the settings do not name it."""
    setting = "networks" if options.networks else "network"
    named = options.all_networks or (("",) if not ports else ())
    pairs = [_one(setting, name, there) for name in named]
    found = [network for network, _ in pairs if network is not None]
    wrong = [each for _, problems in pairs for each in problems]
    if ports and ports[0]["network_id"] not in [each["id"] for each in found]:
        found[:0] = [each for each in there if each["id"] == ports[0]["network_id"]]
    return found, wrong


async def _ports(api: Api, options: OpenstackOptions) -> tuple[list[dict[str, Any]], list[str]]:
    """In the order of the settings, which name them by name or id."""
    named = options.ports
    there = [*await listed(api, "id", named), *await listed(api, "name", named)]
    found: list[dict[str, Any]] = []
    wrong: list[str] = []
    for name in named:
        fitting = {each["id"]: each for each in there if name in (each["id"], each["name"])}
        if len(fitting) > 1:
            ids = ", ".join(sorted(fitting))
            wrong.append(f"openstack.ports: {len(fitting)} are called {name}: name one by its id: {ids}")
        elif not fitting:
            wrong.append(f"openstack.ports: {NONE_OF_NAME} {name}")
        elif twice := next((each for each in found if each["id"] in fitting), None):
            wrong.append(f"openstack.ports: {name} is named twice ({twice['id']})")
        else:
            found += fitting.values()
    networks = sorted({each["network_id"] for each in found})
    if len(networks) > 1:
        wrong.append(
            f"openstack.ports: they are in {len(networks)} networks ({', '.join(networks)}): each server "
            "gets one of them, so all must be in one"
        )
    return found, wrong


def _pool(options: OpenstackOptions, there: list[dict[str, Any]]) -> tuple[str, list[str]]:
    """The id of the external network that floating addresses are of."""
    if not options.floating_ip_pool:
        return "", []
    external = [each for each in there if each.get("router:external")]
    found, wrong = _one("floating_ip_pool", options.floating_ip_pool, external)
    if found is not None:
        return str(found["id"]), []
    named = options.floating_ip_pool
    if any(named in (each["id"], each["name"]) for each in there):
        names = ", ".join(sorted(each["name"] for each in external)) or "none"
        return "", [f"openstack.floating_ip_pool: {named} is no external network; there are: {names}"]
    return "", wrong


async def _hints(api: Api, options: OpenstackOptions) -> tuple[dict[str, Any], list[str]]:
    """With the id of a server group, which may be named."""
    hints: dict[str, Any] = {
        name: value if isinstance(value, str) else list(value) for name, value in options.hints.items()
    }
    if "group" not in hints:
        return hints, []
    there = await api.list_all("compute", SERVER_GROUPS, "server_groups")
    group, wrong = _one("hints.group", str(hints["group"]), there)
    return {**hints, "group": group["id"] if group else ""}, wrong


def _own_cloud_init(options: OpenstackOptions) -> tuple[str, list[str]]:
    """The operator's own user data, as the file says now."""
    path = options.cloud_init
    if path is None:
        return "", []
    try:
        content = read_file(path)
        text = content.decode()
        kind = kind_of(text)
        if kind == "cloud-config" and not isinstance(parse_yaml(content, path, OTHER_YAML), dict | None):
            raise RefusedError(f"{path}: expected options such as packages: [jq]")
        sample = user_data(
            HostName("host"), Digest("0" * 64), "http://host/" + "0" * 128, [], {}, options.prepare
        )
        _encoded(sample, text)
    except OSError as error:
        return "", [f"openstack.cloud_init: {path} can't be read: {error.strerror or error}"]
    except UnicodeDecodeError:
        return "", [f"openstack.cloud_init: {path} is no UTF-8 text"]
    except ValueError as error:
        return "", [f"openstack.cloud_init: {path}: {error}"]
    except RefusedError as error:
        return "", [f"openstack.cloud_init: {error}"]
    return text, []


async def _missing_volume_type(api: Api, options: OpenstackOptions) -> list[str]:
    if not options.volume_size:
        return []
    try:
        types = await api.list_all(VOLUMES, "/types", "volume_types")
    except RefusedError as error:
        return [f"openstack.volume_size: {error}"]
    named = options.volume_type
    there = [] if not named or any(named in (each["id"], each["name"]) for each in types) else [named]
    return _missing("volume_type", there, types)


async def _listed(api: Api, service: str, path: str, what: str) -> list[dict[str, Any]]:
    if there := await api.list_all(service, path, what):
        return there
    raise TransientError(f"the cloud lists no {what} at all for project {api.project_id}")


def flavor_named(name: str, found: Found) -> dict[str, Any] | None:
    """None where there is none, or several."""
    return _one("flavor", name, list(found.flavors))[0]


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


def _is_missing(problem: str) -> bool:
    """Not there, rather than there twice or of no use."""
    return NO_IMAGE in problem or NONE_OF_NAME in problem


def _missing(setting: str, named: list[str], there: list[dict[str, Any]]) -> list[str]:
    names = ", ".join(sorted({each["name"] for each in there})) or "none"
    return [
        f"openstack.{setting}: {NONE_OF_NAME} {name}; it has: {names}"
        if name
        else f"openstack.{setting} is not set: name one of: {names}"
        for name in named
    ]


def _too_small(options: OpenstackOptions, flavor: dict[str, Any], image: dict[str, Any]) -> list[str]:
    """Nova would refuse every server. A flavor with disk 0 takes the image's size."""
    needs = {"ram": image.get("min_ram") or 0, "disk": image.get("min_disk") or 0}
    if 0 < options.volume_size < needs["disk"]:
        return [f"openstack.volume_size: image {options.image} needs {needs['disk']} GiB"]
    return [
        f"openstack.flavor: {options.flavor} has {what} {flavor[what]}, "
        f"and image {options.image} needs {need}"
        for what, need in needs.items()
        if need > flavor[what] and not (what == "disk" and (flavor[what] == 0 or options.volume_size))
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
    named = options.all_networks
    first = len(now.networks) - len(named)  # that of the ports may come before
    pairs = (
        ("flavor", options.flavor, before.flavor, now.flavor),
        ("image", options.image, before.image, now.image),
        *(
            ("network", *each)
            for each in zip(named, before.networks[first:], now.networks[first:], strict=False)
        ),
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
            return {}, f"{NO_IMAGE} {name}"
    if len(images) > 1:
        return {}, f"{len(images)} images are called {name}: name one by its id"
    (image,) = images
    if image["status"] != "active":
        return {}, f"{name} is {image['status']}, not active"
    return image, ""
