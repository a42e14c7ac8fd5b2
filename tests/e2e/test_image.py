"""The OCI image, laid out from Debian's mirror: what is in it, and a controller that serves from it, as a
user without rights on a file system that is read-only. Run by `make test-rigs`."""

import io
import json
import os
import shutil
import socket
import ssl
import stat
import subprocess
import tarfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.debian.__main__ import build, packages
from deploy.image.__main__ import STATE, USER, image_of, root_tar
from deploy.image.layout import lay_out

pytestmark = [pytest.mark.e2e, pytest.mark.rig, pytest.mark.timeout(1200)]
READY_SECONDS = 60.0
UNWANTED = ("gcc", "cc", "cpp", "make", "curl", "ssh", "adduser", "systemctl")


def why_not() -> str:
    if os.environ.get("REPAVE_TEST_RIGS") != "1":
        return "slow: run by make test-rigs"
    missing = [each for each in ("mmdebstrap", "bwrap", "setpriv") if shutil.which(each) is None]
    return "needs root" if os.geteuid() else f"needs {', '.join(missing)}" if missing else ""


@pytest.fixture(scope="module")
def layer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The image's one layer, unpacked."""
    if reason := why_not():
        pytest.skip(reason)
    directory = tmp_path_factory.mktemp("image")
    asked = subprocess.run(["dpkg", "--print-architecture"], capture_output=True, text=True, check=True)
    image = image_of(asked.stdout.strip())
    root_tar(build(packages(image.architecture)[0], directory), directory / "root.tar")
    digest = lay_out(image, directory / "root.tar", directory / "layout")
    blobs = directory / "layout/blobs/sha256"
    manifest = json.loads((blobs / digest.removeprefix("sha256:")).read_text())
    with tarfile.open(blobs / manifest["layers"][0]["digest"].removeprefix("sha256:")) as packed:
        packed.extractall(directory / "root", filter="fully_trusted")
    yield directory / "root"
    shutil.rmtree(directory)


def test_there_is_nothing_in_it_that_is_not_needed(layer: Path) -> None:
    found = {path.name for folder in ("bin", "sbin") for path in (layer / "usr" / folder).iterdir()}
    assert found.isdisjoint(UNWANTED)
    assert {"repave", "repave-controller", "repave-agent", "python3.11"} <= found
    files = [path for path in layer.rglob("*") if path.is_file() and not path.is_symlink()]
    assert [path for path in files if path.stat().st_mode & (stat.S_ISUID | stat.S_ISGID)] == []
    assert not (layer / "etc/machine-id").exists()
    assert (layer / STATE.lstrip("/")).stat().st_uid == USER


def test_a_controller_serves_from_it_without_rights(layer: Path, tmp_path: Path) -> None:
    state = tmp_path / "state"  # as Kubernetes makes a volume
    state.mkdir()
    os.chown(state, 0, USER)
    state.chmod(0o2770)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    settings = {
        "PATH": "/usr/bin:/bin",
        "REPAVE_CONTROLLER_STATE": STATE,
        "REPAVE_CONTROLLER_ACCOUNTS": "true",
        "REPAVE_CONTROLLER_TLS__ENABLED": "true",
        "REPAVE_CONTROLLER_HTTP__LISTEN": f"0.0.0.0:{port}",
        "REPAVE_CONTROLLER_GRPC__LISTEN": "127.0.0.1:0",
        "REPAVE_CONTROLLER_AGENTS__LISTEN": "127.0.0.1:0",
    }
    confined = ["bwrap", "--ro-bind", str(layer), "/", "--bind", str(state), STATE, "--perms", "1777"]
    confined += ["--tmpfs", "/tmp"]
    confined += ["--proc", "/proc", "--dev", "/dev", "--unshare-pid", "--die-with-parent", "--clearenv"]
    confined += ["--cap-drop", "ALL", "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
    confined += [word for name, value in settings.items() for word in ("--setenv", name, value)]
    confined += ["/usr/bin/setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups", "--no-new-privs"]
    process = subprocess.Popen([*confined, "/usr/bin/repave-controller"], stderr=subprocess.PIPE, text=True)
    try:
        until_healthy(process, port)
        assert (state / "controller.db").stat().st_uid == USER
        done = subprocess.run(
            [*confined, "/usr/bin/repave-controller", "backup", "-"],
            capture_output=True,
            check=True,
            timeout=60,
        )
        with tarfile.open(fileobj=io.BytesIO(done.stdout)) as backup:
            assert backup.getnames()[:2] == ["manifest.json", "controller.db"]
    finally:
        process.kill()
        process.communicate()


def until_healthy(process: "subprocess.Popen[str]", port: int) -> None:
    """By what the probes of a cluster ask, which check no certificate."""
    deadline, unchecked = time.monotonic() + READY_SECONDS, ssl._create_unverified_context()
    while process.poll() is None and time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"https://127.0.0.1:{port}/healthz", timeout=3, context=unchecked):
                return
        except OSError:
            time.sleep(0.1)
    process.kill()
    raise AssertionError(process.communicate()[1])
