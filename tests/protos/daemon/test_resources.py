"""A process that gets too little says of what."""

import subprocess
import sys

CHILD = """
import resource
from repave_protos.daemon.resources import ResourceError, descriptors, require_threads
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 256))
assert descriptors() == 256
assert resource.getrlimit(resource.RLIMIT_NOFILE) == (256, 256)
require_threads()
size = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (size + (20 << 20), size + (20 << 20)))
try:
    require_threads()
except ResourceError as error:
    print(error)
"""


def test_too_little_memory_for_threads_is_said_and_descriptors_are_asked_for() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", CHILD], capture_output=True, text=True, timeout=60, check=True
    )
    assert "threads and needs 24: allow it more memory (ulimit -v)" in ran.stdout
