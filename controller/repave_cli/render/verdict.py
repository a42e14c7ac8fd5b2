"""How a rollout ended, or where it is, for a CI: as Markdown for the step's summary, and as JUnit's XML with
a case for the release, each step, each region, each gate, and in JUnit each step in each region. One that was
never reached is skipped.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from xml.sax.saxutils import escape, quoteattr

from repave_cli.render.markdown import code, escaped, table
from repave_cli.render.output import span
from repave_cli.transport import exit_codes
from repave_protos.daemon.printable import printable

REGIONS_SHOWN_MAX = 50
VERDICTS: Final[Mapping[int, str]] = {
    exit_codes.DONE: "released",
    exit_codes.ERROR: "error",
    exit_codes.USAGE: "wrong usage",
    exit_codes.ROLLED_BACK: "rolled back",
    exit_codes.DENIED: "not allowed",
    exit_codes.REFUSED: "refused",
    exit_codes.WAITS: "waits for a person",
    exit_codes.TIMED_OUT: "still running",
    exit_codes.HELD: "held",
    exit_codes.DETACHED: "left running",
    exit_codes.TERMINATED: "left running",
}
OPEN: Final = (exit_codes.WAITS, exit_codes.TIMED_OUT, exit_codes.DETACHED, exit_codes.TERMINATED)
"""Exit codes of rollouts that go on."""
MARKS: Final = {"passed": "✅", "failed": "❌", "skipped": "⚪", "running": "⏳"}


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a command came to: its exit code, what it was about, and what it said last."""

    command: str
    exit_code: int
    application: str
    rollout: Mapping[str, Any] | None
    text: str = ""
    queued: bool = False

    @property
    def word(self) -> str:
        if self.queued:
            return "queued"
        if self.exit_code == exit_codes.DONE and self.rollout is not None:
            return str(self.rollout["phase"])
        return VERDICTS.get(self.exit_code, "error")

    @property
    def why(self) -> str:
        return self.text or str((self.rollout or {}).get("outcome", ""))


@dataclass(frozen=True, slots=True)
class Case:
    """One thing that was to go well; `state`: passed, failed, skipped or running."""

    kind: str
    name: str
    state: str
    text: str = ""


def cases_of(verdict: Verdict) -> list[Case]:
    rollout = verdict.rollout
    state = "passed" if verdict.exit_code == exit_codes.DONE else "failed"
    state = "running" if verdict.exit_code in OPEN or verdict.queued else state
    whole = Case("release", verdict.command, state, verdict.why)
    if rollout is None:
        return [whole]
    return [whole, *_steps(rollout), *_regions(rollout), *_gates(rollout)]


def _steps(rollout: Mapping[str, Any]) -> Iterator[Case]:
    is_over = bool(rollout["ended_at"])
    is_good = rollout["phase"] == "succeeded"
    for number, step in enumerate(rollout["steps"], start=1):
        state = {"done": "passed", "running": "running"}.get(step["state"], "skipped")
        state = "failed" if state == "running" and is_over and not is_good else state
        text = rollout["outcome"] if state == "failed" else ""
        yield Case("step", f"{number} {step['text']}", state, text)


def _regions(rollout: Mapping[str, Any]) -> Iterator[Case]:
    states = {
        "done": "passed",
        "running": "running",
        "undoing": "failed",
        "undone": "failed",
        "held": "failed",
    }
    for number, wave in enumerate(rollout["waves"], start=1):
        for track in wave["regions"]:
            state = states.get(track["phase"], "skipped")
            text = track["reason"] or (rollout["outcome"] if state == "failed" else "")
            yield Case("region", f"{track['region']} (wave {number})", state, text or track["phase"])


def checks_of(verdict: Verdict) -> Iterator[Case]:
    """Each step in each region: too many for a person, and what a CI wants to tell which one failed where."""
    rollout = verdict.rollout
    tracks = [track for wave in rollout["waves"] for track in wave["regions"]] if rollout is not None else []
    for track in tracks:
        for number, step in enumerate(rollout["steps"] if rollout is not None else ()):
            state = _state_there(track, number)
            text = track["reason"] if state == "failed" else ""
            yield Case("check", f"{track['region']}: {number + 1} {step['text']}", state, text or state)


def _state_there(track: Mapping[str, Any], number: int) -> str:
    """Of a step in a region: those before its own are passed."""
    if track["phase"] == "done":
        return "passed"
    if track["phase"] in ("waiting", "skipped") or number > track["step"]:
        return "skipped"
    if number < track["step"]:
        return "passed"
    return "running" if track["phase"] == "running" else "failed"


