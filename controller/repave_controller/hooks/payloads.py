"""What each sender's webhook says of a build, in one form. Pure; fields that are not there are empty."""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Final

TEXT_LENGTH_MAX = 300
PATHS_MAX = 5000


class Unreadable(Exception):
    """What came is signed, and says nothing that is understood."""


@dataclass(frozen=True, slots=True)
class Built:
    """`event`: the sender's word for it. `is_foreign`: made for a change that others only propose. `paths`:
    changed files; None: not said. `at`: when it happened, as the body says; 0: it does not."""

    event: str
    is_success: bool = True
    status: str = ""
    is_foreign: bool = False
    repository: str = ""
    workflow: str = ""
    branch: str = ""
    tag: str = ""
    commit: str = ""
    number: str = ""
    environment: str = ""
    version: str = ""
    digest: str = ""
    paths: tuple[str, ...] | None = field(default=None, repr=False)
    at: float = 0.0


def built_of(sender: str, text: str, headers: Mapping[str, str]) -> Built:
    """Raises Unreadable."""
    try:
        raw = json.loads(text)
    except (ValueError, RecursionError):
        raise Unreadable("the body is no JSON") from None
    if not isinstance(raw, dict):
        raise Unreadable("the body is no JSON object")
    return replace(SENDERS[sender](_At(raw), headers), at=_happened_at(sender, raw))


class _At:
    """A part of a payload; what is not there, or of another type, is empty."""

    def __init__(self, raw: object) -> None:
        self._raw = raw if isinstance(raw, dict) else {}

    def __call__(self, name: str) -> "_At":
        return _At(self._raw.get(name))

    def text(self, name: str) -> str:
        """Also of a number."""
        found = self._raw.get(name)
        if isinstance(found, bool) or not isinstance(found, str | int):
            return ""
        shown = str(found)[:TEXT_LENGTH_MAX]
        return shown if shown.isprintable() else ""

    def is_true(self, name: str) -> bool:
        return self._raw.get(name) is True

    def has(self, name: str) -> bool:
        return name in self._raw

    def list(self, name: str) -> list[Any]:
        found = self._raw.get(name)
        return found if isinstance(found, list) else []


def _github(at: _At, headers: Mapping[str, str]) -> Built:
    event = headers.get("x-github-event", "")[:TEXT_LENGTH_MAX]
    repository = at("repository").text("full_name")
    match event:
        case "workflow_run":
            run = at("workflow_run")
            home = run("head_repository").text("full_name") or repository
            return Built(
                event,
                run.text("conclusion") == "success" and at.text("action") == "completed",
                run.text("conclusion") or at.text("action"),
                run.text("event").startswith("pull_request") or home != repository,
                repository,
                run.text("name"),
                run.text("head_branch"),
                commit=run.text("head_sha"),
                number=run.text("run_number"),
            )
        case "push":
            branch, tag = _ref(at.text("ref"))
            return Built(
                event,
                not at.is_true("deleted"),
                "deleted" if at.is_true("deleted") else "",
                repository=repository,
                branch=branch,
                tag=tag,
                commit=at.text("after"),
                paths=_paths(at),
            )
        case "release":
            release, action = at("release"), at.text("action")
            is_success = action == "published" and not release.is_true("draft")
            return Built(event, is_success, action, repository=repository, tag=release.text("tag_name"))
        case "deployment":
            deployment = at("deployment")
            told = deployment("payload")
            return Built(
                event,
                repository=repository,
                branch=deployment.text("ref"),
                commit=deployment.text("sha"),
                number=deployment.text("id"),
                environment=deployment.text("environment"),
                version=told.text("version"),
                digest=told.text("digest"),
            )
    return Built(event or "unknown", is_success=False, status=at.text("action"), repository=repository)


def _gitlab(at: _At, _: Mapping[str, str]) -> Built:
    event, repository = at.text("object_kind"), at("project").text("path_with_namespace")
    match event:
        case "pipeline":
            about = at("object_attributes")
            is_tag = about.is_true("tag")
            return Built(
                event,
                about.text("status") == "success",
                about.text("status"),
                about.text("source") in ("merge_request_event", "external_pull_request_event"),
                repository,
                about.text("name"),
                "" if is_tag else about.text("ref"),
                about.text("ref") if is_tag else "",
                about.text("sha"),
                about.text("iid") or about.text("id"),
            )
        case "build":
            is_tag = at.is_true("tag")
            return Built(
                event,
                at.text("build_status") == "success",
                at.text("build_status"),
                at.text("pipeline_source") == "merge_request_event",
                at("project").text("path_with_namespace") or at.text("project_name"),
                at.text("build_name"),
                "" if is_tag else at.text("ref"),
                at.text("ref") if is_tag else "",
                at.text("sha"),
                at.text("pipeline_id"),
                at("environment").text("name"),
            )
        case "push" | "tag_push":
            branch, tag = _ref(at.text("ref"))
            is_there = bool(at.text("after").strip("0"))
            commit = at.text("checkout_sha") or at.text("after")
            return Built(
                event,
                is_there,
                "" if is_there else "deleted",
                repository=repository,
                branch=branch,
                tag=tag,
                commit=commit,
                paths=_paths(at),
            )
        case "release":
            action = at.text("action")
            commit = at("commit").text("id")
            return Built(
                event, action == "create", action, repository=repository, tag=at.text("tag"), commit=commit
            )
        case "deployment":
            return Built(
                event,
                at.text("status") == "success",
                at.text("status"),
                repository=repository,
                branch=at.text("ref"),
                commit=at.text("short_sha"),
                number=at.text("deployment_id"),
                environment=at.text("environment"),
            )
    return Built(event or "unknown", is_success=False, repository=repository)


