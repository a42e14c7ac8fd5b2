"""The examples for CI systems (deploy/ci): their files keep to the vendors' schemas, and their lines of shell
are run as such a job would run them, against a controller with accounts that trusts the job's own token.
gitlab-ci-local, from npm, runs GitLab's pipeline as a whole."""

import http.server
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.controller.api.test_accounts import Signed
from tests.fakes.controller.scheduler import ServedController, served
from tests.fakes.issuer import Issuer, an_issuer
from tests.support.paths import ROOT
from tests.support.rigs import why_no_rigs

CI = ROOT / "deploy" / "ci"
SCHEMAS = {
    "github/action.yml": "vendor.github-actions",
    "github/workflow.yml": "vendor.github-workflows",
    "gitlab/gitlab-ci.yml": "vendor.gitlab-ci",
    "circleci/config.yml": "vendor.circle-ci",
    "travis/travis.yml": "vendor.travis",
}
PROGRAMS = f"{Path(sys.executable).parent}:/usr/bin:/bin"


@pytest.mark.parametrize("file", SCHEMAS)
def test_an_example_keeps_to_its_vendor_s_schema(file: str) -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", SCHEMAS[file], str(CI / file)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    with an_issuer() as made:
        yield made


@pytest.fixture
def controller(tmp_path: Path, issuer: Issuer) -> Iterator[ServedController]:
    """It trusts jobs of acme/web on main, which may release hello."""
    with served(tmp_path / "controller", has_accounts=True) as started:
        admin = Signed(started.url, started.admin)
        claims = {"repository": "acme/web", "ref": "refs/heads/main"}
        assert admin.post("trusts", {"name": "ci-web", "issuer": issuer.url, "claims": claims}).status == 201
        admin.post("roles/grant", {"to": "ci-web", "role": "deployer", "applications": "hello"})
        yield started


@dataclass
class Job:
    """A job of a CI in the folder of an application, with no more of this machine than a runner has."""

    folder: Path
    environment: dict[str, str]

    def sh(self, script: str, **variables: str) -> subprocess.CompletedProcess[str]:
        command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script]
        environment = {**self.environment, **variables}
        return subprocess.run(
            command,
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )


@pytest.fixture
def job(app: Path, tmp_path: Path, controller: ServedController) -> Job:
    config = {"XDG_CONFIG_HOME": str(tmp_path / "config"), "XDG_STATE_HOME": str(tmp_path / "state")}
    return Job(
        app, {"PATH": PROGRAMS, "HOME": str(tmp_path), "CI": "true", "REPAVE_URL": controller.url, **config}
    )


def released(controller: ServedController, version: str) -> None:
    admin = Signed(controller.url, controller.admin)
    (rollout,) = admin.get("applications/hello/history").json["items"]
    assert (rollout["phase"], rollout["version"]) == ("succeeded", version)


def yaml(file: str) -> Any:
    documents = list(YAML(typ="safe").load_all((CI / file).read_text()))
    return documents[-1]


