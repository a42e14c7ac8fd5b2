"""Real things that are too slow for `make test`: tests that need one are marked `rig`, run by
`make test-rigs`, and say otherwise why they were skipped."""

import contextlib
import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[1]
STATE = Path(os.environ.get("REPAVE_OPENSTACK_DIR", "/var/tmp/repave-openstack"))
KEYSTONE_PORT = int(os.environ.get("REPAVE_OPENSTACK_PORT_BASE", "20000")) + 5000
FIXED = "10.77.0.0/16"
"""Addresses of the rig's servers: nothing carries them, so they are made this machine's own."""


def why_no_openstack() -> str:
    """ "" when the rig runs and tests may use it."""
    if os.environ.get("REPAVE_TEST_RIGS") != "1":
        return "slow: run by make test-rigs"
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", KEYSTONE_PORT), 1.0):
        return ""
    place = _place()
    if place is None:
        return "there is no rigs/openstack beside the project; name its folder in REPAVE_RIGS"
    started = subprocess.run([str(place / "openstack" / "up")], capture_output=True, text=True, check=False)
    return f"the rig does not start: {started.stderr[-300:]}" if started.returncode else ""


def _place() -> Path | None:
    places = [Path(os.environ["REPAVE_RIGS"])] if "REPAVE_RIGS" in os.environ else []
    places += [parent / "shared" / "rigs" for parent in ROOT.parents]
    return next((each for each in places if (each / "openstack" / "up").exists()), None)


@contextmanager
def reachable_servers() -> Iterator[None]:
    """What listens on a server's fixed address on this machine can be reached under it."""
    added = subprocess.run(
        ["ip", "route", "add", "local", FIXED, "dev", "lo"], check=False, capture_output=True
    )
    try:
        yield
    finally:
        if added.returncode == 0:
            subprocess.run(["ip", "route", "del", "local", FIXED, "dev", "lo"], check=False)
