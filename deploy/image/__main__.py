"""`make image`: an OCI image of this checkout in dist/, made without a container engine.

mmdebstrap lays out a Debian 12 of its essential packages, CA certificates, Python and the package `repave`.
There is no compiler in it and no service, and it runs as a user without rights. The same checkout and the
same state of Debian's mirror make the same digest.
"""

import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

from deploy.debian.__main__ import ROOT, build, changed_at, packages
from deploy.image.layout import Image, archive, lay_out
from repave_protos import __version__

MIRROR = "http://deb.debian.org/debian"
SUITE = "bookworm"
INCLUDED = ("python3.11", "libstdc++6", "ca-certificates", "tzdata")
USER = 7400
STATE = "/var/lib/repave"
LEFT_OUT = (
    "/usr/share/man/*",
    "/usr/share/doc/*",
    "/usr/share/info/*",
    "/usr/share/locale/*",
    "/usr/share/lintian/*",
)
KEPT = ("/usr/share/doc/*/copyright",)
GONE = (
    "etc/hostname",
    "etc/machine-id",
    "etc/resolv.conf",
    "var/cache/apt",
    "var/cache/debconf",
    "var/cache/ldconfig",
    "var/lib/apt/lists",
    "var/lib/dbus",
    "var/log",
)
"""Of the machine that made it, or of the moment."""


def root_tar(package: Path, target: Path) -> None:
    """The file system of the image."""
    user = f"repave:x:{USER}:{USER}:repave:{STATE}:/usr/sbin/nologin"
    clean = f"rm -rf {' '.join(GONE)}; rm -f var/lib/dpkg/*-old; install -d -m 755 var/log var/cache/apt"
    hooks = [
        f'dpkg --root="$1" --install {shlex.quote(str(package))}',
        f'echo {shlex.quote(user)} >> "$1/etc/passwd"; echo repave:x:{USER}: >> "$1/etc/group"',
        f'install -d -m 700 -o {USER} -g {USER} "$1{STATE}"',
        'find "$1" -xdev -type f -perm /6000 -exec chmod ug-s {} +',
        'find "$1" -xdev -name "*.pyc" -path "*/usr/lib/python3*" -delete',
        f'cd "$1" && {clean}',
    ]
    words = ["mmdebstrap", "--quiet", "--variant=essential", f"--include={','.join(INCLUDED)}"]
    words += [f"--dpkgopt=path-exclude={each}" for each in LEFT_OUT]
    words += [f"--dpkgopt=path-include={each}" for each in KEPT]
    for setting in sorted(Path("/etc/apt/apt.conf.d").glob("*registry*")):  # of a mirror that lags behind
        words += [f"--aptopt={line}" for line in setting.read_text().splitlines() if line.strip()]
    words += [f"--customize-hook={each}" for each in hooks]
    environment = {**os.environ, "SOURCE_DATE_EPOCH": changed_at()}
    done = subprocess.run(
        [*words, SUITE, str(target), MIRROR], env=environment, capture_output=True, text=True
    )
    if done.returncode:
        raise SystemExit(f"mmdebstrap: {done.stderr[-3000:]}")


def image_of(architecture: str) -> Image:
    return Image(
        tag=f"localhost/repave:{__version__}",
        architecture=architecture,
        user=f"{USER}:{USER}",
        folder=STATE,
        command=("repave-controller",),
        environment={
            "PATH": "/usr/bin:/bin",
            "REPAVE_CONTROLLER_STATE": STATE,
            "REPAVE_AGENT_STATE": STATE,
        },
        labels={
            "org.opencontainers.image.title": "repave",
            "org.opencontainers.image.description": "Controller, agent and command line of repave",
            "org.opencontainers.image.version": __version__,
            "org.opencontainers.image.licenses": "Apache-2.0",
            "org.opencontainers.image.base.name": f"debian:{SUITE}",
        },
        ports=("7400/tcp", "7443/tcp", "7444/tcp"),
        volumes=(STATE,),
        changed_at=int(changed_at()),
    )


def main() -> int:
    target = ROOT / "dist"
    target.mkdir(exist_ok=True)
    asked = subprocess.run(["dpkg", "--print-architecture"], capture_output=True, text=True, check=True)  # noqa: S607  # as the builder has it
    image = image_of(asked.stdout.strip())
    with tempfile.TemporaryDirectory() as scratch:
        programs = build(packages(image.architecture)[0], Path(scratch))
        root_tar(programs, Path(scratch) / "root.tar")
        layout = target / "repave-image"
        digest = lay_out(image, Path(scratch) / "root.tar", layout)
    file = target / f"repave-{__version__}-{image.architecture}.oci.tar"
    archive(layout, file, image.changed_at)
    print(f"{file.relative_to(ROOT)} {digest}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
