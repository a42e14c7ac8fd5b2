"""Holds what is in deploy/ to the schemas of those who read it, to the settings there are, and to the calls
that the code makes."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import hcl2
import kubernetes_validate
import pytest
from ruamel.yaml import YAML

from deploy.image.__main__ import image_of
from deploy.image.layout import archive, lay_out
from repave_agent.registry import installed
from repave_controller.settings import ControllerSettings
from repave_protos.daemon.settings import load_settings
from tests.fakes.clouds.openstack import FakeOpenstack
from tests.support.paths import ROOT

DEPLOY = ROOT / "deploy"
KUBERNETES = "1.33"
"""The oldest that the manifests are written for: it knows every field in them."""
PARTS = ("controller", "agent")
CLOUDS = ("openstack", "aws", "google", "azure")
AGENT_SETTINGS = installed().settings_model()
CHECK = (str(Path(sys.executable).with_name("check-jsonschema")),)


def documents(file: Path) -> list[dict[str, Any]]:
    return [dict(each) for each in YAML(typ="safe").load_all(file.read_text())]


# -------------------------------------------------------------------------------------------------- compose


def test_the_compose_file_is_one() -> None:
    checked = subprocess.run(
        [*CHECK, "--builtin-schema", "vendor.compose-spec", str(DEPLOY / "compose" / "compose.yaml")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout


def test_no_container_of_the_compose_file_has_rights() -> None:
    (compose,) = documents(DEPLOY / "compose" / "compose.yaml")
    for name, service in compose["services"].items():
        assert service["read_only"], name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name


def test_its_settings_are_ones_that_exist(tmp_path: Path) -> None:
    (compose,) = documents(DEPLOY / "compose" / "compose.yaml")
    given = compose["services"]["controller"]["environment"]
    named = {
        name: re.sub(r"\$\{CONTROLLER_NAME[^}]*\}", "repave.example.com", each)
        for name, each in given.items()
    }
    settings, _ = load_settings(ControllerSettings, None, named, "REPAVE_CONTROLLER_")
    assert settings.http.url == "https://repave.example.com:7400"
    assert settings.tls.enabled


@pytest.mark.parametrize(
    "file", sorted(DEPLOY.glob("*/**/*.toml")), ids=lambda each: str(each.relative_to(DEPLOY))
)
def test_every_settings_file_is_taken(file: Path) -> None:
    if file.name == "controller.toml":
        load_settings(ControllerSettings, file, {}, "REPAVE_CONTROLLER_")
    else:
        load_settings(AGENT_SETTINGS, file, {"REPAVE_AGENT_REGION": "paris"}, "REPAVE_AGENT_")


# ----------------------------------------------------------------------------------------------- Kubernetes


def kustomization(part: str) -> dict[str, Any]:
    (found,) = documents(DEPLOY / "kubernetes" / part / "kustomization.yaml")
    return found


def manifests(part: str) -> Iterator[dict[str, Any]]:
    for name in kustomization(part)["resources"]:
        yield from documents(DEPLOY / "kubernetes" / part / name)


def workloads() -> Iterator[tuple[str, dict[str, Any]]]:
    for part in PARTS:
        for each in manifests(part):
            if each["kind"] in ("StatefulSet", "Deployment"):
                yield part, each


@pytest.mark.parametrize("part", PARTS)
def test_every_manifest_is_in_a_kustomization_and_fits_the_schema(part: str) -> None:
    folder = DEPLOY / "kubernetes" / part
    assert {*kustomization(part)["resources"], "kustomization.yaml"} == {
        each.name for each in folder.glob("*.yaml")
    }
    for manifest in manifests(part):
        kubernetes_validate.validate(manifest, KUBERNETES, strict=True)


@pytest.mark.parametrize("part", PARTS)
def test_what_kustomize_makes_of_them_fits_the_schema(part: str) -> None:
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not installed")
    done = subprocess.run(
        ["kubectl", "kustomize", str(DEPLOY / "kubernetes" / part)],
        capture_output=True,
        text=True,
        check=True,
    )
    made = [dict(each) for each in YAML(typ="safe").load_all(done.stdout)]
    assert {each["kind"] for each in made} >= {"ConfigMap", "NetworkPolicy", "Service"}
    assert "image: localhost/repave:" in done.stdout
    for manifest in made:
        kubernetes_validate.validate(manifest, KUBERNETES, strict=True)


def test_a_wrong_manifest_would_be_noticed() -> None:
    wrong = next(each for _, each in workloads())
    wrong["spec"]["replica"] = 1
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, KUBERNETES, strict=True)


def test_pods_keep_to_the_restricted_profile() -> None:
    for part, workload in workloads():
        assert workload["spec"]["replicas"] == 1, part
        pod = workload["spec"]["template"]["spec"]
        assert pod["automountServiceAccountToken"] is False, part
        assert pod["securityContext"]["runAsNonRoot"], part
        assert pod["securityContext"]["runAsUser"] == int(image_of("amd64").user.partition(":")[0])
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)
        assert all("hostPath" not in volume for volume in pod["volumes"])
        for container in (*pod["containers"], *pod.get("initContainers", ())):
            context = container["securityContext"]
            assert context["allowPrivilegeEscalation"] is False
            assert context["readOnlyRootFilesystem"] is True
            assert context["capabilities"] == {"drop": ["ALL"]}
            assert "limits" in container["resources"]
            assert all("secretKeyRef" not in str(each) for each in container.get("env", ())), (
                "secrets are files"
            )


def test_selectors_choose_the_pods_of_their_own_part() -> None:
    for part in PARTS:
        (labels,) = [
            each["spec"]["template"]["metadata"]["labels"] for name, each in workloads() if name == part
        ]
        for each in manifests(part):
            if each["kind"] == "Service":
                assert each["spec"]["selector"] == labels
            if each["kind"] == "NetworkPolicy":
                assert each["spec"]["podSelector"]["matchLabels"] == labels


# ------------------------------------------------------------------------------------------------ Terraform


def module(cloud: str) -> dict[str, list[Any]]:
    """All files of a module as one."""
    found: dict[str, list[Any]] = {}
    for file in sorted((DEPLOY / "terraform" / cloud).glob("*.tf")):
        for kind, each in hcl2.loads(file.read_text()).items():
            found.setdefault(kind, []).extend(each if isinstance(each, list) else [each])
    return found


def names(module: Mapping[str, list[Any]], kind: str) -> set[str]:
    """`TYPE.NAME` of resources and data, else the names."""
    blocks = list(module.get(kind, ()))
    if kind in ("resource", "data"):
        return {f"{_bare(a)}.{_bare(b)}" for each in blocks for a, inner in each.items() for b in inner}
    return {_bare(name) for each in blocks for name in each}


def _bare(name: str) -> str:
    return name.strip('"')


@pytest.mark.parametrize("cloud", CLOUDS)
def test_a_module_parses_and_names_only_what_it_has(cloud: str) -> None:
    text = "\n".join(each.read_text() for each in sorted((DEPLOY / "terraform" / cloud).glob("*.tf")))
    parsed = module(cloud)
    variables = names(parsed, "variable")
    assert set(re.findall(r"\bvar\.([a-z_]+)", text)) == variables
    locals_ = names(parsed, "locals") - {"__is_block__"}
    assert set(re.findall(r"\blocal\.([a-z_]+)", text)) == locals_
    known = names(parsed, "resource") | {f"data.{each}" for each in names(parsed, "data")}
    prefix = {"aws": "aws", "google": "google", "azure": "azurerm", "openstack": "openstack"}[cloud]
    used = set(re.findall(rf"\b((?:data\.)?{prefix}_[a-z0-9_]+\.[a-z_]+)", text))
    assert used <= known
    assert "terraform" in parsed


@pytest.mark.parametrize("cloud", CLOUDS)
def test_modules_are_formatted(cloud: str) -> None:
    if shutil.which("terraform") is None:
        pytest.skip("terraform is not installed")
    done = subprocess.run(
        ["terraform", "fmt", "-check", "-diff", str(DEPLOY / "terraform" / cloud)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def test_an_agent_on_aws_has_the_policy_that_its_calls_need_and_no_other() -> None:
    made = names(module("aws"), "resource")
    assert {each for each in made if "_policy" in each} == {"aws_iam_role_policy.agent"}
    main = DEPLOY / "terraform" / "aws" / "main.tf"
    (file,) = re.findall(r'policy += file\("\$\{path\.module\}/([^"]+)"\)', main.read_text())
    assert (main.parent / file).resolve() == DEPLOY / "aws" / "policy.json"


def test_an_agent_on_google_cloud_has_the_role_that_its_calls_need_and_no_other() -> None:
    made = names(module("google"), "resource")
    assert {each for each in made if "_iam_" in each} == {
        "google_project_iam_custom_role.agent",
        "google_project_iam_member.agent",
    }
    text = (DEPLOY / "terraform" / "google" / "main.tf").read_text()
    (file,) = re.findall(r'file\("\$\{path\.module\}/([^"]+)"\)', text)
    assert (DEPLOY / "terraform" / "google" / file).resolve() == DEPLOY / "gcp" / "role.yaml"
    assert "permissions = local.role.includedPermissions" in text


def test_an_agent_on_azure_has_the_role_that_its_calls_need_and_reads_of_the_subscription() -> None:
    main = DEPLOY / "terraform" / "azure" / "main.tf"
    text = main.read_text()
    (file,) = re.findall(r'file\("\$\{path\.module\}/([^"]+)"\)', text)
    assert (main.parent / file).resolve() == DEPLOY / "azure" / "role.json"
    assert "actions = local.role.Actions" in text
    made = {each for each in names(module("azure"), "resource") if "_role_" in each}
    assert made == {
        f"azurerm_role_{kind}.{name}" for kind in ("definition", "assignment") for name in ("agent", "reader")
    }
    actions = re.findall(r'"(Microsoft\.[^"]+)"', text)
    assert actions
    assert all(each.endswith("/read") for each in actions)


CALL = re.compile(r'service = "([a-z-]+)", method = "([A-Z]+)", path = "([^"]+)"')
PAIRS = re.compile(r'setproduct\(\[([^\]]+)\], \[([^\]]+)\]\) :\s*\{[^}]*path = "/\$\{pair\[0\]\}(/\*)?"')
SERVES = {
    "compute": "/compute",
    "network": "/network/v2.0",
    "image": "/image/v2",
    "load-balancer": "/load-balancer/v2/lbaas",
    "block-storage": "/block-storage",
}


def rules() -> set[tuple[str, str]]:
    """(method, path as the fake clouds have it) that the agent's credential allows."""
    text = (DEPLOY / "terraform" / "openstack" / "calls.tf").read_text()
    found = {
        (method, f"{SERVES[service]}{path}")
        for service, method, path in CALL.findall(text)
        if "$" not in path
    }
    for kinds, methods, one in PAIRS.findall(text):
        for kind in re.findall(r'"([a-z0-9]+)"', kinds):
            found |= {
                (method, f"{SERVES['load-balancer']}/{kind}{one}")
                for method in re.findall(r'"([A-Z]+)"', methods)
            }
    return found


