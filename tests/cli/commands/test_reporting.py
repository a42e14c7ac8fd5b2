"""A release in a pipeline: its summary in Markdown, its verdicts as JUnit, how it ends, and that it may be
run again or cancelled."""

import os
import signal
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

from repave_cli.render.markdown import escaped
from repave_cli.render.verdict import Verdict, junit_of, markdown_of
from tests.fakes.controller.command_line import SPEC, CommandLine
from tests.fakes.controller.scheduler import ServedController

GATED = SPEC.replace("{blue_green: {warm: 0s}}", "{canary: {steps: [{traffic: 50%, approve: leads}]}}")
SUITES = {"name", "tests", "failures", "errors", "time"}
SUITE = {*SUITES, "skipped", "timestamp", "hostname"}


def suite_of(file: Path) -> ET.Element:
    """The one suite of a report that keeps to the common JUnit schema: names, and counts that are true."""
    root = ET.fromstring(file.read_text())
    assert (root.tag, set(root.attrib)) == ("testsuites", SUITES)
    (suite,) = root
    assert suite.tag == "testsuite"
    assert set(suite.attrib) <= SUITE
    cases = list(suite)
    for case in cases:
        assert (case.tag, set(case.attrib)) == ("testcase", {"name", "classname", "time"})
        assert float(case.attrib["time"]) >= 0
        assert [each.tag for each in case] in ([], ["failure"], ["skipped"])
        assert all(each.attrib["message"] for each in case)
    for name, tag in (("failures", "failure"), ("skipped", "skipped")):
        assert int(suite.attrib[name]) == len(suite.findall(f"testcase/{tag}"))
    assert int(suite.attrib["tests"]) == len(cases) == int(root.attrib["tests"])
    return suite


def reports(repave: CommandLine) -> tuple[list[str], Path, Path]:
    summary, junit = repave.folder / "summary.md", repave.folder / "repave.xml"
    return ["--summary", str(summary), "--junit", str(junit)], summary, junit


def test_a_release_that_succeeds(repave: CommandLine) -> None:
    options, summary, junit = reports(repave)
    summary.write_text("# of an earlier step\n\n")
    ran = repave.release("v1", *options, "-o", "json")
    assert (ran.code, ran.json["exit_code"], ran.json["phase"]) == (0, 0, "succeeded")
    assert summary.read_text().startswith("# of an earlier step\n\n### ✅ `hello-v001` (v1) succeeded")
    for text in ("`repave rollback hello`", "| ✅ | oslo (wave 1) |", "| ✅ | paris (wave 1) |"):
        assert text in summary.read_text()
    suite = suite_of(junit)
    assert (suite.attrib["name"], suite.attrib["failures"], suite.attrib["skipped"]) == (
        "hello-v001",
        "0",
        "0",
    )
    kinds = {case.attrib["classname"].rpartition(".")[2] for case in suite}
    assert kinds == {"release", "step", "region", "check"}
    checks = [case for case in suite if case.attrib["classname"].endswith(".check")]
    assert {case.attrib["name"].partition(":")[0] for case in checks} == {"oslo", "paris"}
    assert all(len(case) == 0 for case in checks), "each has passed"


def test_a_release_that_goes_back(repave: CommandLine, controller: ServedController) -> None:
    assert repave.release("v1").code == 0
    controller.sessions.broken.add("hello-v002")
    options, summary, junit = reports(repave)
    ran = repave.release("v2", *options, "-o", "json")
    assert (ran.code, ran.json["exit_code"], ran.json["phase"]) == (3, 3, "rolled-back")
    assert summary.read_text().startswith("### ❌ `hello-v002` (v2) rolled back")
    assert "exited with code 1" in summary.read_text()
    suite = suite_of(junit)
    assert int(suite.attrib["failures"]) >= 2
    failed = suite.findall("testcase/failure[@type='check']")
    assert [each.attrib["message"] for each in failed] == [failed[0].attrib["message"]] * len(failed) != []
    assert "exited with code 1" in suite.find("testcase/failure").attrib["message"]  # type: ignore[union-attr]


