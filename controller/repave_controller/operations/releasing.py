"""Releases by the controller itself, for a webhook, a commit or a promotion: by the routes that people use,
in the name of a principal of its own. Roles, freezes, signatures and the audit log count as for all."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from repave_controller.peers.letters import TooLong
from repave_controller.security.principals import Grant, Kind, Principal, Role
from repave_controller.spec.places import is_remote

FETCH_SECONDS: Final = 3600.0
LOOK_SECONDS: Final = 1.0
PASSING: Final = (408, 425, 429, 500, 502, 503, 504, 507)


class Failed(Exception):
    """It was not done. `is_passing`: it may be later on, asked for in the same way."""

    def __init__(self, text: str, rule: str = "", *, is_passing: bool = False) -> None:
        super().__init__(text)
        self.text, self.rule, self.is_passing = text, rule, is_passing


@dataclass(frozen=True, slots=True)
class Deed:
    """What is asked of the API. `application`: whose controller has to carry it out."""

    principal: Principal
    path: str
    application: str
    body: Mapping[str, object] | None = None  # None: a GET
    key: str = ""


class Act(Protocol):
    """The API, from within."""

    async def __call__(self, deed: Deed) -> tuple[int, dict[str, Any]]:
        """Status and answer. Raises StoreError, TimeoutError, ConnectionError."""


@dataclass(frozen=True, slots=True)
class Release:
    """What is to be released, for which principal. Equal ones, by `key`, are one."""

    principal: Principal
    application: str
    spec: str
    filename: str
    version: str
    digest: str = ""
    reason: str = ""
    key: str = ""


def automatic(name: str, role: Role, applications: str) -> Principal:
    """The controller itself, on behalf of something in its settings."""
    return Principal(Kind.AUTOMATIC, name, grants=(Grant(role, applications),))


class Releasing:
    """One for a controller."""

    def __init__(self, act: Act) -> None:
        self._act = act

    async def application_of(self, principal: Principal, spec: str, filename: str, version: str) -> str:
        """Whose the spec is. Raises Failed."""
        asked = Release(principal, "", spec, filename, version)
        files = [{"name": filename, "text": spec}]
        outline = await self._ask(asked, "outline", {"files": files, "version": version})
        return str(outline["application"])

    async def bring(self, release: Release) -> str:
        """The digest of its package, which is stored after it. Raises Failed."""
        files = [{"name": release.filename, "text": release.spec}]
        outline = await self._ask(release, "outline", {"files": files, "version": release.version})
        if outline["application"] != release.application:
            text = f"the spec is of {outline['application']}, not of {release.application}"
            raise Failed(text, "spec")
        uri, known = str(outline["uri"]), str(outline["sha256"])
        if not is_remote(uri):
            digest = release.digest or (known if known != "required" else "")
            if digest:
                return digest
            raise Failed(
                f"artifact.uri is the path {uri}: name the package's digest, or an https:// or s3:// address",
                "spec",
            )
        body = {"spec": release.spec, "filename": release.filename, "version": release.version}
        path = f"applications/{release.application}/artifacts"
        found = await self._ask(release, path, {**body, "digest": release.digest})
        try:
            async with asyncio.timeout(FETCH_SECONDS):
                while not found["is_stored"]:
                    await asyncio.sleep(LOOK_SECONDS)
                    found = await self._ask(release, f"{path}/{found['id']}", None)
        except TimeoutError:
            raise Failed(f"{uri} could not be fetched in {FETCH_SECONDS:g} s", is_passing=True) from None
        return str(found["digest"])

    async def plan(self, release: Release, digest: str, *, will_push: bool = False) -> dict[str, Any]:
        """Raises Failed."""
        return await self._ask(
            release, "plan", {**_spec_of(release), "digest": digest, "will_push": will_push}
        )

    async def release(self, release: Release, digest: str) -> dict[str, Any]:
        """What was accepted; behind a rollout it waits, in place of others that wait. Raises Failed."""
        path = f"applications/{release.application}/releases"
        body = {**_spec_of(release), "digest": digest, "reason": release.reason, "latest": True}
        return await self._ask(release, path, body, release.key)

    async def _ask(
        self, release: Release, path: str, body: Mapping[str, object] | None, key: str = ""
    ) -> dict[str, Any]:
        try:
            status, answer = await self._act(Deed(release.principal, path, release.application, body, key))
        except TooLong as error:
            raise Failed(str(error), "too-long") from None
        except (TimeoutError, ConnectionError) as error:
            raise Failed(str(error) or "the controller did not answer", is_passing=True) from None
        if status < 400:
            return answer
        text = str(answer.get("detail", status))
        raise Failed(text, str(answer.get("rule", "")), is_passing=status in PASSING)


def _spec_of(release: Release) -> dict[str, object]:
    return {"spec": release.spec, "filename": release.filename, "version": release.version}