def routes() -> set[tuple[str, str]]:
    """The calls that the fakes answer, and so all that the code is tested with."""
    found: set[tuple[str, str]] = set()
    for route in FakeOpenstack().application().router.routes():
        path = re.sub(r"\{(?!kinds)[a-z_]+\}", "*", route.resource.canonical if route.resource else "")
        if route.method == "HEAD" or path.startswith("/v3"):
            continue  # logging in needs no rule
        kinds = ("listeners", "pools", "healthmonitors", "l7policies") if "{kinds}" in path else ("",)
        found |= {(route.method, path.replace("{kinds}", kind)) for kind in kinds}
    return found


def test_the_agents_credential_allows_the_calls_that_the_agent_makes_and_no_other() -> None:
    assert rules() == routes()


# ------------------------------------------------------------------------------------------------- cloud-init


TEMPLATE = DEPLOY / "terraform" / "cloud-init.yaml.tftpl"


def rendered(*, joins: bool, haproxy: bool) -> str:
    """As Terraform does it; the few forms that the template uses."""
    given = {"join_url": "https://c:7444" if joins else "", "join_token": "rpj.x"}
    out: list[str] = []
    kept = [True]
    loop: list[str] | None = None
    for line in TEMPLATE.read_text().splitlines():
        directive = re.fullmatch(r"%\{ (.+?) ~\}", line)
        if directive is None:
            (loop if loop is not None else out).append(line if all(kept) else "\0")
        elif (word := directive[1].split()[0]) == "if":
            kept.append(haproxy if directive[1] == "if haproxy" else joins)
        elif word == "endif":
            kept.pop()
        elif word == "for":
            loop = []
        elif word == "endfor" and loop is not None:
            for number in range(2):
                out += [_filled(each, number) for each in loop]
            loop = None
    text = "\n".join(line for line in out if line != "\0")
    text = re.sub(r'\$\{haproxy \? "([^"]*)" : ""\}', lambda each: each[1] if haproxy else "", text)
    return re.sub(r"\$\{(join_[a-z]+)\}", lambda each: given[each[1]], text)


