"""The tokens of a user, one for each controller, in a file that only this user can read.

REPAVE_TOKEN comes first: CI has no file. A token is never an argument of a command, which others can see.
"""

import json
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from repave_cli.transport.errors import CliError
from repave_cli.transport.exit_codes import USAGE
from repave_client.places import urls_in

MODE = 0o600
FOLDER_MODE = 0o700
BYTES_MAX = 1 << 20


class Credentials(NamedTuple):
    """For one controller. `authority`: the certificate (PEM) that its own is checked with, if not the
    machine's."""

    token: str = ""
    authority: str = ""


def credentials_for(url: str) -> Credentials:
    """As the environment or the file says; empty ones if neither does. Of several controllers, which share
    accounts, those of any. Raises CliError."""
    file_has = _read()
    kept = [file_has[_key(each)] for each in urls_in(url) if _key(each) in file_has]
    known = next((each for each in kept if each.token), kept[0] if kept else Credentials())
    token, file = os.environ.get("REPAVE_TOKEN", "").strip(), os.environ.get("REPAVE_CA", "")
    if file:
        known = known._replace(authority=read_authority(Path(file)))
    return known._replace(token=token) if token else known


def keep(url: str, credentials: Credentials) -> Path:
    """Returns where. Raises CliError."""
    return _write({**_read(), **{_key(each): credentials for each in urls_in(url)}})


def forget(url: str) -> bool:
    """Whether there was something to forget; the authority is kept. Raises CliError."""
    known = _read()
    names = [_key(each) for each in urls_in(url)]
    found = {name: known[name] for name in names if name in known and known[name].token}
    if found:
        _write({**known, **{name: each._replace(token="") for name, each in found.items()}})
    return bool(found)


def read_authority(file: Path) -> str:
    """Raises CliError."""
    try:
        return file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise CliError(f"{file} can't be read: {error}", USAGE) from error


def path() -> Path:
    home = os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    return Path(home) / "repave" / "credentials"


def _key(url: str) -> str:
    return url.rstrip("/")


def _read() -> dict[str, Credentials]:
    where = path()
    try:
        descriptor = os.open(where, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return {}
    except OSError as error:
        text = f"{where} can't be opened: {error.strerror}; it must be a plain file"
        raise CliError(text, USAGE) from error
    with open(descriptor, "rb") as file:
        _check(os.fstat(file.fileno()), where)
        content = file.read(BYTES_MAX)
    try:
        return {url: Credentials(**each) for url, each in json.loads(content or b"{}").items()}
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise CliError(f"{where} is damaged; remove it, and log in again: repave login", USAGE) from error


def _check(known: os.stat_result, where: Path) -> None:
    if not stat.S_ISREG(known.st_mode) or known.st_uid != os.geteuid():
        raise CliError(f"{where} must be a plain file of your own", USAGE)
    if known.st_mode & 0o077:
        raise CliError(f"others may read {where}, which holds tokens; chmod 600 {where}", USAGE)


def _write(known: Mapping[str, Credentials]) -> Path:
    where = path()
    content = {url: {"token": each.token, "authority": each.authority} for url, each in known.items()}
    aside = where.with_name(f"{where.name}.{os.getpid()}.new")
    try:
        where.parent.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
        aside.unlink(missing_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with open(os.open(aside, flags, MODE), "w") as file:
            json.dump(content, file, indent=2)
        aside.replace(where)
    except OSError as error:
        aside.unlink(missing_ok=True)
        raise CliError(f"{where} can't be written: {error.strerror}") from error
    return where
