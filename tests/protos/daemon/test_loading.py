"""A daemon starts sooner, and collects garbage once it is loaded."""

import subprocess
import sys

PROGRAM = """\
import gc, sys
import repave_agent.__main__
print(gc.isenabled(), gc.get_freeze_count() > 10_000, "rich" in sys.modules)
"""


def test_a_loaded_daemon_collects_garbage_but_not_among_its_modules() -> None:
    told = subprocess.run((sys.executable, "-c", PROGRAM), capture_output=True, text=True, check=True).stdout
    assert told == "True True False\n"
