"""Follows branches of git repositories: what a folder's specs say is released, each file by itself.

One controller follows a repository at a time, each repository by itself. What a commit leads to has a key of
its own, so that a controller which takes over does nothing twice; events are saved together with what they
tell of.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

import structlog

from repave_controller.core.domain.application import Event
from repave_controller.core.domain.instants import Instant
from repave_controller.core.ports import Record, Store, StoreError, Transaction
from repave_controller.gitops.deciding import (
    KIND,
    Followed,
    Repository,
    Runs,
    begun,
    gone,
    next_try,
    not_done,
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

MISTAKE: Final = "spec"
"""The rule of what is wrong with a file itself."""
WAIT_SECONDS: Final = 5.0
FILE_SECONDS: Final = 60.0
"""So long a file's release may hold up the next file; a package that is fetched for longer goes on being
fetched, and is asked for again."""

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
        tell: Callable[[Sequence[Event]], None],
        runs_of: RunsOf,
    ) -> None:
        """`tell` gets events that were saved."""
        self.settings, self.runs_of = settings, runs_of
        self._store, self._clock = store, clock
        self._is_mine, self._tell = is_mine, tell
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
            seconds = WAIT_SECONDS
            try:
                if self._is_mine(name):
                    seconds = await self.look(name)
            except StoreError as error:
                log.warning("gitops.store_away", repository=name, why=str(error))
            except Exception:  # the root of a repository: the others are followed
                log.exception("gitops.broken", repository=name)
                seconds = self.settings[name].every_seconds
            await asyncio.sleep(seconds)

    async def look(self, name: str) -> float:
        """What the branch has now is done, file by file; each is saved before the next one begins. Returns
        after how many seconds to look again. Raises StoreError."""
        known, before = await self._load(name)
        git = self._gits[name]
        try:
            commit = await git.fetch()
            found = await git.files(commit)
            is_rewritten = bool(known.commit) and not await git.follows(known.commit, commit)
        except (GitError, OSError) as error:
            failed = [] if known.error else [self._event(name, "gitops.failed", f"{error}")]
            wrong = replace(known, error=str(error)[:500], looked_at=self._clock())
            await self._save(name, before, wrong, *failed)
            return self.settings[name].every_seconds
        events: list[Event] = []
        if is_rewritten:
            text = f"its history was rewritten: {commit[:12]} does not come after {known.commit[:12]}"
            events.append(self._event(name, "gitops.rewritten", f"{text}; what it has now is followed"))
        for file in gone(known, found):
            text = f"{file.path} is gone from git; {file.application or 'its application'} goes on"
            if file.application:
                text += f" until: repave delete {file.application}"
            events.append(self._event(name, "gitops.deleted", text, file.application))
            known = known.with_file(replace(file, state="deleted", text=text, at=self._clock()))
        known = replace(known, commit=commit, error="", looked_at=self._clock())
        before = await self._save(name, before, known, *events)
        for each in to_do(known, found, self._clock()):
            file, former = await self._done(name, commit, known, each), known.file(each.path)
            events = []
            if file.state == "failed" and (former is None or former.text != file.text):
                text = f"{file.path}: {file.text}"
                events.append(self._event(name, "gitops.failed", text, file.application))
            known = known.with_file(file)
            before = await self._save(name, before, known, *events)
        due = next_try(known) - self._clock()
        return min(self.settings[name].every_seconds, max(due, WAIT_SECONDS))

    async def _done(self, name: str, commit: str, known: Repository, found: Found) -> Followed:
        """What became of one file: another one goes on whatever it is."""
        file = begun(known.file(found.path), found, commit, self._clock())
        try:
            async with asyncio.timeout(FILE_SECONDS):
                found = await self._gits[name].read(found)
                file = replace(file, version=version_of(found))
                if found.why:
                    raise Failed(found.why, MISTAKE)
                return await self._released(name, known, found, file)
        except (Failed, GitError, OSError) as error:  # OSError: TimeoutError, too
            now = self._clock()
            if isinstance(error, Failed):
                is_mistake = error.rule == MISTAKE
                return not_done(file, error.text, is_passing=error.is_passing, is_mistake=is_mistake, now=now)
            text = str(error) or f"it has taken longer than {FILE_SECONDS:g} s so far"
            return not_done(file, text, is_passing=True, is_mistake=False, now=now)

    async def _released(self, name: str, known: Repository, found: Found, file: Followed) -> Followed:
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
            reason=f"gitops/{name}: {found.path} of {file.commit[:12]}",
            key=f"gitops/{name}/{found.path}/{found.blob}/{file.commit}",
        )
        digest = await self._releasing.bring(release)
        file = replace(file, digest=digest, tries=0, retry_at=0.0)
        if settings.policy == "plan":
            plan = await self._releasing.plan(release, digest)
            problems = "; ".join(map(str, plan.get("problems", ())))
            return replace(file, state="planned", text=problems or f"plan {plan.get('id', '')}")
        accepted = await self._releasing.release(release, digest)
        return replace(file, state="done", text="", rollout=int(accepted["rollout"]))

    def _event(self, name: str, kind: str, text: str, application: str = "") -> Event:
        at, by = Instant(self._clock()), f"gitops/{name}"
        return Event(kind, f"gitops {name}: {text}", application, by=by, at=at)

    async def _load(self, name: str) -> tuple[Repository, str | None]:
        for each in await self._store.records(KIND):
            if each.name == name and each.state is not None:
                try:
                    return repository_of(each.state), each.state
                except ValueError as error:
                    raise StoreError(f"how far {name} was followed can't be read: {error}") from error
        return Repository(), None

    async def _save(self, name: str, before: str | None, repository: Repository, *events: Event) -> str:
        """The text that it has now. Raises Conflict: another controller follows it."""
        text = text_of(repository)
        record, expected = Record(KIND, name, text), Record(KIND, name, before)
        saved = await self._store.commit(
            Transaction(records=(record,), expected=(expected,), events=tuple(events))
        )
        self._tell(saved)
        return text
