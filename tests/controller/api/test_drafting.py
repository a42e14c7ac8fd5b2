"""What comes before a release: the spec that serves, a plan that was shown, a rehearsal."""

import asyncio
import http.client
import json
import sys
from typing import Any

import pytest

from repave_controller.core.domain.instants import Instant
from repave_controller.operations.drafts import DRAFTS_MAX, SPEC_CHARACTERS_MAX, Draft, Drafts
from repave_controller.operations.rehearsals import (
    RehearsalBusyError,
    RehearsalFailedError,
    Rehearsals,
    Rehearsed,
)
from repave_protos.protocol.values import ApplicationName, Digest
from tests.controller.api.conftest import SPEC, Asked
from tests.fakes.controller.asking import Answered

SAYS = "import json, os, sys; print(json.dumps({'words': sys.argv[1:], 'nice': os.nice(0)}))"


def test_the_spec_that_serves_is_told_and_another_group_s_by_name(api: Asked) -> None:
    assert api.get("applications/hello/spec").status == 404
    api.release("v1")
    api.ended()
    changed = SPEC.replace("size: 3", "size: 4")
    api.release("v2", spec=changed)
    api.ended()
    newest, older = api.get("applications/hello/spec"), api.get("applications/hello/spec?group=hello-v001")
    assert (newest.json["group"], newest.json["version"], newest.json["text"]) == (
        "hello-v002",
        "v2",
        changed,
    )
    assert (older.json["group"], older.json["version"], older.json["text"]) == ("hello-v001", "v1", SPEC)
    assert api.get("applications/hello/spec?group=hello-v009").status == 422
    assert api.get("applications/hello/spec?release=1").json["text"] == SPEC
    assert api.get("applications/hello/spec?release=3").json["rule"] == "unknown-spec"


def test_a_plan_that_was_shown_is_found_by_its_id(api: Asked) -> None:
    asked = {"spec": SPEC, "digest": api.push(), "version": "1.0", "filename": "my.yaml"}
    plan = api.post("plan", asked).json["id"]
    draft = api.get(f"plans/{plan.lower()}")
    assert draft.status == 200, draft.content
    kept = {name: draft.json[name] for name in asked}
    assert (kept, draft.json["id"], draft.json["application"]) == (asked, plan, "hello")
    assert api.post("plan", kept).json["id"] == plan
    listed = api.get("plans").json["items"]
    assert [(each["id"], each["application"], each["version"]) for each in listed] == [(plan, "hello", "1.0")]
    unknown = api.get("plans/C81CFE1E")
    assert (unknown.status, unknown.json["type"]) == (404, "urn:repave:problem:unknown-plan")


def _draft(spec: str) -> Draft:
    return Draft(ApplicationName("a"), spec, "f", Digest("0" * 64), "1", False, Instant(0.0))


@pytest.mark.parametrize(
    ("spec", "kept"),
    [("x", DRAFTS_MAX), ("x" * (SPEC_CHARACTERS_MAX // 4), 4), ("x" * SPEC_CHARACTERS_MAX, 1)],
)
async def test_the_oldest_plans_are_forgotten_by_number_and_by_length(spec: str, kept: int) -> None:
    drafts = Drafts()
    names = [f"P{number}" for number in range(DRAFTS_MAX + 5)]
    for name in names:
        drafts.remember(name, _draft(spec))
        drafts.remember(name, _draft(spec))
    assert [name for name in names if await drafts.find(name)] == names[-kept:]


# --------------------------------------------------------------------------------------------- rehearsals


def _python(text: str, **bounds: int) -> Rehearsals:
    return Rehearsals((sys.executable, "-c", text), **bounds)


async def test_a_rehearsal_is_a_process_of_its_own_that_is_last_in_line() -> None:
    rehearsals = _python(SAYS)
    serving = (("oslo", 3), ("paris", 2))
    answer = await rehearsals.run(Rehearsed("spec", serving, "none"))
    words: Any = answer["words"]
    assert words[:1] + words[2:] == ["-f", "-o", "json", "--faults", "none", "--serving", "oslo=3,paris=2"]
    assert (await rehearsals.run(Rehearsed("spec", (), "all")))["words"][-1] == "--from-scratch"


async def test_only_one_runs_at_a_time_and_the_same_is_not_run_twice() -> None:
    rehearsals = _python("import sys; sys.stdin.read(); print('{}')")
    first = asyncio.ensure_future(rehearsals.run(Rehearsed("a", (), "none")))
    await asyncio.sleep(0)
    with pytest.raises(RehearsalBusyError):
        await rehearsals.run(Rehearsed("b", (), "none"))
    assert await first is await rehearsals.run(Rehearsed("a", (), "none"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("while True: pass", "ended by signal 24: it may take 1 s"),
        ("x = bytearray(4 << 30)", "MemoryError"),
        ("import sys; sys.exit('out of luck')", "^out of luck$"),
        ("raise SystemExit(3)", "it ended with 3 and said nothing"),
    ],
)
async def test_one_that_takes_too_much_or_fails_says_so_and_lets_the_next_one_run(
    text: str, said: str
) -> None:
    rehearsals = _python(text, cpu_seconds=1 if "while" in text else 60)
    for _ in range(1 if "while" in text else 2):
        with pytest.raises(RehearsalFailedError, match=said):
            await rehearsals.run(Rehearsed("spec", (), "none"))


def simulated(api: Asked, body: object) -> Answered:
    """With patience: it is the last in line for a processor that other tests want too."""
    connection = http.client.HTTPConnection(api.url.removeprefix("http://"), timeout=250)
    try:
        connection.request("POST", "/v1/simulations", json.dumps(body), {"Content-Type": "application/json"})
        response = connection.getresponse()
        return Answered(response.status, dict(response.getheaders()), response.read())
    finally:
        connection.close()


def test_a_release_is_rehearsed_on_the_controller(api: Asked) -> None:
    api.release("v1")
    api.ended()
    answer = simulated(api, {"spec": SPEC})
    assert answer.status == 200, answer.content
    told = answer.json
    assert (told["application"], told["is_fine"], told["faults"]) == ("hello", True, [])
    assert {each["name"]: (each["size"], each["old_size"]) for each in told["regions"]} == {
        "paris": (2, 2),
        "oslo": (3, 3),
    }
    assert next(each["step"] for each in told["calm"]["steps"]) == "scale"


@pytest.mark.parametrize(
    ("body", "rule"),
    [
        ({"spec": SPEC.replace("size: 2", "size: 0")}, "spec"),
        ({"spec": SPEC, "faults": ["../etc"]}, "bad-request"),
        ({"spec": SPEC, "faults": ["no-such-fault"]}, "simulation-failed"),
    ],
)
def test_a_rehearsal_that_cannot_be_says_why(api: Asked, body: dict[str, Any], rule: str) -> None:
    answer = simulated(api, body)
    assert (answer.status // 100, answer.json["type"].rpartition(":")[2]) == (4, rule)
