"""What a fresh host is made of in one region: `host`, and over it what `regions` says."""

from collections.abc import Iterator
from typing import Any

from repave_controller.core.domain.overlays import AS_THE_TEMPLATE, Overlay
from repave_controller.spec.quantities import fill
from repave_controller.spec.regions import Region
from repave_controller.spec.sections import ENVIRONMENT_MAX, NO_MACHINE_IMAGE, Host, contradiction
from repave_protos.protocol.values import HostTemplate

Place = tuple[str | int, ...]
"""Where in a spec something is written."""


def machine_in(host: Host, region: Region, index: int, option: str) -> tuple[Any, Place]:
    """What holds of `image`, `size` or `spot` in the region, which is the spec's `index`-th, and where that
    is written."""
    own = getattr(region.host, option) if region.host is not None else None
    return (
        (own, ("regions", index, "host", option))
        if own is not None
        else (getattr(host, option), ("host", option))
    )


def check_region(host: Host, region: Region, index: int) -> None:
    """Raises where `host` and what the region says contradict each other."""
    if len(host.env.keys() | region.env.keys()) > ENVIRONMENT_MAX:
        raise contradiction(
            f"with host.env these are more than {ENVIRONMENT_MAX} variables", ("regions", index, "env")
        )
    for name, secret in host.secrets.items():
        found = f"{name}_FILE" if secret.form == "file" else name
        if found in region.env:
            text = f"{found} is set by host.secrets.{name}: leave it out of one"
            raise contradiction(text, ("host", "secrets", name), ("regions", index, "env", found))
    image, written = machine_in(host, region, index, "image")
    for option in ("size", "spot"):
        chosen, where = machine_in(host, region, index, option)
        if image == NO_MACHINE_IMAGE and chosen and (written, where) != (("host", "image"), ("host", option)):
            text = "a host on what is there is no machine of its own: leave it out, or image: local"
            raise contradiction(text, written, where)


def overlays(
    host: Host, template: HostTemplate, regions: tuple[Region, ...], version: str, app: str
) -> Iterator[tuple[str, Overlay]]:
    """By region, sorted: what its hosts are made of where that is not what `template` says."""
    for index, region in sorted(enumerate(regions), key=lambda each: each[1].name):
        overlay = _overlay(host, template, region, index, version, app)
        if overlay != AS_THE_TEMPLATE:
            yield region.name, overlay


def _overlay(
    host: Host, template: HostTemplate, region: Region, index: int, version: str, app: str
) -> Overlay:
    written = sorted({**host.env, **region.env}.items())
    environment = tuple((name, fill(value, version, app, region.name)) for name, value in written)
    image, _ = machine_in(host, region, index, "image")
    image = "" if image in (None, NO_MACHINE_IMAGE) else fill(image, version, app, region.name)
    size, _ = machine_in(host, region, index, "size")
    spot, _ = machine_in(host, region, index, "spot")
    return Overlay(
        environment if environment != template.environment else None,
        image if image != template.machine_image else None,
        (size or ()) if (size or ()) != template.machine_sizes else None,
        spot if spot != template.is_spot else None,
    )
