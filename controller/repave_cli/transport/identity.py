"""Who runs this command? The name that the history and the events keep."""

import getpass
import os
import socket

CI_VARIABLES = ("GITHUB_ACTOR", "GITLAB_USER_LOGIN", "CIRCLE_USERNAME", "BUILD_USER_ID")


def who() -> str:
    """The CI job's user, or user@machine."""
    in_ci = next((os.environ[name] for name in CI_VARIABLES if os.environ.get(name)), "")
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = str(os.getuid())
    return in_ci or f"{user}@{socket.gethostname()}"[:100]
