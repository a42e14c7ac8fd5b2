"""An OCI image layout with one layer, from a tar of a file system: the same tar makes the same digests."""

import gzip
import hashlib
import json
import shutil
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
BUFFER_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Image:
    """What a container of it begins with. `user`: by number, so that Kubernetes sees it is not root."""

    tag: str
    architecture: str
    user: str
    folder: str
    command: Sequence[str]
    environment: Mapping[str, str]
    labels: Mapping[str, str]
    ports: Sequence[str]
    volumes: Sequence[str]
    changed_at: int  # seconds since 1970


def lay_out(image: Image, layer: Path, target: Path) -> str:
    """Makes the directory `target`; returns the digest of the manifest, by which the image is pulled."""
    shutil.rmtree(target, ignore_errors=True)
    blobs = target / "blobs/sha256"
    blobs.mkdir(parents=True)
    packed = blobs / "layer"
    with layer.open("rb") as source, packed.open("wb") as file:
        uncompressed = hashlib.sha256()
        with gzip.GzipFile(filename="", mode="wb", compresslevel=6, fileobj=file, mtime=0) as out:
            while piece := source.read(BUFFER_BYTES):
                uncompressed.update(piece)
                out.write(piece)
    with packed.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    packed = packed.rename(blobs / digest)
    described = {"mediaType": LAYER, "digest": f"sha256:{digest}", "size": packed.stat().st_size}
    config = _put(blobs, CONFIG, config_of(image, f"sha256:{uncompressed.hexdigest()}"))
    manifest = _put(
        blobs,
        MANIFEST,
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": config,
            "layers": [described],
            "annotations": dict(image.labels),
        },
    )
    named = {**manifest, "annotations": {"org.opencontainers.image.ref.name": image.tag}}
    index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [named]}
    (target / "index.json").write_text(json.dumps(index, indent=1, sort_keys=True))
    (target / "oci-layout").write_text(json.dumps({"imageLayoutVersion": "1.0.0"}))
    return str(manifest["digest"])


def config_of(image: Image, layer: str) -> dict[str, object]:
    created = datetime.fromtimestamp(image.changed_at, UTC).isoformat().replace("+00:00", "Z")
    return {
        "created": created,
        "architecture": image.architecture,
        "os": "linux",
        "config": {
            "User": image.user,
            "WorkingDir": image.folder,
            "Cmd": list(image.command),
            "Env": [f"{name}={value}" for name, value in sorted(image.environment.items())],
            "ExposedPorts": {port: {} for port in image.ports},
            "Volumes": {volume: {} for volume in image.volumes},
            "Labels": dict(image.labels),
        },
        "rootfs": {"type": "layers", "diff_ids": [layer]},
        "history": [{"created": created, "created_by": "make image"}],
    }


def archive(layout: Path, target: Path, changed_at: int) -> None:
    """The layout as one tar, for `podman load` and `skopeo copy oci-archive:`."""

    def plain(info: tarfile.TarInfo) -> tarfile.TarInfo:
        info.uid = info.gid = 0
        info.uname = info.gname = ""
        info.mtime = changed_at
        return info

    with tarfile.open(target, "w") as out:
        for path in sorted(layout.rglob("*")):
            out.add(path, str(path.relative_to(layout)), recursive=False, filter=plain)


def _put(blobs: Path, kind: str, content: Mapping[str, object]) -> dict[str, object]:
    text = json.dumps(content, sort_keys=True, separators=(",", ":")).encode()
    digest = hashlib.sha256(text).hexdigest()
    (blobs / digest).write_bytes(text)
    return {"mediaType": kind, "digest": f"sha256:{digest}", "size": len(text)}
