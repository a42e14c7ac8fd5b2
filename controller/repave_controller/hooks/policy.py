"""What a build leads to by a hook's settings: which version is wanted, or why nothing follows. Pure."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from repave_controller.hooks.payloads import USUAL, Built
from repave_controller.settings import HookSettings
from repave_controller.spec.quantities import is_version

SHORT_LENGTH = 12
_DIGEST = re.compile(r"[0-9a-f]{64}")
_NOT_OF_VERSIONS = re.compile(r"[^A-Za-z0-9._+-]")


@dataclass(frozen=True, slots=True)
class Wanted:
    """Of the hook's application."""

    version: str
    digest: str = ""


@dataclass(frozen=True, slots=True)
class Ignored:
    """Nothing follows."""

    why: str


@dataclass(frozen=True, slots=True)
class Unusable:
    """It should lead to something, and can't."""

    why: str


def judge(hook: HookSettings, built: Built) -> Wanted | Ignored | Unusable:
    if not _matches(built.event, hook.events or USUAL[hook.sender]):
        return Ignored(f"{built.event} is none of the hook's events")
    if built.is_foreign:
        return Ignored("it was built for a change that is only proposed")
    if not built.is_success:
        return Ignored(f"{built.event} has not succeeded: {built.status or 'no status'}")
    for name, value, globs in (
        ("repository", built.repository, hook.repositories),
        ("workflow", built.workflow, hook.workflows),
        ("environment", built.environment, hook.environments),
    ):
        if globs and not _matches(value, globs):
            return Ignored(f"{name} {value or '(none)'} is none of {' '.join(globs)}")
    if why := _of_another_ref(hook, built) or _of_other_paths(hook, built):
        return Ignored(why)
    return _wanted(hook, built)


def _of_another_ref(hook: HookSettings, built: Built) -> str:
    """Why its branch or tag is not meant; "" if it is."""
    if built.tag:
        return "" if _matches(built.tag, hook.tags) else f"tag {built.tag} is none of {_shown(hook.tags)}"
    if not hook.branches or _matches(built.branch, hook.branches):
        return ""
    return f"branch {built.branch or '(none)'} is none of {_shown(hook.branches)}"


def _of_other_paths(hook: HookSettings, built: Built) -> str:
    if not hook.paths:
        return ""
    if built.paths is None:
        return f"the hook has paths, and {built.event} does not say which files were changed"
    if any(_matches(each, hook.paths) for each in built.paths):
        return ""
    return f"no changed file is one of {_shown(hook.paths)}"


def _wanted(hook: HookSettings, built: Built) -> Wanted | Unusable:
    if built.digest and _DIGEST.fullmatch(built.digest) is None:
        return Unusable("digest is no SHA-256 of 64 digits from 0 to 9 and a to f")
    usual = built.version or built.tag or built.commit[:SHORT_LENGTH] or built.number
    words = {
        "version": built.version,
        "tag": built.tag,
        "commit": built.commit,
        "short": built.commit[:SHORT_LENGTH],
        "number": built.number,
        "branch": built.branch,
    }
    found = re.sub(r"\{(\w+)\}", lambda each: words[each[1]], hook.version) if hook.version else usual
    version = _NOT_OF_VERSIONS.sub("-", found)
    if not version or not is_version(version):
        return Unusable(f"{found!a} is no version: letters, digits and . _ + -, at most 64")
    return Wanted(version, built.digest)


def _matches(value: str, globs: Sequence[str]) -> bool:
    return any(fnmatchcase(value, each) for each in globs)


def _shown(globs: Sequence[str]) -> str:
    return " ".join(globs) or "(none)"
