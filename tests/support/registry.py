"""A real registry of OCI images (Debian's docker-registry) on a loopback address, and a small image."""

import hashlib
import io
import json
import shutil
import subprocess
import tarfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.ports import free_ports

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
READY_SECONDS = 30.0


def why_no_registry() -> str:
    lacking = [each for each in ("docker-registry", "podman", "runc") if shutil.which(each) is None]
    return f"not installed: apt install {' '.join(lacking)}" if lacking else ""


@contextmanager
def registry(directory: Path) -> Iterator[str]:
    """Its `HOST:PORT`. What is in it goes with `directory`."""
    (port,) = free_ports(1)
    address = f"127.0.0.1:{port}"
    settings = directory / "registry.yml"
    settings.write_text(
        f"version: 0.1\nstorage: {{filesystem: {{rootdirectory: {directory / 'images'}}}}}\n"
        f"http: {{addr: '{address}'}}\n"
    )
    with (directory / "registry.log").open("wb") as log:
        argv = ["docker-registry", "serve", str(settings)]
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + READY_SECONDS
        while not _answers(address):
            assert time.monotonic() < deadline, (directory / "registry.log").read_text()
            time.sleep(0.05)
        yield address
    finally:
        process.terminate()
        process.wait(30)


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"http://{address}/v2/", timeout=5):
            return True
    except OSError:
        return False


def push(address: str, name: str, program: Path) -> str:
    """An image of one static program; its whole name, with the digest."""
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        tar.add(program, "serve")
    layers = [_blob(address, name, layer.getvalue(), LAYER)]
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Entrypoint": ["/serve"], "Env": ["PATH=/"], "StopSignal": "SIGTERM"},
        "rootfs": {"type": "layers", "diff_ids": [layers[0]["digest"]]},
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": _blob(address, name, json.dumps(config).encode(), CONFIG),
        "layers": layers,
    }
    content = json.dumps(manifest).encode()
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    _put(f"http://{address}/v2/{name}/manifests/{digest}", content, MANIFEST)
    return f"{address}/{name}@{digest}"


def _blob(address: str, name: str, content: bytes, kind: str) -> dict[str, object]:
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    begun = urllib.request.Request(f"http://{address}/v2/{name}/blobs/uploads/", method="POST")
    with urllib.request.urlopen(begun, timeout=30) as answer:
        place = answer.headers["Location"]
    _put(f"{place}{'&' if '?' in place else '?'}digest={digest}", content, "application/octet-stream")
    return {"mediaType": kind, "digest": digest, "size": len(content)}


def _put(url: str, content: bytes, kind: str) -> None:
    asked = urllib.request.Request(url, content, {"Content-Type": kind}, method="PUT")
    try:
        with urllib.request.urlopen(asked, timeout=30):
            pass
    except urllib.error.HTTPError as error:
        raise AssertionError(f"{url}: {error.read().decode()}") from error
