"""Does `repave-agent clean` in many regions: `python -m tests.support.cleaning`. Its input is a JSON list of
their agents' settings.

The agent is loaded once, and a process forked from this one cleans each.
"""

import json
import os
import sys

from repave_agent.__main__ import main


def clean(settings: dict[str, str]) -> int:
    """The process that does it."""
    child = os.fork()
    if child == 0:
        os.environ.update(settings)
        status = main(["clean"])
        sys.stdout.flush()
        os._exit(status)
    return child


if __name__ == "__main__":
    children = [clean(each) for each in json.load(sys.stdin)]
    sys.exit(max(os.waitstatus_to_exitcode(os.waitpid(each, 0)[1]) for each in children))
