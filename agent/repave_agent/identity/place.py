"""Where `repave-agent join` puts what it gets: root joins for the service, or for who has the directory."""

import os
import pwd
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from repave_protos.daemon.owner import acting_as

SERVICE_USER = "repave-agent"


@dataclass(frozen=True, slots=True)
class Place:
    """A state directory, and whose it is; None: this user's own."""

    state: Path
    owner: tuple[int, int] | None = None  # user and group
    is_of_service: bool = False


def place_of(state: Path, *, is_default: bool, service: pwd.struct_passwd | None) -> Place:
    """For root; all others join for themselves. The service's directory is the home of its user."""
    if is_default and service is not None:
        return Place(Path(service.pw_dir), (service.pw_uid, service.pw_gid), is_of_service=True)
    if state.exists() and (known := state.stat()).st_uid != 0:
        return Place(state, (known.st_uid, known.st_gid))
    return Place(state)


def service_user() -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(SERVICE_USER)
    except KeyError:
        return None


@contextmanager
def acting_for(place: Place) -> Iterator[None]:
    """As the owner: root would follow links that the owner has laid. Raises OSError."""
    if place.owner is None:
        yield
        return
    user, group = place.owner
    if not place.state.exists():
        place.state.mkdir(mode=0o700)
        os.chown(place.state, user, group)
    with acting_as(place.owner):
        yield
