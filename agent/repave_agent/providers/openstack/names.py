"""What the settings and specs name, as ids of the cloud that are kept: looked up once, and again when a
launch is refused, for a flavor or an image may be replaced under its name.
"""

from collections.abc import Sequence
from dataclasses import replace

import structlog

from repave_agent.clients.openstack.api import Api
from repave_agent.core.ports import Clock, MisfitError, RefusedError
from repave_agent.providers.openstack.lookup import (
    Found,
    MissingError,
    flavor_named,
    look_up,
    look_up_image,
    remade,
)
from repave_agent.providers.openstack.options import OpenstackOptions

log = structlog.get_logger()

REMADE_SECONDS = 3600.0
"""So long `repave doctor` notes that something was replaced under its name."""


class Names:
    """Of one provider. `found` is None until the first look."""

    def __init__(self, api: Api, options: OpenstackOptions, clock: Clock) -> None:
        self._api, self._options, self._clock = api, options, clock
        self.found: Found | None = None
        self._images: dict[str, str] = {}  # those that specs name, to their ids
        self._flavors: set[str] = set()  # of which hosts were made, as specs and settings name them
        self._lost_images: set[str] = set()  # of them, those that disappeared
        self._remade: dict[str, float] = {}  # what was replaced under its name, and when that was seen

    async def look(self) -> None:
        """Raises ProviderError with all that is wrong, and what of it was there before."""
        try:
            self.found = await look_up(self._api, self._options)
        except MissingError as error:
            was_there = [setting for setting in error.settings if self.found is not None]
            raise RefusedError(f"{error}{disappeared(was_there)}") from error

    async def look_anew(self) -> bool:
        """Whether what the settings or a spec name has another id than before: it was replaced under its
        name. Raises RefusedError with what is gone."""
        known, images = self.found, dict(self._images)
        flavors = {name: self._flavor_id(name) for name in self._flavors}
        await self.look()
        assert self.found is not None
        for name in images:
            try:
                self._images[name] = await look_up_image(self._api, name)
            except RefusedError:
                self._images.pop(name, None)  # whose specs name it is told by its launch
                self._lost_images.add(name)
        told = remade(known, self.found, self._options)
        told += [
            f"host.image: {name}" for name, found in self._images.items() if images.get(name, found) != found
        ]
        there = {name: self._flavor_id(name) for name in flavors}  # launches may have added others
        changed = (name for name, found in there.items() if found and found != flavors[name])
        told += [f"host.size: {name}" for name in changed if name != self._options.usual_flavors[0]]
        for each in told:
            log.warning("openstack.remade", what=each)
            self._remade[each] = self._clock.monotonic()
        return bool(told) or not images.keys() <= self._images.keys() or flavors != there

    def known(self) -> Found:
        """After the first look."""
        assert self.found is not None, "the provider was started"
        return self.found

    async def base(self, image: str, flavor: str = "") -> Found:
        """What the settings name, with the image and the flavor that the spec names instead, if it does.
        Raises RefusedError."""
        found = self.known()
        if image and image not in self._images:
            self._images[image] = await self._image(image)
        if flavor:
            found = replace(found, flavor=await self._flavor(flavor))
        return replace(found, image=self._images[image]) if image else found

    async def _flavor(self, named: str) -> str:
        if not self._flavor_id(named):
            await self.look_anew()
        if found := self._flavor_id(named):
            self._flavors.add(named)
            return found
        gone = disappeared(["host.size"] if named in self._flavors else [])
        raise MisfitError(f"host.size: there is no flavor {named} here; there are: {self.flavors()}{gone}")

    def _flavor_id(self, named: str) -> str:
        found = flavor_named(named, self.found) if self.found is not None else None
        return str(found["id"]) if found is not None else ""

    def flavor_name(self, named: str) -> str:
        """What the cloud calls the flavor with this name or id; as it is, when there is none."""
        found = flavor_named(named, self.known())
        return str(found["name"]) if found is not None else named

    async def has_flavor(self, named: str) -> bool:
        return bool(self._flavor_id(named))

    def flavors(self) -> str:
        return ", ".join(sorted({str(each["name"]) for each in self.known().flavors}))

    async def _image(self, name: str) -> str:
        try:
            found = await look_up_image(self._api, name)
        except RefusedError as error:
            was_there = ["host.image"] if name in self._lost_images else []
            raise RefusedError(f"{error}{disappeared(was_there)}") from error
        self._lost_images.discard(name)
        return found

    def notes(self) -> list[str]:
        """What was replaced within the last hour."""
        now = self._clock.monotonic()
        self._remade = {each: at for each, at in self._remade.items() if now < at + REMADE_SECONDS}
        return [
            f"note: {each} was replaced under its name: hosts made from now on have the new one"
            for each in self._remade
        ]


def disappeared(settings: Sequence[str]) -> str:
    """Told beside what is missing of that which was there before; "" when nothing was."""
    if not settings:
        return ""
    return (
        f". {' and '.join(settings)} disappeared from the cloud while the agent ran: hosts that run and "
        "their traffic stay as they are; no host is made before it is there again, or another one is named"
    )