def _gates(rollout: Mapping[str, Any]) -> Iterator[Case]:
    for each in rollout["passes"]:
        state = "failed" if each["kind"] == "objected" else "passed"
        yield Case("gate", f"{each['gate']} {each['kind']}", state, f"by {each['by']}" if each["by"] else "")


def _seconds(rollout: Mapping[str, Any] | None) -> float:
    if rollout is None or not rollout["ended_at"]:
        return 0.0
    began, ended = (datetime.fromisoformat(rollout[name]) for name in ("started_at", "ended_at"))
    return (ended - began).total_seconds()


# ------------------------------------------------------------------------------------------------- Markdown


def markdown_of(verdict: Verdict) -> str:
    """What a person reads on the page of the CI's job."""
    whole, *cases = cases_of(verdict)
    rollout = verdict.rollout
    what = rollout["group"] if rollout is not None else verdict.application
    version = f" ({escaped(rollout['version'])})" if rollout is not None and rollout["version"] else ""
    took = f" in {span(_seconds(rollout))}" if _seconds(rollout) else ""
    lines = [f"### {MARKS[whole.state]} {code(what)}{version} {escaped(verdict.word)}{took}", ""]
    lines += [escaped(verdict.why), ""] if verdict.why else []
    lines += _ways(verdict)
    for kind, title in (("step", "Step"), ("region", "Region"), ("gate", "Gate")):
        found = [each for each in cases if each.kind == kind]
        if found:
            rows = [(MARKS[each.state], escaped(each.name), escaped(each.text)) for each in _worst(found)]
            lines += [*table(("", title, ""), rows), ""]
            lines += [f"... and {len(found) - len(rows)} more", ""] if len(found) > len(rows) else []
    return "\n".join(lines)


def _worst(cases: list[Case]) -> list[Case]:
    """As they come, where all have room; else those that failed or run first."""
    if len(cases) <= REGIONS_SHOWN_MAX:
        return cases
    order = ("failed", "running", "skipped", "passed")
    return sorted(cases, key=lambda each: order.index(each.state))[:REGIONS_SHOWN_MAX]


def _ways(verdict: Verdict) -> list[str]:
    """What one may do now."""
    app = verdict.application
    if not app:
        return []
    if verdict.exit_code in OPEN or verdict.queued:
        ways = [f"repave watch {app}", f"repave abort {app}"]
    elif verdict.exit_code == exit_codes.DONE and verdict.command == "release":
        ways = [f"repave rollback {app}"]
    elif verdict.rollout is not None:
        ways = [f"repave why {app}", f"repave events {app}"]
    else:
        return []
    return [f"Next: {', '.join(map(code, ways))}", ""]


# ---------------------------------------------------------------------------------------------------- JUnit


def junit_of(verdict: Verdict) -> str:
    """One suite; a case that runs still is skipped, as JUnit knows no other word."""
    cases, rollout = [*cases_of(verdict), *checks_of(verdict)], verdict.rollout
    name = _xml(rollout["group"] if rollout is not None else verdict.application or "repave")
    failed = sum(each.state == "failed" for each in cases)
    skipped = sum(each.state in ("skipped", "running") for each in cases)
    began = f" timestamp={quoteattr(rollout['started_at'][:19])}" if rollout is not None else ""
    counts = f'tests="{len(cases)}" failures="{failed}" errors="0"'
    time = f'time="{_seconds(rollout):.3f}"'
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        f'<testsuites name="repave" {counts} {time}>',
        f'  <testsuite name={name} {counts} skipped="{skipped}" {time}{began} hostname="repave">',
    ]
    for each in cases:
        lines += _case(each, name, _seconds(rollout) if each.kind == "release" else 0.0)
    return "\n".join([*lines, "  </testsuite>", "</testsuites>", ""])


def _case(case: Case, suite: str, seconds: float) -> Iterator[str]:
    place = f"name={_xml(case.name)} classname={_xml(f'{suite[1:-1]}.{case.kind}')}"
    head = f'    <testcase {place} time="{seconds:.3f}"'
    if case.state == "passed":
        yield f"{head}/>"
        return
    yield f"{head}>"
    said = _xml(case.text or case.state)
    if case.state == "failed":
        yield f'      <failure message={said} type="{case.kind}">{escape(printable(case.text))}</failure>'
    else:
        yield f"      <skipped message={said}/>"
    yield "    </testcase>"


def _xml(text: str) -> str:
    """As an attribute, without characters that XML has not."""
    return quoteattr(printable(text))
