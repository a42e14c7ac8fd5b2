"""The targets that the settings name."""

import ssl

from repave_controller.fleet.fetching import Lookup, look_up
from repave_controller.notices.cloudevents import USUAL
from repave_controller.notices.http_target import HttpTarget
from repave_controller.notices.ports import Target
from repave_controller.security.addresses import allowed_of
from repave_controller.settings import CloudEventsSettings, ControllerSettings


def targets_of(settings: ControllerSettings, lookup: Lookup = look_up) -> list[Target]:
    """By name. Raises OSError for an authority's file, ValueError when it is none."""
    return [_receiver(name, each, lookup) for name, each in sorted(settings.cloudevents.items())]


def _receiver(name: str, settings: CloudEventsSettings, lookup: Lookup) -> HttpTarget:
    tls = ssl.create_default_context()
    if settings.authority is not None:
        tls.load_verify_locations(cadata=settings.authority.read_text())
    return HttpTarget(
        name,
        settings.url,
        settings.secret,
        settings.kinds or USUAL,
        settings.apps,
        tls,
        allowed_of(settings.allow),
        lookup,
    )
