"""A network of its own for one region of a stage, joined to the controller's by a cable that can be cut.

Controller and agent speak only on loopback, so a relay at each end of the cable carries their connections.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from tests.support.paths import ROOT
from tests.support.stage import Stage


class Cable:
    """Joins the controller's machine (198.18.N.1) and the region's (198.18.N.2)."""

    def __init__(self, number: int) -> None:
        self.network = f"rp-{number}"
        self.near, self.far = f"198.18.{number}.1", f"198.18.{number}.2"
        self._near_end, self._far_end = f"rp{number}n", f"rp{number}f"

    def lay(self) -> None:
        """Raises CalledProcessError where that is not allowed."""
        inside = ("-n", self.network)
        _ip("netns", "add", self.network)
        _ip("link", "add", self._near_end, "type", "veth", "peer", self._far_end, "netns", self.network)
        _ip("address", "add", f"{self.near}/30", "dev", self._near_end)
        _ip(*inside, "address", "add", f"{self.far}/30", "dev", self._far_end)
        _ip(*inside, "link", "set", "lo", "up")
        _ip(*inside, "link", "set", self._far_end, "up")
        self.mend()

    def cut(self) -> None:
        """From now on packets vanish without a notice."""
        _ip("link", "set", self._near_end, "down")

    def mend(self) -> None:
        _ip("link", "set", self._near_end, "up")

    def remove(self) -> None:
        """Also what a test that was killed has left."""
        subprocess.run(["ip", "netns", "delete", self.network], check=False, capture_output=True)
        subprocess.run(["ip", "link", "delete", self._near_end], check=False, capture_output=True)

    @property
    def inside(self) -> tuple[str, ...]:
        """In front of a command: it runs in the region's network."""
        return ("nsenter", f"--net=/run/netns/{self.network}")


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True, timeout=10)


@contextmanager
def own_network(stage: Stage, region: str) -> Iterator[Cable]:
    """For a stage that is not started yet: the region's agent, balancer and hosts will be behind the cable.

    Skips the test where no network can be made.
    """
    if os.geteuid() != 0:
        pytest.skip("a network namespace needs root")
    cable = Cable(stage.octet(region))
    cable.remove()
    with ExitStack() as undo:
        undo.callback(cable.remove)
        try:
            cable.lay()
        except (OSError, subprocess.CalledProcessError) as error:
            said = getattr(error, "stderr", "") or str(error)
            pytest.skip(f"this machine does not let us make a network namespace: {said.strip()}")
        stage.wrapped[region] = cable.inside
        undo.enter_context(_relay(stage, cable.near, "127.0.0.1", ()))
        undo.enter_context(_relay(stage, "127.0.0.1", cable.near, cable.inside))
        yield cable


@contextmanager
def _relay(stage: Stage, listen: str, target: str, wrapper: tuple[str, ...]) -> Iterator[None]:
    ports = [str(stage.http_port), str(stage.grpc_port)]
    process = subprocess.Popen(
        [*wrapper, sys.executable, "-m", "tests.support.relay", listen, target, *ports],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n", "the relay does not run"
        yield
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()
