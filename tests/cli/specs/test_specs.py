"""init, validate, schema: everything that needs no controller."""

import json
from pathlib import Path

from repave_controller.core.domain.analyses import AnalysisPlan
from repave_controller.spec.loader import load
from repave_controller.spec.spec import Spec, compile_order
from repave_protos.protocol.values import Digest
from tests.support.cli_types import Run


def compiled(spec: Spec) -> AnalysisPlan:
    """The one analysis of its releases."""
    steps = compile_order(spec, Digest("0" * 64), "1").steps
    (plan,) = (each.analysis for each in steps if each.analysis is not None)
    return plan


def test_init_writes_a_spec_that_is_valid_at_once_and_never_overwrites(run: Run, app: Path) -> None:
    (app / "repave.yaml").unlink()
    (app / "app.py").write_text("print()\n")
    assert run("init", "--region", "paris").code == 0
    assert "python3 app.py" in (app / "repave.yaml").read_text()
    assert "in 1 region\n" in run("validate").out
    plan = compiled(load((app / "repave.yaml").read_text(), "repave.yaml")[0])
    assert [each.metric.name for each in plan.readings] == ["errors", "latency"]
    assert {each.source for each in plan.readings} == {"balancer"}
    assert plan.on_inconclusive == "pass", "an application without traffic is held by nothing"
    ran = run("init")
    assert ran.code == 2
    assert "is there already" in ran.err


def test_validate_names_file_line_column_field_and_fix(run: Run, app: Path) -> None:
    spec = (app / "repave.yaml").read_text().replace("port: 8000", "prot: 8000")
    (app / "bad.yaml").write_text(spec)
    ran = run("validate", "bad.yaml")
    assert ran.code == 2
    assert "bad.yaml:6:34: traffic.prot: unknown option; did you mean port?" in ran.err.splitlines()
    assert run("validate", "-f", "bad.yaml").err == ran.err
    problems = json.loads(run("validate", "bad.yaml", "-o", "json").out)["problems"]
    assert {"file", "line", "column", "field", "message", "fix"} <= set(problems[0])


def test_options_of_later_versions_are_refused_not_ignored(run: Run, app: Path) -> None:
    with (app / "repave.yaml").open("a") as file:
        file.write("analysis: []\n")
    ran = run("validate")
    assert ran.code == 2
    assert "analysis" in ran.err


def test_a_missing_spec_is_told(run: Run, app: Path) -> None:
    (app / "repave.yaml").unlink()
    ran = run("validate")
    assert ran.code == 2
    assert "repave.yaml" in ran.err


def test_the_schema_is_json_and_names_the_fields(run: Run) -> None:
    schema = json.loads(run("schema").out)
    assert {"app", "health", "regions", "strategy"} <= set(schema["properties"])
