"""Git repositories that are followed: how far, and how git and what runs differ."""

import re

from aiohttp import web

from repave_controller.api.answers.gitops import GitOpsAnswer, GitOpsFile, GitOpsItem
from repave_controller.api.answers.views import time_of
from repave_controller.api.web.callers import may_read
from repave_controller.api.web.openapi import Route
from repave_controller.api.web.responses import answer
from repave_controller.core.domain.instants import Instant
from repave_controller.gitops.deciding import Followed, Runs, drift
from repave_controller.gitops.watching import GitOps

_CREDENTIALS = re.compile(r"(?<=://)[^/@]*@")


class GitOpsRoutes:
    """One for an API. `gitops`: None where the settings name no repository."""

    def __init__(self, gitops: GitOps | None) -> None:
        self._gitops = gitops

    def routes(self) -> tuple[Route, ...]:
        return (Route("GET", "gitops", self.listed, GitOpsAnswer),)

    async def listed(self, request: web.Request) -> web.Response:
        """Repositories that are followed, and how git and what runs differ."""
        if self._gitops is None:
            return answer(GitOpsAnswer(items=[]))
        found = []
        for name, settings in sorted(self._gitops.settings.items()):
            known = await self._gitops.known(name)
            seen = set(may_read(request, [each.application for each in known.files]))
            found.append(
                GitOpsItem(
                    name=name,
                    repository=_CREDENTIALS.sub("", settings.repository),
                    branch=settings.branch,
                    path=settings.path,
                    policy=settings.policy,
                    commit=known.commit,
                    looked_at=time_of(Instant(known.looked_at)) if known.looked_at else None,
                    error=known.error,
                    files=[
                        _file(each, self._gitops.runs_of(each.application))
                        for each in known.files
                        if each.application in seen
                    ],
                )
            )
        return answer(GitOpsAnswer(items=found))


def _file(file: Followed, runs: Runs | None) -> GitOpsFile:
    state, text = drift(file, runs)
    return GitOpsFile(
        path=file.path,
        application=file.application,
        state=state,
        text=text,
        version=file.version,
        digest=file.digest,
        runs_version=runs.version if runs is not None else "",
        runs_digest=runs.digest if runs is not None else "",
        at=time_of(Instant(file.at)),
        retry_at=time_of(Instant(file.retry_at)) if file.retry_at else None,
    )
