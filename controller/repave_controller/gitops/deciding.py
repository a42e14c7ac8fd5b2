"""What a commit asks for, file by file, against what was done before; how git and what runs differ. Pure."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from math import inf
from typing import Final

from pydantic import TypeAdapter

from repave_controller.gitops.git import Found

KIND: Final = "gitops"
"""Of the records that the store has, one a repository."""
BLOB_LENGTH: Final = 12
FIRST_WAIT_SECONDS: Final = 15.0
WAIT_SECONDS_MAX: Final = 3600.0
_VERSION = re.compile(r"^#\s*version:\s*([A-Za-z0-9._+-]{1,64})\s*$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Followed:
    """One file. `state`: done, waiting (no answer yet), failed, planned or deleted. `blob` is what it is so
    for, since `commit`. `retry_at`: when it is tried again though it has not changed; 0: it is not."""

    path: str
    application: str = ""
    blob: str = ""
    state: str = "waiting"
    text: str = ""
    version: str = ""
    digest: str = ""
    rollout: int = 0
    at: float = 0.0
    commit: str = ""
    tries: int = 0
    retry_at: float = 0.0


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


def to_do(known: Repository, found: Iterable[Found], now: float) -> list[Found]:
    """Those that are new, changed, or are to be tried again by now."""
    before = {each.path: each for each in known.files}
    return [
        each
        for each in found
        if (former := before.get(each.path)) is None
        or former.blob != each.blob
        or former.state == "deleted"
        or (_is_open(former) and former.retry_at <= now)
    ]


def begun(former: Followed | None, found: Found, commit: str, now: float) -> Followed:
    """The file as it is looked at. One that is only tried again keeps its commit, and so the key of what is
    asked for."""
    if former is not None and former.blob == found.blob and former.state != "deleted":
        return replace(former, at=now)
    application = former.application if former is not None else ""
    return Followed(found.path, application, found.blob, at=now, commit=commit)


def not_done(file: Followed, text: str, *, is_passing: bool, is_mistake: bool, now: float) -> Followed:
    """Tried again ever later: what it was refused for may pass, such as a package that is not stored yet or a
    region that has yet to join. A mistake in the file stays one until the file changes."""
    state, tries = "waiting" if is_passing else "failed", file.tries + 1
    at = 0.0 if is_mistake else now + min(WAIT_SECONDS_MAX, FIRST_WAIT_SECONDS * 2.0 ** min(tries - 1, 20))
    return replace(file, state=state, text=text[:500], tries=tries, retry_at=at)


def next_try(known: Repository) -> float:
    """When the first of them is to be tried again; infinity: none."""
    return min((each.retry_at for each in known.files if _is_open(each)), default=inf)


def _is_open(file: Followed) -> bool:
    """What an older version saved as waiting has no time of its next try: it is due."""
    return file.state == "waiting" or (file.state == "failed" and file.retry_at > 0.0)


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
