"""`repave-controller backup` and `restore`: where the archive goes or comes from, as whom, and what people
are told."""

import asyncio
import os
import pwd
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import IO

from repave_controller.backups.manifest import BackupError, Manifest
from repave_controller.backups.putting_back import Restored, Target, gather, restore
from repave_controller.backups.taking import Sources, back_up
from repave_protos.daemon.files import open_file
from repave_protos.daemon.owner import acting_as

SERVICE_USER = "repave"
STANDARD = "-"


def take(state: Path, name: str, now: float, *, with_packages: bool, sources: Sources | None = None) -> str:
    """What to tell. Raises BackupError, StoreError, OSError; then a file of that name is as it was."""
    owner = owner_of(state, service=None)
    if name == STANDARD:
        if sys.stdout.isatty():
            raise BackupError("a backup is no text for a terminal: name a file, or pipe it on")
        with acting_as(owner):
            manifest = back_up(state, sys.stdout.buffer, now, with_packages=with_packages, sources=sources)
        sys.stdout.buffer.flush()
        return _taken("standard output", manifest)
    target = Path(name)
    part = target.with_name(f".{target.name}.part")
    try:
        part.unlink(missing_ok=True)
        with open(open_file(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL), "wb") as out:
            with acting_as(owner):
                manifest = back_up(state, out, now, with_packages=with_packages, sources=sources)
            out.flush()
            os.fsync(out.fileno())
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
    return _taken(name, manifest)


def put_back(
    state: Path, name: str, now: float, *, force: bool, is_trial: bool, target: Target | None = None
) -> str:
    """What to tell. Raises BackupError, StoreError, OSError; then nothing has changed."""
    with ExitStack() as stack:
        source: IO[bytes] = sys.stdin.buffer if name == STANDARD else stack.enter_context(open(name, "rb"))
        if is_trial:
            return f"{_shown(gather(source, None))}\nit is whole; nothing was changed"
        stack.enter_context(acting_as(owner_of(state, service=service_user())))
        restored = asyncio.run(restore(source, state, now, force=force, target=target))
        return _restored(state, restored)


def owner_of(state: Path, service: pwd.struct_passwd | None) -> tuple[int, int] | None:
    """Whom root acts for: links that this user has laid are not followed with root's rights. A directory that
    is not there yet is made for the service."""
    if os.geteuid() != 0:
        return None
    if not state.exists() and service is not None and Path(service.pw_dir) == state:
        state.mkdir(mode=0o700)
        os.chown(state, service.pw_uid, service.pw_gid)
    known = state.stat() if state.exists() else None
    return (known.st_uid, known.st_gid) if known is not None and known.st_uid else None


def service_user() -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(SERVICE_USER)
    except KeyError:
        return None


def _shown(manifest: Manifest) -> str:
    named = ", ".join(manifest.applications) or "none"
    packages = "with packages" if manifest.has_packages else "without packages"
    return (
        f"backup of {manifest.taken_at}, installation {manifest.installation}, {packages}, "
        f"{manifest.bytes / 1e6:,.1f} MB; applications: {named}"
    )


def _taken(name: str, manifest: Manifest) -> str:
    return (
        f"{name}: {_shown(manifest)}\n"
        "It holds what the controller must keep secret, as the key of the agents' authority: encrypt it"
    )


def _restored(state: Path, restored: Restored) -> str:
    lines = [
        f"restored into {restored.place or state}: {_shown(restored.manifest)}",
        *([f"what was there is kept in the schema {restored.kept}"] if restored.kept else []),
        "Start the controller, then:",
        "- repave regions: one with newer decisions is AHEAD: it serves on, and is sent nothing until",
        "  repave controller recover",
        "- repave agents list, repave tokens list: what was revoked since the backup counts again. Revoke it",
        "- roles, freezes and accounts are as they were then; applications that were deleted since are back",
    ]
    if missing := restored.missing:
        lines.append(f"- {missing} packages are missing: push them, or no fresh host is made of them")
    return "\n".join(lines)