def _filled(line: str, number: int) -> str:
    values = {"name": f"NAME_{number}", "value": "x", "package.sha256": "0" * 64}
    values["package.url"] = f"https://p/{number}"
    return re.sub(r"\$\{([a-z0-9_.]+)\}", lambda each: values[each[1]], line)


@pytest.mark.parametrize("joins", [True, False])
@pytest.mark.parametrize("haproxy", [True, False])
def test_the_user_data_is_yaml_whose_script_is_shell(tmp_path: Path, joins: bool, haproxy: bool) -> None:
    text = rendered(joins=joins, haproxy=haproxy)
    assert text.startswith("#cloud-config\n")
    assert "${" not in text
    data = YAML(typ="safe").load(text)
    files = {each["path"]: each for each in data["write_files"]}
    assert ("haproxy" in data["packages"]) is haproxy
    assert ("/run/repave/token" in files) is joins
    assert files["/etc/default/repave-agent"]["content"] == "NAME_0=x\nNAME_1=x\n"
    script = tmp_path / "install"
    script.write_text(files["/run/repave/install"]["content"])
    subprocess.run(["sh", "-n", str(script)], check=True)
    assert ("systemctl disable" in script.read_text()) is haproxy
    assert ("rpj.x" in script.read_text()) is False, "the token is no argument"


