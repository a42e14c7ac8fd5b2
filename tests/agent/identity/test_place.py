"""For whom root joins, and that what it writes is that user's."""

import os
import pwd
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from repave_agent.identity.identity import FILE, write
from repave_agent.identity.place import Place, acting_for, place_of
from tests.agent.identity.test_keeper import identity_with
from tests.fakes.controller.enrolled import Enrolled

USER = 12_345
SERVICE = pwd.struct_passwd(
    ("repave-agent", "x", USER, USER, "", "/var/lib/repave-agent", "/usr/sbin/nologin")
)


@pytest.fixture
def folder() -> Iterator[Path]:
    """Others may pass through it."""
    directory = Path(tempfile.mkdtemp(prefix="rp"))
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory)


def test_root_joins_for_the_service_unless_another_directory_is_named(folder: Path) -> None:
    of_service = Place(Path("/var/lib/repave-agent"), (USER, USER), is_of_service=True)
    assert place_of(folder, is_default=True, service=SERVICE) == of_service
    assert place_of(folder / "none", is_default=False, service=SERVICE) == Place(folder / "none")
    assert place_of(folder / "none", is_default=True, service=None) == Place(folder / "none")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can act for another user")
async def test_what_root_writes_for_another_user_is_that_users(folder: Path) -> None:
    world = await Enrolled(folder / "controller").open()
    identity, state = identity_with(await world.agent()), folder / "agent"
    groups = os.getgroups()
    with acting_for(Place(state, (USER, USER), is_of_service=True)):
        write(state, identity)
        with pytest.raises(PermissionError):
            (folder / "controller" / "security" / "authority-0001.pem").read_bytes()
    assert (os.geteuid(), os.getegid(), os.getgroups()) == (0, 0, groups)
    for each in (state, state / FILE):
        assert (each.stat().st_uid, each.stat().st_gid) == (USER, USER)
    assert place_of(state, is_default=False, service=SERVICE) == Place(state, (USER, USER))
    with pytest.raises(OSError, match="full"), acting_for(Place(state, (USER, USER))):
        raise OSError("the disk is full")
    assert os.geteuid() == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can act for another user")
async def test_a_link_that_the_owner_has_laid_leads_root_nowhere(folder: Path) -> None:
    world = await Enrolled(folder / "controller").open()
    state, victim = folder / "agent", folder / "roots"
    victim.write_text("root's")
    victim.chmod(0o600)
    place = Place(state, (USER, USER))
    with acting_for(place):
        (state / f"{FILE}.new").symlink_to(victim)
    with pytest.raises(OSError), acting_for(place):
        write(state, identity_with(await world.agent()))
    assert victim.read_text() == "root's"
