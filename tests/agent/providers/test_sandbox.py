"""Whether a sandbox can be made, as the units of deploy/systemd start an agent."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CHOOSE = """\
import os, sys
from pathlib import Path
from repave_agent.providers.command import choose_sandbox
assert os.getuid() == 1000, os.getuid()
assert choose_sandbox("bwrap", Path(sys.argv[1])), "made, and tried"
"""
WITH_CAPABILITIES = ("unshare", "--user", "--map-user=1000", "--map-group=1000", "--keep-caps", "--")


def test_an_agent_that_may_serve_low_ports_has_a_sandbox_for_its_hosts(tmp_path: Path) -> None:
    """AmbientCapabilities=CAP_NET_BIND_SERVICE reaches what the agent starts; bwrap runs with none."""
    if shutil.which("bwrap") is None:
        pytest.skip("bubblewrap is not installed: apt install bubblewrap")
    able = subprocess.run([*WITH_CAPABILITIES, "true"], capture_output=True, text=True, check=False)
    if able.returncode:
        pytest.skip(f"no user namespaces here: {able.stderr}")
    done = subprocess.run(
        [*WITH_CAPABILITIES, sys.executable, "-c", CHOOSE, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
