"""The product's code and its dependencies: what must not be in them at all."""

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy import audit

ROOT = Path(__file__).resolve().parents[2]
PRODUCT = ("agent", "controller", "protos")
READERS = (
    "protos/repave_protos/protocol/wire*.py",
    "protos/repave_protos/protocol/bounds.py",
    "protos/repave_protos/protocol/certificates.py",
    "protos/repave_protos/package/*.py",
    "controller/repave_controller/api/door.py",
    "controller/repave_controller/api/web/requests.py",
    "controller/repave_controller/api/web/access.py",
    "controller/repave_controller/api/web/problems.py",
    "controller/repave_controller/fleet/packages.py",
    "controller/repave_controller/security/issuers.py",
    "controller/repave_controller/security/tokens.py",
    "agent/repave_agent/clients/yaml_file.py",
    "agent/repave_agent/identity/joining.py",
)
"""What reads what others send: `python -O` would leave out a check that is an assert."""
NOT_CALLED = {
    "eval", "exec", "compile", "os.system", "os.popen", "pickle.load", "pickle.loads", "marshal.load",
    "marshal.loads", "shelve.open", "tempfile.mktemp", "yaml.load", "asyncio.create_subprocess_shell",
    "subprocess.getoutput", "subprocess.getstatusoutput", "ssl._create_unverified_context",
}  # fmt: skip


def files() -> Iterator[Path]:
    for room in PRODUCT:
        yield from (path for path in (ROOT / room).rglob("*.py") if "_pb2" not in path.name)


def name_of(called: ast.expr) -> str:
    if isinstance(called, ast.Attribute):
        return f"{name_of(called.value)}.{called.attr}"
    return called.id if isinstance(called, ast.Name) else ""


SEEN = re.compile(rf"shell=|(?<!re\.)\b({'|'.join(each.split('.')[-1] for each in sorted(NOT_CALLED))})\(")
"""How the text of such a call looks: most modules have none, and needn't be read further."""


def faults(source: str) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(source)) if SEEN.search(source) else ():
        if isinstance(node, ast.Call):
            shell = [each for each in node.keywords if each.arg == "shell"]
            name = name_of(node.func)
            if name in NOT_CALLED or (shell and name.startswith("subprocess.")):
                found.append(f"line {node.lineno}: {ast.unparse(node)[:80]}")
    return found


def test_nothing_runs_text_and_nothing_is_unpickled() -> None:
    told = {str(path): found for path in files() if (found := faults(path.read_text()))}
    assert told == {}


@pytest.mark.parametrize(
    "source",
    ["eval(x)", "subprocess.run(x, shell=True)", "pickle.loads(x)", "os.system('ls')", "tempfile.mktemp()"],
)
def test_such_code_would_be_found(source: str) -> None:
    assert faults(source)


def test_no_assert_checks_what_others_send() -> None:
    paths = [path for pattern in READERS for path in ROOT.glob(pattern) if "_pb2" not in path.name]
    assert len(paths) >= len(READERS)
    asserts = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in paths
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Assert)
    ]
    assert asserts == []


def test_the_security_rules_of_ruff_hold_and_each_exception_has_its_reason() -> None:
    lint = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["ruff"]["lint"]
    assert "S" in lint["select"]
    assert {each for each in lint["ignore"] if re.fullmatch(r"S\d+", each)} == {"S101", "S603"}
    assert [each for each, rules in lint["per-file-ignores"].items() if "S" in rules] == ["tests/*"]
    bare = re.compile(r"# noqa: [A-Z0-9, ]*\bS\d+(?!.*  # \w)")
    assert [str(path) for path in files() if bare.search(path.read_text())] == []


# ------------------------------------------------------------------------------------------- dependencies

ENTRY = """
[[package]]
name = "x"
source = { registry = "https://pypi.org/simple" }
wheels = [{ url = "https://files.pythonhosted.org/x.whl", hash = "sha256:%s" }]
""" % ("a" * 64)


def test_every_dependency_is_locked_with_its_hash() -> None:
    lock = (ROOT / "uv.lock").read_text()
    assert len(tomllib.loads(lock)["package"]) > 20
    assert list(audit.faults_of(lock)) == []
    assert list(audit.faults_of(ENTRY)) == []


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("hash", "hush"), "has no SHA-256"),
        (("sha256:", "md5:"), "has no SHA-256"),
        (("files.pythonhosted.org", "evil.example"), "comes from"),
        (('registry = "https://pypi.org/simple"', 'git = "https://evil.example"'), "comes from"),
        (("wheels", "weels"), "has no file"),
    ],
)
def test_one_that_is_not_would_be_found(change: tuple[str, str], told: str) -> None:
    (fault,) = audit.faults_of(ENTRY.replace(*change))
    assert told in fault


def test_a_vulnerable_dependency_fails_the_audit(capsys: pytest.CaptureFixture[str]) -> None:
    bad = {"name": "x", "version": "1", "vulns": [{"id": "CVE-2026-1"}]}
    good = {"name": "y", "version": "1", "vulns": []}
    unknown = {"name": "z", "skip_reason": "not found"}
    assert audit.told([good, unknown]) == 0
    assert audit.told([good, bad]) == 1
    assert "CVE-2026-1" in capsys.readouterr().out
    assert audit.told([unknown]) == 0
    assert "SKIPPED" in capsys.readouterr().out
