"""Holds what runs the checks elsewhere, hosted CI and commit hooks, to `.ci/run` and `make check`."""

import re
import subprocess
import sys
from pathlib import Path

from ruamel.yaml import YAML

from tests.support.paths import ROOT

WORKFLOW = ROOT / ".github" / "workflows" / "ci.yml"
HOOKS = ROOT / ".pre-commit-config.yaml"


def check(file: Path, schema: str) -> int:
    """By the schemas that check-jsonschema brings along: nothing is fetched."""
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, str(file)]
    return subprocess.run(command, capture_output=True, timeout=60, check=False).returncode


def test_the_hosted_ci_is_a_valid_workflow() -> None:
    assert check(WORKFLOW, "vendor.github-workflows") == 0


def test_an_invalid_workflow_would_be_noticed(tmp_path: Path) -> None:
    wrong = tmp_path / "ci.yml"
    wrong.write_text(WORKFLOW.read_text().replace("runs-on", "run-on"))
    assert check(wrong, "vendor.github-workflows") == 1


def test_the_hosted_ci_runs_the_gate_and_pins_what_it_uses() -> None:
    steps = YAML(typ="safe").load(WORKFLOW)["jobs"]["gate"]["steps"]
    assert [step["run"] for step in steps if "run" in step] == ["bash .ci/run"]
    for step in (step for step in steps if "uses" in step):
        assert re.fullmatch(r"[\w/-]+@[0-9a-f]{40}", step["uses"]), step["uses"]


def test_the_commit_hooks_are_local_and_run_what_make_check_runs() -> None:
    repositories = YAML(typ="safe").load(HOOKS)["repos"]
    assert {repository["repo"] for repository in repositories} == {"local"}
    hooks = [hook["entry"] for repository in repositories for hook in repository["hooks"]]
    target = (ROOT / "Makefile").read_text().split("\ncheck: ")[1].split("\n\n")[0]
    checks = [line.replace("$(VENV)", ".venv").removesuffix(" .") for line in re.findall(r"@(.+)", target)]
    assert checks
    assert [hook.removesuffix(" --force-exclude") for hook in hooks] == checks


def test_the_commit_hooks_are_a_valid_configuration() -> None:
    command = [str(Path(sys.executable).with_name("prek")), "validate-config", str(HOOKS)]
    assert subprocess.run(command, capture_output=True, timeout=60, check=False).returncode == 0