@contextmanager
def github_tokens(issuer: Issuer) -> Iterator[str]:
    """GitHub's endpoint for the tokens of a job."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            assert self.headers["Authorization"] == "Bearer asking"
            assert "audience=repave" in self.path
            body = json.dumps({"value": issuer.token()}).encode()
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/token?job=1"
        finally:
            server.shutdown()
            thread.join()


def test_github_s_action_releases_with_the_job_s_own_identity(
    job: Job, controller: ServedController, issuer: Issuer, tmp_path: Path
) -> None:
    action = yaml("github/action.yml")
    summary, output = tmp_path / "summary.md", tmp_path / "output"
    inputs = {name: str(each.get("default", "")) for name, each in action["inputs"].items()}
    inputs |= {"url": controller.url, "version": "4f2c"}
    with github_tokens(issuer) as url:
        job.environment |= {
            "ACTIONS_ID_TOKEN_REQUEST_URL": url,
            "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "asking",
            "GITHUB_STEP_SUMMARY": str(summary),
            "GITHUB_OUTPUT": str(output),
        }
        for step in action["runs"]["steps"]:
            assert "${{" not in step["run"], "what an input holds would be run as shell"
            values = {name: _filled(text, inputs) for name, text in step.get("env", {}).items()}
            ran = job.sh(step["run"], **values)
            assert ran.returncode == 0, ran.stderr
    released(controller, "4f2c")
    assert output.read_text() == "exit-code=0\n"
    assert summary.read_text().startswith("### ✅ `hello-v001` (4f2c) succeeded")
    step = action["runs"]["steps"][-1]
    values = {name: _filled(text, inputs | {"plan-only": "true"}) for name, text in step["env"].items()}
    assert job.sh(step["run"], **values).returncode == 0
    assert "### repave plan: `hello`" in summary.read_text()


def _filled(text: str, inputs: dict[str, str]) -> str:
    return re.sub(r"\$\{\{ inputs\.([\w-]+) \}\}", lambda match: inputs[match[1]], text)


def test_gitlab_s_component_releases_and_rolls_back(
    job: Job, controller: ServedController, issuer: Issuer
) -> None:
    header, template = YAML(typ="safe").load_all((CI / "gitlab/release.yml").read_text())
    inputs = {name: (each or {}).get("default", "") for name, each in header["spec"]["inputs"].items()}
    inputs |= {"url": controller.url, "app": "hello", "version": "4f2c"}
    release, rollback = template["repave-release"], template["repave-rollback"]
    variables = {
        name: re.sub(r"\$\[\[ inputs\.(\w+) \]\]", lambda match: inputs[match[1]], text)
        for name, text in (*release["variables"].items(), *rollback["variables"].items())
    }
    for entry, code in ((release, 0), (rollback, 5)):
        script = "\n".join([*template[".repave"]["before_script"], *entry["script"]])
        ran = job.sh(script, REPAVE_ID_TOKEN=issuer.token(), CI_JOB_NAME="x", **variables)
        assert ran.returncode == code, ran.stderr  # there is nothing before the first release
    released(controller, "4f2c")
    assert template[".repave"]["id_tokens"]["REPAVE_ID_TOKEN"]["aud"] == "repave"
    assert (job.folder / "repave.xml").exists()


def test_circleci_s_command_releases(job: Job, controller: ServedController, issuer: Issuer) -> None:
    command = yaml("circleci/config.yml")["commands"]["repave-release"]
    step = command["steps"][0]["run"]
    given = {name: each.get("default", "") for name, each in command["parameters"].items()}
    given |= {"url": controller.url, "version": "4f2c"}
    values = {
        name: re.sub(r"<< parameters\.(\w+) >>", lambda match: given[match[1]], text)
        for name, text in step["environment"].items()
    }
    assert "<<" not in step["command"]
    ran = job.sh(step["command"], CIRCLE_OIDC_TOKEN_V2=issuer.token(), **values)
    assert ran.returncode == 0, ran.stderr
    released(controller, "4f2c")
    assert (job.folder / "reports" / "repave" / "results.xml").exists()


def test_travis_and_jenkins_release_with_a_token(job: Job, controller: ServedController) -> None:
    admin = Signed(controller.url, controller.admin)
    token = admin.post("tokens", {"name": "ci-web"}).json["token"]
    travis = yaml("travis/travis.yml")
    script = f"{travis['install']}\n{travis['deploy']['script']}\n{travis['after_deploy']}"
    ran = job.sh(script, REPAVE_TOKEN=token, TRAVIS_COMMIT="4f2c")
    assert ran.returncode == 0, ran.stderr
    assert "### ✅ `hello-v001` (4f2c) succeeded" in ran.stdout
    released(controller, "4f2c")
    groovy = (CI / "jenkins/vars/repaveRelease.groovy").read_text()
    (lines,) = re.findall(r"script: '''(.*?)'''", groovy, re.DOTALL)
    settings = dict(re.findall(r'"(REPAVE_\w+)=\$\{options\.\w+ \?: \'([^\']*)\'\}"', groovy))
    assert {"REPAVE_FILE", "REPAVE_TIMEOUT", "REPAVE_OPTIONS"} <= set(settings)
    ran = job.sh(lines.replace("\\\n", ""), **settings, REPAVE_TOKEN=token, REPAVE_VERSION="5a1b")
    assert ran.returncode == 0, ran.stderr
    assert "hello-v002" in (job.folder / "repave.xml").read_text()


def test_braces_and_quotes_of_jenkins_files_are_closed() -> None:
    """Not run: Jenkins can't be had here, nor a parser of its pipelines."""
    for file in ("Jenkinsfile", "vars/repaveRelease.groovy"):
        text = (CI / "jenkins" / file).read_text()
        plain = re.sub(r"'''.*?'''|'[^'\n]*'|\"[^\"\n]*\"|//[^\n]*", "", text, flags=re.DOTALL)
        for begin, end in ("{}", "()", "[]"):
            assert plain.count(begin) == plain.count(end), (file, begin)
        assert not set("'\"") & set(plain), file


@pytest.mark.rig
@pytest.mark.skipif(bool(why_no_rigs()), reason=why_no_rigs())
def test_gitlab_s_pipeline_runs_in_gitlab_ci_local(
    job: Job, controller: ServedController, issuer: Issuer, tmp_path: Path
) -> None:
    missing = [each for each in ("npm", "rsync", "git") if not shutil.which(each)]
    if missing:
        pytest.skip(f"not there: {', '.join(missing)}")
    npm = [
        "npm",
        "install",
        "--no-audit",
        "--no-fund",
        "--prefix",
        str(tmp_path / "npm"),
        "gitlab-ci-local@4.56.2",
    ]
    installed = subprocess.run(npm, capture_output=True, text=True, timeout=300, check=False)
    if installed.returncode:
        pytest.skip(f"gitlab-ci-local can't be installed: {installed.stderr[-200:]}")
    (job.folder / "deploy" / "ci" / "gitlab").mkdir(parents=True)
    shutil.copy(CI / "gitlab" / "release.yml", job.folder / "deploy/ci/gitlab/release.yml")
    pipeline = (CI / "gitlab" / "gitlab-ci.yml").read_text()
    pipeline = pipeline.replace("https://repave.example.com:7400", controller.url)
    (job.folder / ".gitlab-ci.yml").write_text(pipeline.replace("make build", "test -d app"))
    shutil.rmtree(job.folder / ".git")
    who = "git -c user.name=a -c user.email=a@b.example"
    remote = "git remote add origin git@gitlab.example.com:acme/web.git"
    assert job.sh(f"git init -q . && {remote} && git add . && {who} commit -qm x").returncode == 0
    program = tmp_path / "npm" / "node_modules" / ".bin" / "gitlab-ci-local"
    options = "--shell-isolation=false"
    script = f"{program} {options} --variable REPAVE_ID_TOKEN={issuer.token()} repave-release"
    job.environment["PATH"] = f"{PROGRAMS}:{os.environ['PATH']}"
    ran = job.sh(script)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    history = Signed(controller.url, controller.admin).get("applications/hello/history").json["items"]
    assert [each["phase"] for each in history] == ["succeeded"]
