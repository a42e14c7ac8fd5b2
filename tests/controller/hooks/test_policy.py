"""What each sender's webhook says, and what follows from it by the settings."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from repave_controller.hooks.payloads import SENDERS, Built, Unreadable, built_of
from repave_controller.hooks.policy import Ignored, Unusable, Wanted, judge
from repave_controller.hooks.verification import payload_of
from repave_controller.settings import HookSettings
from tests.controller.hooks.senders import PAYLOADS, SHA, arrived

SHORT = SHA[:12]


def hook(sender: str, **more: Any) -> HookSettings:
    given = {"from": sender, "secret": "/s", "application": "web", **more}
    return HookSettings.model_validate(given)


def judged(name: str, changes: dict[str, Any] | None = None, **more: Any) -> Wanted | Ignored | Unusable:
    sender = name.partition(" ")[0]
    came = arrived(name, **(changes or {}))
    return judge(hook(sender, **more), built_of(sender, payload_of(came), came.headers))


@pytest.mark.parametrize(
    ("name", "more", "version"),
    [
        ("github workflow_run", {}, SHORT),
        ("github push", {"events": ["push"]}, SHORT),
        ("github release", {"tags": ["v*"]}, "v1.2.3"),
        ("github deployment", {"environments": ["production"]}, "2.0"),
        ("gitlab pipeline", {}, SHORT),
        ("gitlab push", {"events": ["push"]}, SHORT),
        ("gitlab release", {"tags": ["v*"]}, "v1.2.3"),
        ("gitlab build", {"events": ["build"], "environments": ["prod*"]}, SHORT),
        ("circleci workflow-completed", {}, SHORT),
        ("travis build", {}, SHORT),
        ("jenkins build", {}, SHORT),
        ("generic build", {}, "2.0"),
    ],
)
def test_what_is_built_is_wanted(name: str, more: dict[str, Any], version: str) -> None:
    found = judged(name, **more)
    assert isinstance(found, Wanted), found
    assert found.version == version


@pytest.mark.parametrize(
    ("name", "changes", "more", "why"),
    [
        ("github push", {}, {}, "none of the hook's events"),
        ("github workflow_run", {"action": "requested"}, {}, "has not succeeded"),
        ("github workflow_run", {"workflow_run__conclusion": "failure"}, {}, "not succeeded: failure"),
        ("github workflow_run", {"workflow_run__conclusion": None}, {}, "not succeeded: completed"),
        ("github workflow_run", {"workflow_run__event": "pull_request"}, {}, "only proposed"),
        ("github workflow_run", {"workflow_run__event": "pull_request_target"}, {}, "only proposed"),
        (
            "github workflow_run",
            {"workflow_run__head_repository": {"full_name": "eve/web"}},
            {},
            "only proposed",
        ),
        ("github workflow_run", {"workflow_run__head_branch": "feature"}, {}, "branch feature is none of"),
        ("github workflow_run", {}, {"workflows": ["release"]}, "workflow build is none of release"),
        ("github workflow_run", {}, {"repositories": ["acme/shop"]}, "repository acme/web is none of"),
        ("github workflow_run", {}, {"paths": ["web/*"]}, "does not say which files"),
        ("github push", {"deleted": True}, {"events": ["push"]}, "not succeeded: deleted"),
        ("github push", {}, {"events": ["push"], "paths": ["shop/*"]}, "no changed file"),
        ("github release", {}, {}, "tag v1.2.3 is none of (none)"),
        ("github release", {"action": "created"}, {"tags": ["*"]}, "not succeeded: created"),
        ("github release", {"release__draft": True}, {"tags": ["*"]}, "has not succeeded"),
        ("github deployment", {}, {"environments": ["staging"]}, "environment production is none of"),
        ("gitlab pipeline", {"object_attributes__status": "failed"}, {}, "not succeeded: failed"),
        ("gitlab pipeline", {"object_attributes__source": "merge_request_event"}, {}, "only proposed"),
        ("gitlab pipeline", {"object_attributes__tag": True}, {}, "tag main is none of"),
        ("gitlab push", {"after": "0" * 40}, {"events": ["push"]}, "deleted"),
        ("circleci workflow-completed", {"workflow__status": "canceled"}, {}, "canceled"),
        (
            "circleci workflow-completed",
            {"pipeline__vcs__origin_repository_url": "https://github.com/eve/web"},
            {},
            "only proposed",
        ),
        ("travis build", {"state": "failed"}, {}, "not succeeded: failed"),
        ("travis build", {"type": "pull_request"}, {}, "only proposed"),
        ("travis build", {"tag": "v9"}, {}, "tag v9 is none of"),
        ("jenkins build", {"build__status": "UNSTABLE"}, {}, "UNSTABLE"),
        ("jenkins build", {"build__phase": "STARTED"}, {}, "STARTED"),
        ("jenkins build", {"build__scm__branch": "origin/feature"}, {}, "branch feature"),
        ("generic build", {"status": "failed"}, {}, "not succeeded: failed"),
        ("generic build", {"branch": ""}, {}, "branch (none) is none of"),
        ("generic build", {"is_foreign": True}, {}, "only proposed"),
    ],
)
def test_what_is_not_meant_leads_to_nothing_and_says_why(
    name: str, changes: dict[str, Any], more: dict[str, Any], why: str
) -> None:
    found = judged(name, changes, **more)
    assert isinstance(found, Ignored), found
    assert why in found.why


@pytest.mark.parametrize(
    ("template", "version"),
    [
        ("{commit}", SHA),
        ("{short}", SHORT),
        ("1.0.{number}", "1.0.562"),
        ("{branch}-{short}", f"main-{SHORT}"),
    ],
)
def test_the_version_may_be_made_of_what_is_known(template: str, version: str) -> None:
    assert judged("github workflow_run", version=template) == Wanted(version)


def test_a_branch_with_other_signs_makes_a_version() -> None:
    found = judged("generic build", {"branch": "fix/ü b"}, branches=["*"], version="{branch}")
    assert found == Wanted("fix---b", "a" * 64)


@pytest.mark.parametrize(
    ("changes", "more"),
    [
        ({"digest": "abc"}, {}),
        ({"digest": "A" * 64}, {}),
        ({"version": "", "commit": ""}, {}),
        ({"version": "x" * 65}, {}),
        ({}, {"version": "{tag}"}),
    ],
)
def test_what_names_no_package_is_unusable(changes: dict[str, Any], more: dict[str, Any]) -> None:
    assert isinstance(judged("generic build", changes, **more), Unusable)


@pytest.mark.parametrize("text", ["", "{", "[]", "1", "null", '"x"', "[" * 100_000, "\udcff", "1e999x"])
def test_what_is_no_object_is_said_to_be_none(text: str) -> None:
    with pytest.raises(Unreadable):
        built_of("generic", text, {})


@pytest.mark.parametrize("sender", sorted(SENDERS))
@pytest.mark.parametrize("name", sorted(PAYLOADS))
def test_whatever_type_a_field_has_nothing_breaks(sender: str, name: str) -> None:
    values: list[Any] = [None, True, 7, 1.5, "x\x1b[31m", [], [None], {}, {"x": {}}]
    for value in values:
        raw: dict[str, Any] = dict.fromkeys(PAYLOADS[name], value)
        built = built_of(sender, json.dumps(raw), {"x-github-event": name.partition(" ")[2]})
        judge(hook(sender, branches=["*"], tags=["*"], paths=["*"]), built)


TREES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)


@settings(max_examples=30)
@given(st.sampled_from(sorted(SENDERS)), st.dictionaries(st.text(), TREES))
def test_any_object_can_be_judged(sender: str, raw: dict[str, Any]) -> None:
    found = judge(hook(sender, events=["*"], branches=["*"]), built_of(sender, json.dumps(raw), {}))
    assert isinstance(found, Wanted | Ignored | Unusable)


@given(st.text(), st.text(), st.text())
def test_a_version_never_has_what_could_be_part_of_a_path(branch: str, tag: str, commit: str) -> None:
    built = Built("build", branch=branch, tag=tag, commit=commit)
    found = judge(hook("generic", branches=["*"], tags=["*"]), built)
    if isinstance(found, Wanted):
        assert "/" not in found.version
        assert found.version.isascii()


@pytest.mark.parametrize("template", ["{sha}", "{}", "{commit", "{commit.__class__}", "{0}"])
def test_a_template_with_something_else_is_refused(template: str) -> None:
    with pytest.raises(ValueError, match="it may have"):
        hook("github", version=template)


def test_a_hook_without_a_secret_is_refused_but_for_travis() -> None:
    with pytest.raises(ValueError, match="secret"):
        HookSettings.model_validate({"from": "github", "application": "web"})
    assert HookSettings.model_validate({"from": "travis", "application": "web"}).secret is None