def _circleci(at: _At, _: Mapping[str, str]) -> Built:
    event, pipeline = at.text("type"), at("pipeline")
    about = at("workflow") if event == "workflow-completed" else at("job")
    vcs, git = pipeline("vcs"), pipeline("trigger_parameters")("git")
    origin, target = vcs.text("origin_repository_url"), vcs.text("target_repository_url")
    if event not in ("workflow-completed", "job-completed"):
        return Built(event or "unknown", is_success=False)
    return Built(
        event,
        about.text("status") == "success",
        about.text("status"),
        bool(origin and target and origin != target),
        at("project").text("slug"),
        about.text("name"),
        vcs.text("branch") or git.text("branch"),
        vcs.text("tag") or git.text("tag"),
        vcs.text("revision") or git.text("commit_sha"),
        pipeline.text("number"),
    )


def _travis(at: _At, _: Mapping[str, str]) -> Built:
    about, state = at("repository"), at.text("state")
    kind = at.text("type")
    return Built(
        "build",
        state == "passed",
        state,
        kind == "pull_request" or at.is_true("pull_request"),  # its branch is the one it is proposed for
        f"{about.text('owner_name')}/{about.text('name')}",
        branch="" if at.text("tag") else at.text("branch"),
        tag=at.text("tag"),
        commit=at.text("commit"),
        number=at.text("number"),
    )


def _jenkins(at: _At, headers: Mapping[str, str]) -> Built:
    """Of the Notification plugin; or the general form, which a step sends."""
    if not at.has("build"):
        return _generic(at, headers)
    build = at("build")
    scm, phase = build("scm"), build.text("phase").upper()
    parameters = build("parameters")
    return Built(
        "build",
        build.text("status") == "SUCCESS" and phase in ("FINALIZED", "COMPLETED"),
        f"{phase} {build.text('status')}".strip(),
        bool(parameters.text("CHANGE_ID") or parameters.text("ghprbPullId")),
        workflow=at.text("name"),
        branch=scm.text("branch").removeprefix("origin/"),
        commit=scm.text("commit"),
        number=build.text("number"),
        version=parameters.text("VERSION"),
        digest=parameters.text("DIGEST"),
    )


def _generic(at: _At, _: Mapping[str, str]) -> Built:
    """Our own form: all fields by the names that Built has."""
    status = at.text("status")
    paths = tuple(str(each)[:TEXT_LENGTH_MAX] for each in at.list("paths")[:PATHS_MAX])
    return Built(
        at.text("event") or "build",
        status in ("", "success"),
        status,
        at.is_true("is_foreign"),
        at.text("repository"),
        at.text("workflow"),
        at.text("branch"),
        at.text("tag"),
        at.text("commit"),
        at.text("number"),
        at.text("environment"),
        at.text("version"),
        at.text("digest"),
        paths if at.has("paths") else None,
    )


TIMES: Final[Mapping[str, tuple[str, ...]]] = {
    "github": (
        "workflow_run.updated_at",
        "deployment.updated_at",
        "release.published_at",
        "repository.pushed_at",
    ),
    "gitlab": (
        "object_attributes.finished_at",
        "build_finished_at",
        "status_changed_at",
        "released_at",
        "created_at",
    ),
    "circleci": ("happened_at",),
    "travis": ("finished_at",),
    "jenkins": ("build.timestamp",),
}
"""Where a body says when it happened: the first that is there counts. Not when a commit was made: an old one
may be pushed today."""
MILLISECONDS_FROM: Final = 1e11


def _happened_at(sender: str, raw: Mapping[str, Any]) -> float:
    for path in TIMES.get(sender, ()):
        found: Any = raw
        for name in path.split("."):
            found = found.get(name) if isinstance(found, dict) else None
        if seconds := _seconds(found):
            return seconds
    return 0.0


def _seconds(found: object) -> float:
    """Of ISO 8601, `2026-08-12 15:26:29 UTC`, or seconds or milliseconds since 1970; 0: of none of these."""
    if isinstance(found, int) and not isinstance(found, bool) and abs(found) < 1 << 53:
        return found / 1000 if found >= MILLISECONDS_FROM else float(found)
    if not isinstance(found, str):
        return 0.0
    try:
        at = datetime.fromisoformat(found[:40].removesuffix(" UTC"))
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return 0.0


def _ref(ref: str) -> tuple[str, str]:
    """Branch, tag."""
    if ref.startswith("refs/tags/"):
        return "", ref.removeprefix("refs/tags/")
    return ref.removeprefix("refs/heads/"), ""


def _paths(at: _At) -> tuple[str, ...]:
    """The files that the commits of a push have changed."""
    commits = [_At(each) for each in at.list("commits")]
    found: Iterable[object] = (
        path for each in commits for how in ("added", "modified", "removed") for path in each.list(how)
    )
    return tuple(dict.fromkeys(str(each)[:TEXT_LENGTH_MAX] for each in found))[:PATHS_MAX]


SENDERS: Final[Mapping[str, Callable[[_At, Mapping[str, str]], Built]]] = {
    "github": _github,
    "gitlab": _gitlab,
    "circleci": _circleci,
    "travis": _travis,
    "jenkins": _jenkins,
    "generic": _generic,
}
USUAL: Final[Mapping[str, tuple[str, ...]]] = {
    "github": ("workflow_run", "release", "deployment"),
    "gitlab": ("pipeline", "release"),
    "circleci": ("workflow-completed",),
    "travis": ("build",),
    "jenkins": ("*",),
    "generic": ("*",),
}
"""The events that say that something is built; a push does not."""
