"""What every server of a region is like, and by which ids the cloud knows that."""

from dataclasses import dataclass, field

from repave_agent.ports import ProviderError, RefusedError
from repave_agent.providers.openstack_api import Api


@dataclass(frozen=True, slots=True)
class Shape:
    """What every server of the region is like. `image`, `flavor` and `network` are names or ids."""

    flavor: str
    image: str
    network: str
    image_hash: str = ""
    security_groups: tuple[str, ...] = ()
    availability_zones: tuple[str, ...] = ()
    key_name: str = ""
    metadata: dict[str, str] = field(default_factory=dict)
    prepare: str = ""
    spreads: bool = True
    config_drive: bool = True


@dataclass(frozen=True, slots=True)
class Found:
    """Ids of what the shape names."""

    flavor: str = ""
    image: str = ""
    network: str = ""
    network_name: str = ""


async def found_in(api: Api, shape: Shape) -> Found:
    """Looks everything up. Raises RefusedError with all that is not there, and what is."""
    wrong = []
    flavors = await api.listed("compute", "/flavors", "flavors")
    networks = await api.listed("network", "/networks", "networks")
    flavor = next((each for each in flavors if shape.flavor in (each["id"], each["name"])), None)
    network = next((each for each in networks if shape.network in (each["id"], each["name"])), None)
    if flavor is None:
        names = ", ".join(sorted(each["name"] for each in flavors))
        wrong.append(f"openstack.flavor: the project has no {shape.flavor}; it has: {names}")
    if network is None:
        names = ", ".join(sorted(each["name"] for each in networks))
        wrong.append(f"openstack.network: the project has no {shape.network}; it has: {names}")
    image, problem = await _image(api, shape)
    if wrong := [*wrong, *([problem] if problem else [])]:
        raise RefusedError("; ".join(wrong))
    assert flavor is not None
    assert network is not None
    return Found(flavor["id"], image, network["id"], network["name"])


async def _image(api: Api, shape: Shape) -> tuple[str, str]:
    """The id of the image, and what is wrong with it."""
    wanted = shape.image
    images = await api.listed("image", "/images", "images", name=wanted)
    if not images:
        try:
            images = [await api.call("image", "GET", f"/images/{wanted}")]
        except ProviderError:
            return "", f"openstack.image: there is no image {wanted}"
    if len(images) > 1:
        return "", f"openstack.image: {len(images)} images are called {wanted}: name one by its id"
    (image,) = images
    if image["status"] != "active":
        return "", f"openstack.image: {wanted} is {image['status']}, not active"
    if shape.image_hash and image.get("os_hash_value") != shape.image_hash:
        return "", f"openstack.image_hash: {wanted} has os_hash_value {image.get('os_hash_value')}"
    return str(image["id"]), ""
