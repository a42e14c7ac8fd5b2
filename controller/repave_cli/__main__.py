"""`repave` and `python -m repave_cli`: Ctrl-C ends it quietly, also while it still loads."""

import sys

from repave_cli.transport.exit_codes import DETACHED


def main() -> int:
    """Runs one command; returns the exit code."""
    try:
        from repave_cli import main as commands  # most of the time that a short command takes

        return commands.main()
    except KeyboardInterrupt:
        return DETACHED


if __name__ == "__main__":
    sys.exit(main())
