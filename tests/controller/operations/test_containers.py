"""The package that runs an OCI image on a host: what it holds, and what its program does with a podman."""

import hashlib
import os
import subprocess
from pathlib import Path

import pytest

from repave_controller.operations.containers import package_of
from repave_protos.package.archive import unpack

PODMAN = """#!/bin/sh
[ "$1" = info ] && { echo "Error: no overlay" >&2; exit ${INFO:-0}; }
[ "$1" = ps ] && { echo "$LEFT"; exit; }
[ "$1" = rm ] && { echo "$3" >>"$0.removed"; exit; }
[ "$1" = hold ] && { read -r _; exit; }
printf "%s\\n" "$@"
"""
IMAGE = "registry.example.com/shop@sha256:" + "5" * 64


@pytest.fixture
def app(tmp_path: Path) -> Path:
    tarball = tmp_path / "package.tar.gz"
    tarball.write_bytes(package_of(IMAGE))
    unpack(tarball, tmp_path / "app", read_only=True)
    return tmp_path / "app"


@pytest.fixture
def podman(tmp_path: Path) -> Path:
    """Stands where programs are found; prints what it is asked to run. INFO says whether it works."""
    place = tmp_path / "bin"
    place.mkdir()
    (place / "podman").write_text(PODMAN)
    (place / "podman").chmod(0o755)
    return place


def run(app: Path, *words: str, path: str, **environment: str) -> subprocess.CompletedProcess[str]:
    given = {"PATH": path, "REPAVE_HOST": "shop-v001-1", "PORT": "8080", **environment}
    return subprocess.run(
        ["./container", *words], cwd=app, env=given, capture_output=True, text=True, timeout=30, check=False
    )


def test_the_same_image_gives_the_same_package() -> None:
    assert hashlib.sha256(package_of(IMAGE)).digest() == hashlib.sha256(package_of(IMAGE)).digest()
    assert package_of(IMAGE) != package_of(IMAGE.replace("5", "6"))


def test_the_image_is_run_with_the_hosts_variables_and_no_value_in_an_argument(
    app: Path, podman: Path
) -> None:
    done = run(
        app, "--listen", "127.0.0.1", path=f"{podman}:{os.environ['PATH']}", HOME="/root", KEY="s3cret"
    )
    assert done.returncode == 0, done.stderr
    said = done.stdout.splitlines()
    assert said[:3] == ["run", "--rm", "--name"]
    assert said[3] == "repave-shop-v001-1"
    assert said[-3:] == [IMAGE, "--listen", "127.0.0.1"]
    options = said[said.index("no-new-privileges") + 1 : -3]
    names = options[1::2]
    assert set(options[::2]) == {"--env"}
    assert {"KEY", "PORT", "REPAVE_HOST"} <= set(names)
    assert not {"PATH", "HOME"} & set(names)
    assert "s3cret" not in done.stdout


def test_a_secret_that_is_a_file_is_there_inside_at_its_place(app: Path, podman: Path) -> None:
    place = "/dev/shm/repave-secrets.a1b2/file/KEY"
    done = run(app, path=f"{podman}:{os.environ['PATH']}", KEY_FILE=place, OTHER_FILE="/etc/passwd")
    said = done.stdout.splitlines()
    assert f"--volume\n{place}:{place}:ro\n" in done.stdout
    assert said.count("--volume") == 1
    assert said[-1] == IMAGE


def test_what_a_killed_host_has_left_with_podman_goes_and_nothing_of_one_that_runs(
    app: Path, podman: Path
) -> None:
    program = podman / "podman"
    with subprocess.Popen([program, "hold"], stdin=subprocess.PIPE) as running:
        left = f"aaa 4194305\nbbb {running.pid}\nccc {os.getpid()}"
        done = run(app, path=f"{podman}:{os.environ['PATH']}", LEFT=left)
        running.communicate(b"\n")
    assert (podman / "podman.removed").read_text().split() == ["aaa", "ccc"]
    assert "--label\nrepave.by=" in done.stdout


def test_a_privileged_port_has_the_one_capability_for_it(app: Path, podman: Path) -> None:
    done = run(app, path=f"{podman}:{os.environ['PATH']}", PORT="443")
    assert "--cap-add\nnet_bind_service\n" in done.stdout


def test_a_host_without_podman_says_so(app: Path, tmp_path: Path) -> None:
    (tmp_path / "few").mkdir()
    (tmp_path / "few" / "cat").symlink_to("/bin/cat")
    done = run(app, path=str(tmp_path / "few"))
    assert done.returncode == 127
    assert done.stderr == (
        f"this host has no podman, by which {IMAGE} would run: install it on the machine\n"
    )


def test_a_host_on_which_podman_does_not_work_says_why(app: Path, podman: Path) -> None:
    done = run(app, path=f"{podman}:{os.environ['PATH']}", INFO="125")
    assert done.returncode == 126
    assert done.stderr.startswith("podman does not work here: Error: no overlay\n")
