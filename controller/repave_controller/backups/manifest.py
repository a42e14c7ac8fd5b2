"""What a backup says of itself: which store it is of, what wrote it, and the digest of every file in it.

It is the first file of the archive, so that a backup of a newer repave is refused before anything is read.
"""

import json
import re
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from repave_controller.stores.migrations import MIGRATIONS
from repave_protos import __version__

FORMAT = 1
NAME = "manifest.json"
DATABASE = "controller.db"
SECURITY = "security"
PACKAGES = "images"
MANIFEST_BYTES_MAX = 16 * 1024**2
PATH = re.compile(r"controller\.db|security/authority-[0-9]+\.(pem|retired)|images/[0-9a-f]{64}\.tar\.gz")


class BackupError(Exception):
    """A backup can't be made, or can't be used. The text is for people."""


class Member(BaseModel):
    """One file of the archive."""

    model_config = ConfigDict(frozen=True)
    path: Annotated[str, Field(pattern=f"^({PATH.pattern})$")]
    bytes: Annotated[int, Field(ge=0)]
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class Manifest(BaseModel):
    """`taken_at` is RFC 3339 in UTC. `has_packages`: whether those that the store knew are in it too."""

    model_config = ConfigDict(frozen=True)
    format: int = FORMAT
    repave: str = __version__
    schema_version: int
    installation: str
    incarnation: int
    taken_at: str
    applications: tuple[str, ...]
    has_packages: bool
    files: tuple[Member, ...]

    @property
    def text(self) -> bytes:
        return f"{self.model_dump_json(indent=1)}\n".encode()

    @property
    def bytes(self) -> int:
        return sum(each.bytes for each in self.files)


def read_manifest(content: bytes) -> Manifest:
    """Raises BackupError."""
    try:
        said = json.loads(content)
        number, wrote = int(said["format"]), str(said["repave"])
    except (ValueError, KeyError, TypeError, RecursionError):
        raise BackupError(f"this is no backup of repave-controller: its {NAME} can't be read") from None
    if number > FORMAT:
        raise _newer(f"has format {number}", wrote, f"{FORMAT}")
    try:
        manifest = Manifest.model_validate(said)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise BackupError(f"{NAME} of the backup: {place}: {first['msg']}") from None
    if manifest.schema_version > len(MIGRATIONS):
        raise _newer(f"holds a store of schema {manifest.schema_version}", wrote, f"{len(MIGRATIONS)}")
    paths = [each.path for each in manifest.files]
    if DATABASE not in paths or len(set(paths)) != len(paths):
        raise BackupError(f"{NAME} of the backup names {DATABASE} not at all, or a file twice")
    return manifest


def _newer(what: str, wrote: str, known: str) -> BackupError:
    return BackupError(
        f"the backup {what} and was written by repave {wrote}; this is repave {__version__}, which reads up "
        f"to {known}: restore it with repave {wrote} or newer"
    )
