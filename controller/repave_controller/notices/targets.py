"""The targets that the settings name."""

import importlib.util
import ssl

from repave_controller.fleet.fetching import Lookup, look_up
from repave_controller.notices.apprise_target import AppriseTarget, Hearers
from repave_controller.notices.cloudevents import USUAL
from repave_controller.notices.http_target import HttpTarget
from repave_controller.notices.ports import Target
from repave_controller.security.addresses import allowed_of
from repave_controller.settings import CloudEventsSettings, ControllerSettings, NotifySettings


def targets_of(
    settings: ControllerSettings, lookup: Lookup = look_up, hearers: Hearers = lambda _: ()
) -> list[Target]:
    """By name. `hearers`: whom an application's spec names. Raises OSError for an authority's file,
    ValueError when it is none, or when apprise is not installed."""
    receivers: list[Target] = [
        _receiver(name, each, lookup) for name, each in sorted(settings.cloudevents.items())
    ]
    if settings.notify and importlib.util.find_spec("apprise") is None:
        raise ValueError("[notify] needs the extra: pip install 'repave[notify]'")
    url = settings.http.url.rstrip("/")
    people = [_people(name, each, hearers, url) for name, each in sorted(settings.notify.items())]
    return [*receivers, *people]


def _people(name: str, settings: NotifySettings, hearers: Hearers, url: str) -> AppriseTarget:
    return AppriseTarget(
        name,
        settings.address,
        settings.on,
        settings.apps,
        hearers,
        settings.allow,
        settings.authority,
        url,
    )


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