def test_a_release_that_waits_for_a_person_and_goes_on(repave: CommandLine) -> None:
    assert repave.release("v1").code == 0
    (repave.folder / "repave.yaml").write_text(GATED)
    options, summary, junit = reports(repave)
    ran = repave.release("v2", *options, "--until-gate", "-o", "json")
    assert (ran.code, ran.json["exit_code"], ran.json["phase"]) == (6, 6, "running")
    assert summary.read_text().startswith("### ⏳ `hello-v002` (v2) waits for a person")
    assert suite_of(junit).attrib["failures"] == "0"
    again = repave.release("v2", *options, "--until-gate")
    assert (again.code, "was requested already; joining it" in again.err) == (6, True)
    assert len(repave("history", "hello", "-o", "json").json["items"]) == 2, (
        "the job was run again, and joined it"
    )
    repave("promote", "hello", "--role", "leads")
    assert repave("watch", "hello").code == 0


def test_what_is_refused_is_reported(repave: CommandLine) -> None:
    assert repave.release("v1").code == 0
    (repave.folder / "repave.yaml").write_text(SPEC.replace("port: 8000", "port: 8001"))
    options, summary, junit = reports(repave)
    ran = repave.release("v2", *options)
    assert ran.code in (2, 5)
    assert summary.read_text().startswith("### ❌ ")
    assert "port" in summary.read_text()
    assert suite_of(junit).attrib["failures"] == "1"


def test_a_timeout_is_no_failure_of_the_release(repave: CommandLine, controller: ServedController) -> None:
    controller.hold()
    options, summary, junit = reports(repave)
    assert repave.release("v1", *options, "--timeout", "0.1s").code == 7
    assert summary.read_text().startswith("### ⏳ `hello-v001` (v1) still running")
    assert "`repave abort hello`" in summary.read_text()
    assert suite_of(junit).attrib["failures"] == "0"


def test_a_cancelled_job_says_what_goes_on_and_how_to_end_it(
    repave: CommandLine, controller: ServedController
) -> None:
    controller.hold()
    options, summary, _ = reports(repave)
    command = [sys.executable, "-m", "repave_cli.main", "release", "--version", "v1", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as job:
        assert job.stderr is not None
        while "release of hello-v001: running" not in (line := job.stderr.readline()):
            assert line, "it ended"
        job.send_signal(signal.SIGTERM)
        out, err = job.communicate(timeout=60)
    assert (job.returncode, out) == (143, "")
    assert "ended by SIGTERM; the rollout of hello goes on" in err
    assert "repave abort hello ends it" in err
    assert "left running" in summary.read_text()
    assert repave("status", "hello", "-o", "json").json["phase"] == "running"


def test_a_report_that_can_not_be_written_is_said(repave: CommandLine) -> None:
    ran = repave.release("v1", "--summary", str(repave.folder / "nowhere" / "summary.md"))
    assert ran.code == 1
    assert "nowhere/summary.md: No such file or directory" in ran.err
    assert repave("status", "hello", "-o", "json").json["phase"] == "succeeded"


HOSTILE = 'a|b <script> `x` @team ]]> \x1b[2J \x00 "&\n# heading'


def test_what_others_wrote_can_neither_format_nor_break_a_report() -> None:
    verdict = Verdict("release", 3, "hello", None, HOSTILE)
    text = markdown_of(verdict)
    assert "<script>" not in text.replace("\\<", "")
    assert "@team" not in text
    assert "\n# heading" not in text
    ET.fromstring(junit_of(verdict))
    assert escaped("a|b") == "a\\|b"


def test_a_plan_is_ready_for_a_comment(repave: CommandLine) -> None:
    lines = repave("plan", "--version", "v1", "-o", "markdown").out.splitlines()
    assert lines[0] == "### repave plan: `hello`"
    text = "\n".join(lines)
    for each in (
        "**Creates 5 hosts",
        "| STEP |",
        "<details>",
        "</details>",
        "To run exactly this: `repave release --plan",
    ):
        assert each in text
    assert text.count("<details>") == text.count("</details>")
    assert repave("plan", "-o", "markdown").code == 0
    repave.release("v1")
    assert repave("apps", "-o", "markdown").out.startswith("| NAME | SERVING |")
    assert os.environ.get("REPAVE_OUTPUT") is None