def test_a_package_that_is_not_the_one_announced_is_not_installed(tmp_path: Path) -> None:
    """The script itself, with programs of our own in place of those that change the machine."""
    data = YAML(typ="safe").load(rendered(joins=True, haproxy=False))
    files = {each["path"]: each["content"] for each in data["write_files"]}
    (tmp_path / "bin").mkdir()
    for name, does in {
        "curl": 'for last; do :; done; echo "$last" > 0; cp 0 1',
        "apt-get": f"touch {tmp_path}/installed",
    }.items():
        (tmp_path / "bin" / name).write_text(f"#!/bin/sh\n{does}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    (tmp_path / "packages").write_text(files["/run/repave/packages"])
    script = files["/run/repave/install"].replace("/run/repave", str(tmp_path))
    done = subprocess.run(
        ["sh", "-c", script],
        env={"PATH": f"{tmp_path}/bin:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "0: FAILED" in done.stdout
    assert not (tmp_path / "installed").exists()


@pytest.mark.rig
def test_the_user_data_fits_cloud_inits_schema(tmp_path: Path) -> None:
    if os.environ.get("REPAVE_TEST_RIGS") != "1":
        pytest.skip("fetches Debian's package of cloud-init: run by make test-rigs")
    subprocess.run(
        ["apt-get", "download", "-qq", "cloud-init"], cwd=tmp_path, check=True, capture_output=True
    )
    (package,) = tmp_path.glob("cloud-init*.deb")
    subprocess.run(["dpkg-deb", "-x", str(package), str(tmp_path / "tree")], check=True)
    (schema,) = tmp_path.glob("tree/**/schema-cloud-config-v1.json")
    for joins in (True, False):
        file = tmp_path / f"{joins}.yaml"
        file.write_text(rendered(joins=joins, haproxy=joins))
        check = [*CHECK, "--schemafile", str(schema), str(file)]
        done = subprocess.run(check, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout


# ------------------------------------------------------------------------------------------------------ image


def tarred(folder: Path, target: Path) -> Path:
    with tarfile.open(target, "w") as out:
        out.add(folder, ".", filter=lambda each: each.replace(mtime=0, deep=False))
    return target


def test_an_image_has_the_same_digests_each_time_and_names_each_of_its_parts(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "file").write_text("content")
    image = image_of("amd64")
    made = []
    for number in range(2):
        layer, layout = tarred(tmp_path / "root", tmp_path / "root.tar"), tmp_path / f"layout-{number}"
        digest = lay_out(image, layer, layout)
        archive(layout, tmp_path / f"{number}.oci.tar", image.changed_at)
        made.append((digest, (tmp_path / f"{number}.oci.tar").read_bytes()))
    assert made[0] == made[1]
    index = json.loads((layout / "index.json").read_text())
    (named,) = index["manifests"]
    assert named["digest"] == digest
    manifest = blob(layout, named)
    config = json.loads(blob(layout, json.loads(manifest)["config"]))
    blob(layout, json.loads(manifest)["layers"][0])
    assert config["config"]["User"] == "7400:7400"
    assert config["config"]["Labels"]["org.opencontainers.image.licenses"] == "Apache-2.0"
    assert len(list((layout / "blobs/sha256").iterdir())) == 3


def blob(layout: Path, described: Mapping[str, Any]) -> bytes:
    """Its content, which must be as described."""
    kind, _, digest = described["digest"].partition(":")
    content: bytes = (layout / "blobs" / kind / digest).read_bytes()
    assert (hashlib.sha256(content).hexdigest(), len(content)) == (digest, described["size"])
    return content
