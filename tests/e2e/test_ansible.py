"""deploy/ansible: its syntax; and by `make test-rigs` the role on two machines that share only a network."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from tests.support.machines import Machine, Network, debian, do, machines, why_not
from tests.support.paths import ROOT

PLAYS = ROOT / "deploy" / "ansible"
PLUGINS = ROOT / "tests" / "support" / "ansible"
ADDRESSES = {"controller": "10.0.1.10", "paris": "10.0.1.11"}
URL = "https://repave.example.com:7400"
RECAP = re.compile(r"^(\S+) +: ok=(\d+) +changed=(\d+) +unreachable=(\d+) +failed=(\d+)", re.MULTILINE)


def playbook(folder: Path, *words: str, token: str = "") -> "subprocess.CompletedProcess[str]":
    kept = {name: each for name, each in os.environ.items() if not name.startswith(("REPAVE_", "ANSIBLE_"))}
    settings = {
        "ANSIBLE_CONNECTION_PLUGINS": str(PLUGINS),
        "ANSIBLE_HOME": str(folder / "ansible"),
        "ANSIBLE_NOCOWS": "1",
        "LC_ALL": "C.UTF-8",
        "JOIN_TOKEN": token,
    }
    return subprocess.run(
        [str(Path(sys.executable).with_name("ansible-playbook")), *words, str(PLAYS / "site.yml")],
        cwd=PLAYS,
        env={**kept, **settings},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )


def test_the_playbook_parses_and_the_inventory_has_what_the_role_asks_for(tmp_path: Path) -> None:
    checked = playbook(tmp_path, "--syntax-check", "--inventory", str(PLAYS / "inventory.yml"))
    assert checked.returncode == 0, checked.stderr
    yaml = YAML(typ="safe")
    role = PLAYS / "roles" / "repave"
    options = yaml.load(role / "meta" / "argument_specs.yml")["argument_specs"]["main"]["options"]
    defaults = yaml.load(role / "defaults" / "main.yml")
    assert {name: each["default"] for name, each in options.items() if "default" in each} == defaults
    (join,) = [each for each in yaml.load(role / "tasks" / "main.yml") if each["name"] == "Join"]
    assert join["no_log"] is True
    assert "repave_join_token" not in join["ansible.builtin.command"]["cmd"], "no list of processes has it"


@dataclass
class Fleet:
    """Two machines, and an inventory of them."""

    machines: dict[str, Machine]
    folder: Path

    def play(self, *words: str, token: str = "") -> dict[str, tuple[int, int]]:
        """Machine to (changed, failed)."""
        inventory = json.loads(json.dumps(YAML(typ="safe").load(PLAYS / "inventory.yml")))
        groups = inventory["all"]["children"]
        del groups["agents"]["hosts"]["oslo"]
        groups["controllers"]["hosts"] = {"controller": {}}
        for group in groups.values():
            for name, each in group["hosts"].items():
                each |= {"ansible_connection": "machine", "machine_process": self.machines[name].process}
                each |= {"ansible_python_interpreter": "/usr/bin/python3", "ansible_become": False}
        address = {"REPAVE_AGENT_HAPROXY__TRAFFIC_ADDRESS": ADDRESSES["paris"]}
        groups["agents"]["hosts"]["paris"]["repave_settings"] = address
        file = self.folder / "inventory.json"
        file.write_text(json.dumps(inventory))
        done = playbook(self.folder, "-vv", "--inventory", str(file), *words, token=token)
        if token:
            assert token not in done.stdout + done.stderr
        found = {
            name: (int(changed), int(failed)) for name, _, changed, _, failed in RECAP.findall(done.stdout)
        }
        assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
        return found

    def repave(self, words: str) -> str:
        return self.machines["controller"].shell(f"REPAVE_URL={URL} repave {words}")


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    if reason := why_not():
        pytest.skip(reason)
    directory = tmp_path_factory.mktemp("ansible")
    for folder in (directory, *directory.parents[:2]):
        folder.chmod(0o755)
    do(sys.executable, "-m", "deploy.debian")
    network = Network("rpa")
    with debian(directory / "base") as base, network.made(ADDRESSES):
        with (base / "etc/hosts").open("a") as hosts:
            hosts.write(f"127.0.0.1 localhost\n{ADDRESSES['controller']} repave.example.com\n")
        with machines(directory, base, network, ("controller", "paris")) as made:
            for (
                each
            ) in made.values():  # it empties /tmp, which Ansible uses, and else runs with the first service
                each.shell("systemctl start systemd-tmpfiles-setup")
            yield Fleet(made, directory)
    shutil.rmtree(directory, ignore_errors=True)


@pytest.mark.e2e
@pytest.mark.rig
@pytest.mark.timeout(1800)
def test_the_role_installs_once_joins_and_changes_nothing_the_second_time(fleet: Fleet) -> None:
    trial = fleet.play("--check")
    assert all(failed == 0 and changed > 0 for changed, failed in trial.values()), "what is to come is shown"
    fleet.machines["controller"].shell(
        "test ! -e /usr/bin/repave && test ! -e /etc/default/repave-controller"
    )
    assert fleet.play("--limit", "controller")["controller"][0] > 0
    controller = fleet.machines["controller"]
    controller.shell(
        'pin=$(journalctl --unit repave-controller --output cat | grep -o \'"pin": "[^"]*"\' | tail -1 | '
        f"cut -d'\"' -f4)\nREPAVE_URL={URL} repave login --pin $pin < /var/lib/repave/admin-token"
    )
    token = fleet.repave("agents join paris").split()[-1]
    assert fleet.play("--limit", "paris", token=token)["paris"][0] > 0
    assert "paris" in fleet.repave("agents list")
    assert fleet.play(token=token) == {"controller": (0, 0), "paris": (0, 0)}
    assert fleet.play("--check") == {"controller": (0, 0), "paris": (0, 0)}
    fleet.machines["paris"].shell("systemctl is-active repave-agent")
