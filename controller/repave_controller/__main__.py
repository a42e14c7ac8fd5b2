"""The command `repave-controller`: `run` (the default), `show-config`, `admin-token`, `backup`,
`restore`, `migrate`.

The only module of the controller that reads the environment.
"""

from repave_protos.daemon import loading  # before all others

# isort: split
import argparse
import asyncio
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from repave_controller.backups.commands import put_back, take
from repave_controller.backups.manifest import BackupError
from repave_controller.core.domain.application import Instant
from repave_controller.core.ports import StoreError
from repave_controller.runtime.clock import SteadyClock
from repave_controller.serving.admission import make_admin_token
from repave_controller.serving.backing_up import sources_of, target_of
from repave_controller.serving.moving import move
from repave_controller.serving.process import run
from repave_controller.settings import ControllerSettings
from repave_protos import __version__
from repave_protos.daemon.logs import configure_logs
from repave_protos.daemon.resources import require_threads
from repave_protos.daemon.settings import SettingsError, load_settings, show_settings

loading.finish()

PREFIX = "REPAVE_CONTROLLER_"
DEFAULT_FILE = Path("/etc/repave/controller.toml")


def make_parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    common.add_argument("--config", type=Path, help=f"settings file (default {DEFAULT_FILE}, if it is there)")
    common.add_argument(
        "--new", action="store_true", help="begin an empty store though packages of a former one are there"
    )
    common.add_argument("--accounts", action="store_true", help="every request needs a token")
    parser = argparse.ArgumentParser(
        prog="repave-controller", description="Decides for repave.", parents=[common]
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="command")
    commands.add_parser("run", parents=[common], help="serve (the default)")
    commands.add_parser("show-config", parents=[common], help="print every setting and where it is from")
    commands.add_parser("admin-token", parents=[common], help="make a new admin's token")
    backup = commands.add_parser("backup", parents=[common], help="put all that it knows into one file")
    backup.add_argument("file", metavar="FILE", help="of mode 0600; -: standard output")
    backup.add_argument("--packages", action="store_true", help="the packages as well")
    back = commands.add_parser(
        "restore", parents=[common], help="put a backup in the place of the state directory"
    )
    back.add_argument("file", metavar="FILE", help="-: standard input")
    back.add_argument("--force", action="store_true", help="though the state directory is not empty")
    back.add_argument("--dry-run", action="store_true", help="only read it, and check every digest")
    moving = commands.add_parser(
        "migrate", parents=[common], help="move the store into the database of store.url, or back"
    )
    moving.add_argument("--to", required=True, choices=("postgresql", "sqlite"), help="where it shall be")
    moving.add_argument("--dry-run", action="store_true", help="only check, and count what would be moved")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the process's exit code: 0 done, 1 could not start, 2 wrong settings."""
    chosen = make_parser().parse_args(arguments)
    named: Path | None = getattr(chosen, "config", None)
    file = named or (DEFAULT_FILE if DEFAULT_FILE.exists() else None)
    try:
        settings, origins = load_settings(
            ControllerSettings, file, os.environ, PREFIX, {"accounts": getattr(chosen, "accounts", None)}
        )
    except SettingsError as error:
        print(f"repave-controller: {error}", file=sys.stderr)  # noqa: T201
        return 2
    if chosen.command == "show-config":
        print(show_settings(settings, origins))  # noqa: T201
        return 0
    configure_logs(settings.logs, SteadyClock(Instant(0.0)))
    try:
        require_threads()
        _carry_out(chosen, settings)
    except (StoreError, BackupError, ValueError, OSError) as error:
        print(f"repave-controller: {error}", file=sys.stderr)  # noqa: T201
        return 1
    except MemoryError:
        print("repave-controller: out of memory: allow this process more (ulimit -v)", file=sys.stderr)  # noqa: T201
        return 1
    return 0


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201


def _carry_out(chosen: argparse.Namespace, settings: ControllerSettings) -> None:
    now = SteadyClock(Instant(0.0))
    match chosen.command:
        case "admin-token":
            asyncio.run(make_admin_token(settings))
        case "backup":
            sources = sources_of(settings, now)
            told = take(settings.state, chosen.file, now(), with_packages=chosen.packages, sources=sources)
            print(told, file=sys.stderr)  # noqa: T201
        case "restore":
            trial, force = chosen.dry_run, chosen.force
            target = target_of(settings, now)
            told = put_back(settings.state, chosen.file, now(), force=force, is_trial=trial, target=target)
            print(told, file=sys.stderr)  # noqa: T201
        case "migrate":
            move(settings, chosen.to, now, _tell, is_trial=chosen.dry_run)
        case _:
            asyncio.run(run(settings, is_new=getattr(chosen, "new", False)))


if __name__ == "__main__":
    sys.exit(main())
