"""What a commit asks for, file by file, against what was done before; how git and what runs differ. Pure."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from pydantic import TypeAdapter

from repave_controller.gitops.git import Found

KIND: Final = "gitops"
"""Of the records that the store has, one a repository."""
BLOB_LENGTH: Final = 12
_VERSION = re.compile(r"^#\s*version:\s*([A-Za-z0-9._+-]{1,64})\s*$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Followed:
    """One file. `state`: done, waiting (for another try), failed, planned or deleted. `blob` is what it is
    so for; `released`: the version that was released of it last."""

    path: str
    application: str = ""
    blob: str = ""
    state: str = "waiting"
    text: str = ""
    version: str = ""
    digest: str = ""
    rollout: int = 0
    at: float = 0.0


@dataclass(frozen=True, slots=True)
class Repository:
    """How far one was followed. `error`: why it could not be looked at last."""

    commit: str = ""
    looked_at: float = 0.0
    error: str = ""
    files: tuple[Followed, ...] = ()

    def file(self, path: str) -> Followed | None:
        return next((each for each in self.files if each.path == path), None)

    def with_file(self, file: Followed) -> "Repository":
        others = (each for each in self.files if each.path != file.path)
        return replace(self, files=tuple(sorted((*others, file), key=lambda each: each.path)))


def version_of(found: Found) -> str:
    """As a line `# version: 2.0` of the spec says; else by its content."""
    said = _VERSION.search(found.text)
    return said[1] if said is not None else f"git-{found.blob[:BLOB_LENGTH]}"


def to_do(known: Repository, found: Iterable[Found]) -> list[Found]:
    """Those that are new, changed, or were to be tried again."""
    before = {each.path: each for each in known.files}
    return [
        each
        for each in found
        if (former := before.get(each.path)) is None
        or former.blob != each.blob
        or former.state in ("waiting", "deleted")
    ]


def gone(known: Repository, found: Iterable[Found]) -> list[Followed]:
    """Files that were followed and are there no more."""
    there = {each.path for each in found}
    return [each for each in known.files if each.path not in there and each.state != "deleted"]


def twice(known: Repository, path: str, application: str) -> str:
    """Another file of the same application; "": there is none."""
    return next(
        (
            each.path
            for each in known.files
            if each.application == application and each.path != path and each.state != "deleted"
        ),
        "",
    )


@dataclass(frozen=True, slots=True)
class Runs:
    """What serves of an application."""

    version: str = ""
    digest: str = ""
    is_moving: bool = False


def drift(file: Followed, runs: Runs | None) -> tuple[str, str]:
    """in-step, moving, drifted, not-released, failed or deleted; and why."""
    if file.state in ("failed", "deleted", "planned", "waiting"):
        return {"planned": "not-released", "waiting": "moving"}.get(file.state, file.state), file.text
    if runs is not None and runs.is_moving:
        return "moving", "a rollout is under way"
    if runs is None or not runs.version:
        return "not-released", "nothing of it serves"
    if runs.digest == file.digest and runs.version == file.version:
        return "in-step", ""
    return "drifted", f"git has {file.version}, {runs.version} serves"


def text_of(repository: Repository) -> str:
    return _REPOSITORY.dump_json(repository).decode()


def repository_of(text: str) -> Repository:
    """Fields of a newer version are left out. Raises ValueError."""
    return _REPOSITORY.validate_json(text)


_REPOSITORY = TypeAdapter(Repository)
