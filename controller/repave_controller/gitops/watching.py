"""Follows branches of git repositories: what a folder's specs say is released, each file by itself.

One controller follows a repository at a time. What a commit leads to has a key of its own, so that a
controller which takes over does nothing twice.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

import structlog

from repave_controller.core.domain.application import Event
from repave_controller.core.ports import Record, Store, StoreError, Transaction
from repave_controller.gitops.deciding import (
    KIND,
    Followed,
    Repository,
    Runs,
    gone,
    repository_of,
    text_of,
    to_do,
    twice,
    version_of,
)
from repave_controller.gitops.git import Found, Git, GitError
from repave_controller.operations.releasing import Act, Failed, Release, Releasing, automatic
from repave_controller.security.principals import Role
from repave_controller.settings import GitOpsSettings

log = structlog.get_logger()

WAIT_SECONDS: Final = 5.0

RunsOf = Callable[[str], Runs | None]
"""What serves of an application now."""


class GitOps:
    """One for a controller."""

    def __init__(
        self,
        settings: Mapping[str, GitOpsSettings],
        folder: Path,
        store: Store,
        clock: Callable[[], float],
        is_mine: Callable[[str], bool],
        note: Callable[[Event], None],
        runs_of: RunsOf,
    ) -> None:
        self.settings, self.runs_of = settings, runs_of
        self._store, self._clock = store, clock
        self._is_mine, self._note = is_mine, note
        self._gits = {name: Git(each, folder / name) for name, each in settings.items()}
        self._releasing: Releasing | None = None

    def act_with(self, act: Act) -> None:
        """Before `run`."""
        self._releasing = Releasing(act)

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for name in self.settings:
                tasks.create_task(self._follow(name), name=f"gitops {name}")

    async def known(self, name: str) -> Repository:
        """Raises StoreError."""
        return (await self._load(name))[0]

    async def _follow(self, name: str) -> None:
        while True:
            try:
                if self._is_mine(name):
                    await self.look(name)
            except StoreError as error:
                log.warning("gitops.store_away", repository=name, why=str(error))
            await asyncio.sleep(self.settings[name].every_seconds if self._is_mine(name) else WAIT_SECONDS)

    async def look(self, name: str) -> None:
        """What the branch has now is done. Raises StoreError."""
        known, before = await self._load(name)
        git = self._gits[name]
        try:
            commit = await git.fetch()
            found = await git.files(commit)
            is_rewritten = bool(known.commit) and not await git.follows(known.commit, commit)
        except (GitError, OSError) as error:
            if not known.error:
                self._tell(name, "gitops.failed", f"{error}")
            await self._save(name, before, replace(known, error=str(error)[:500], looked_at=self._clock()))
            return
        if is_rewritten:
            text = f"its history was rewritten: {commit[:12]} does not come after {known.commit[:12]}"
            self._tell(name, "gitops.rewritten", f"{text}; what it has now is followed")
        for file in gone(known, found):
            text = f"{file.path} is gone from git; {file.application or 'its application'} goes on"
            if file.application:
                text += f" until: repave delete {file.application}"
            self._tell(name, "gitops.deleted", text, file.application)
            known = known.with_file(replace(file, state="deleted", text=text, at=self._clock()))
        for each in to_do(known, found):
            file = await self._done(name, commit, known, each)
            former = known.file(each.path)
            if file.state == "failed" and (former is None or former.text != file.text):
                self._tell(name, "gitops.failed", f"{file.path}: {file.text}", file.application)
            known = known.with_file(file)
        await self._save(name, before, replace(known, commit=commit, error="", looked_at=self._clock()))

    async def _done(self, name: str, commit: str, known: Repository, found: Found) -> Followed:
        """What became of one file: another one goes on whatever it is."""
        former = known.file(found.path) or Followed(found.path)
        file = replace(former, blob=found.blob, version=version_of(found), at=self._clock())
        try:
            if found.why:
                raise Failed(found.why)
            return await self._released(name, commit, known, found, file)
        except Failed as error:
            state = "waiting" if error.is_passing else "failed"
            return replace(file, state=state, text=error.text[:500])

    async def _released(
        self, name: str, commit: str, known: Repository, found: Found, file: Followed
    ) -> Followed:
        """Raises Failed."""
        assert self._releasing is not None, "act_with comes before run"
        settings, version = self.settings[name], file.version
        reader = automatic(f"gitops/{name}", Role.VIEWER, "*")
        application = await self._releasing.application_of(reader, found.text, found.path, version)
        file = replace(file, application=application)
        if not any(fnmatchcase(application, each) for each in settings.apps):
            raise Failed(f"{application} is none of the repository's apps: {' '.join(settings.apps)}")
        if other := twice(known, found.path, application):
            raise Failed(f"{other} is of {application}, too")
        release = Release(
            automatic(f"gitops/{name}", Role.DEPLOYER, application),
            application,
            found.text,
            found.path,
            version,
            reason=f"gitops/{name}: {found.path} of {commit[:12]}",
            key=f"gitops/{name}/{found.path}/{found.blob}/{commit}",
        )
        digest = await self._releasing.bring(release)
        file = replace(file, digest=digest)
        if settings.policy == "plan":
            plan = await self._releasing.plan(release, digest)
            problems = "; ".join(map(str, plan.get("problems", ())))
            return replace(file, state="planned", text=problems or f"plan {plan.get('id', '')}")
        accepted = await self._releasing.release(release, digest)
        return replace(file, state="done", text="", rollout=int(accepted["rollout"]))

    def _tell(self, name: str, kind: str, text: str, application: str = "") -> None:
        self._note(Event(kind, f"gitops {name}: {text}", application, by=f"gitops/{name}"))

    async def _load(self, name: str) -> tuple[Repository, str | None]:
        for each in await self._store.records(KIND):
            if each.name == name and each.state is not None:
                try:
                    return repository_of(each.state), each.state
                except ValueError as error:
                    raise StoreError(f"how far {name} was followed can't be read: {error}") from error
        return Repository(), None

    async def _save(self, name: str, before: str | None, repository: Repository) -> None:
        """Raises Conflict: another controller follows it."""
        record, expected = Record(KIND, name, text_of(repository)), Record(KIND, name, before)
        await self._store.commit(Transaction(records=(record,), expected=(expected,)))
