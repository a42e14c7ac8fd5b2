"""`make packages`: the Debian packages of this checkout, in dist/.

`repave` holds the three programs with all the libraries that uv.lock names, each checked by its hash, in one
virtual environment at /usr/lib/repave. `repave-controller` and `repave-agent` hold the services. Nothing is
fetched when they are installed.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from repave_protos import __version__

ROOT = Path(__file__).parents[2]
UNITS = ROOT / "deploy" / "systemd"
HOME = Path("usr/lib/repave")
PROGRAMS = {
    "repave": "repave_cli.__main__",
    "repave-controller": "repave_controller.__main__",
    "repave-agent": "repave_agent.__main__",
}
LAUNCHER = """\
#!/usr/lib/repave/bin/python -I
import sys

from {module} import main

sys.exit(main())
"""
ENVIRONMENT = """\
home = /usr/bin
include-system-site-packages = false
version = 3.11
"""
CONTROL = """\
Package: {name}
Version: {version}
Architecture: {architecture}
Maintainer: the maintainers of repave <maintainers@repave.invalid>
Section: admin
Priority: optional
Installed-Size: {kilobytes}
Depends: {depends}
{more}Description: {summary}
 {text}
"""
SERVICE_ADDED = """\
#!/bin/sh
set -e
if [ "$1" = configure ]; then
    getent passwd {user} >/dev/null ||
        adduser --system --group --quiet --home /var/lib/{user} --no-create-home {user}
    if [ -d /run/systemd/system ]; then
        systemctl daemon-reload
        systemctl try-restart {name}.service
    fi
    [ -n "$2" ] || echo "{name}: {next}"
fi
"""
SERVICE_GOES = """\
#!/bin/sh
set -e
if [ "$1" = remove ] && [ -d /run/systemd/system ]; then
    systemctl disable --quiet --now {name}.service
fi
"""
SERVICE_GONE = """\
#!/bin/sh
set -e
[ ! -d /run/systemd/system ] || systemctl daemon-reload
if [ "$1" = purge ]; then
    echo "{name}: /var/lib/{user} is left as it is; remove it by hand when nothing of it is needed"
fi
"""


@dataclass(frozen=True, slots=True)
class Package:
    """One .deb: `scripts` run when it comes and goes, `settings` are the user's once installed."""

    name: str
    depends: str
    summary: str
    text: str
    architecture: str = "all"
    more: str = ""
    scripts: tuple[tuple[str, str], ...] = ()
    settings: tuple[str, ...] = ()


def service(name: str, user: str, following: str, text: str, more: str = "") -> Package:
    """The package of one daemon. `following`: what the user does once it is installed."""
    scripts = {"postinst": SERVICE_ADDED, "prerm": SERVICE_GOES, "postrm": SERVICE_GONE}
    filled = {kind: body.format(name=name, user=user, next=following) for kind, body in scripts.items()}
    return Package(
        name,
        f"repave (= {__version__}), adduser",
        f"{name.removeprefix('repave-')} of repave, as a service",
        text,
        more=more,
        scripts=tuple(filled.items()),
        settings=(f"/etc/default/{name}",),
    )


def packages(architecture: str) -> tuple[Package, ...]:
    return (
        Package(
            "repave",
            "python3.11, libstdc++6",
            "command of repave, with its libraries",
            "Every release of an application gets a brand-new fleet of hosts in every region.",
            architecture,
        ),
        service(
            "repave-controller",
            "repave",
            "start it with: systemctl enable --now repave-controller",
            "Decides about releases, and tells the agents of the regions.",
        ),
        service(
            "repave-agent",
            "repave-agent",
            "paste what repave agents join REGION prints, or, beside its controller, set REPAVE_AGENT_REGION "
            "in /etc/default/repave-agent; then: systemctl enable --now repave-agent",
            "Makes the hosts of one region, watches them, and moves traffic to them.",
            "Recommends: haproxy (>= 2.4), bubblewrap\n",
        ),
    )


def lay_out_programs(tree: Path) -> None:
    """The virtual environment, of the wheel of this checkout and what uv.lock names."""
    home = tree / HOME
    libraries = home / "lib/python3.11/site-packages"
    (home / "bin").mkdir(parents=True)
    (home / "pyvenv.cfg").write_text(ENVIRONMENT)
    (home / "bin/python").symlink_to("/usr/bin/python3.11")
    with tempfile.TemporaryDirectory() as scratch:
        locked = Path(scratch) / "requirements.txt"
        uv(
            "export",
            "--locked",
            "--no-dev",
            "--extra",
            "ssh",
            "--extra",
            "sigstore",
            "--extra",
            "aws",
            "--extra",
            "dns",
            "--extra",
            "acme",
            "--extra",
            "postgres",
            "--extra",
            "notify",
            "--no-emit-project",
            "--output-file",
            str(locked),
        )
        uv("build", "--wheel", "--out-dir", scratch)
        into = ("pip", "install", "--python-version", "3.11", "--target", str(libraries))
        uv(*into, "--require-hashes", "--only-binary", ":all:", "--requirements", str(locked))
        uv(*into, "--no-deps", *map(str, Path(scratch).glob("*.whl")))
    shutil.rmtree(libraries / "bin", ignore_errors=True)
    forget_how_it_came(libraries)
    programs = tree / "usr/bin"
    programs.mkdir(parents=True)
    for name, module in PROGRAMS.items():
        (programs / name).write_text(LAUNCHER.format(module=module))
        (programs / name).chmod(0o755)
    compiling = (
        "-m",
        "compileall",
        "-q",
        "-j",
        "0",
        "--invalidation-mode",
        "unchecked-hash",
        "-s",
        str(tree),
        "-p",
        "/",
    )
    run("python3.11", *compiling, str(libraries))


def forget_how_it_came(libraries: Path) -> None:
    """What the installer notes of our wheel, its path and the time, would be another each time."""
    (known,) = libraries.glob("repave-*.dist-info")
    record = known / "RECORD"
    noted = ("direct_url.json", "uv_cache.json")
    for name in noted:
        (known / name).unlink(missing_ok=True)
    lines = record.read_text().splitlines(keepends=True)
    record.write_text(
        "".join(each for each in lines if not each.startswith(tuple(f"{known.name}/{one}" for one in noted)))
    )


def lay_out_service(tree: Path, name: str) -> None:
    units, settings = tree / "lib/systemd/system", tree / "etc/default"
    units.mkdir(parents=True)
    settings.mkdir(parents=True)
    shutil.copy(UNITS / f"{name}.service", units)
    variable = f"{name.upper().replace('-', '_')}_"
    (settings / name).write_text(f"# Settings of {name}: {variable}*. `{name} show-config` lists them.\n")


def build(package: Package, target: Path) -> Path:
    """Returns the file that it made."""
    with tempfile.TemporaryDirectory() as scratch:
        tree = Path(scratch) / "tree"
        if package.name == "repave":
            lay_out_programs(tree)
        else:
            lay_out_service(tree, package.name)
        notice = tree / "usr/share/doc" / package.name / "copyright"
        notice.parent.mkdir(parents=True)
        shutil.copy(ROOT / "LICENSE", notice)
        describe(package, tree)
        run("chmod", "-R", "u=rwX,go=rX", str(tree))
        made = target / f"{package.name}_{__version__}_{package.architecture}.deb"
        run("dpkg-deb", "--root-owner-group", "-Zxz", "-z3", "--build", str(tree), str(made))
    return made


def describe(package: Package, tree: Path) -> None:
    size = sum(path.lstat().st_size for path in tree.rglob("*") if not path.is_dir())
    control = tree / "DEBIAN"
    control.mkdir()
    (control / "control").write_text(
        CONTROL.format(
            name=package.name,
            version=__version__,
            architecture=package.architecture,
            kilobytes=size // 1024,
            depends=package.depends,
            more=package.more,
            summary=package.summary,
            text=package.text,
        )
    )
    for name, body in package.scripts:
        (control / name).write_text(body)
        (control / name).chmod(0o755)
    if package.settings:
        (control / "conffiles").write_text("".join(f"{path}\n" for path in package.settings))


def uv(*words: str) -> None:
    run(shutil.which("uv") or str(ROOT / ".uv/bin/uv"), "--quiet", *words)


def run(*words: str) -> None:
    """Raises CalledProcessError; what it printed is on the terminal."""
    environment = {**os.environ, "SOURCE_DATE_EPOCH": changed_at()}
    subprocess.run(words, cwd=ROOT, env=environment, check=True, stdout=subprocess.DEVNULL)


def changed_at() -> str:
    """When this version was last changed: the same checkout makes the same packages."""
    if given := os.environ.get("SOURCE_DATE_EPOCH"):
        return given
    asked = ["git", "-C", str(ROOT), "log", "-1", "--format=%ct"]
    committed = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()
    return committed or str(int((ROOT / "pyproject.toml").stat().st_mtime))


def main() -> int:
    target = ROOT / "dist"
    target.mkdir(exist_ok=True)
    asked = subprocess.run(["dpkg", "--print-architecture"], capture_output=True, text=True, check=True)  # noqa: S607  # as the builder has it
    for package in packages(asked.stdout.strip()):
        print(build(package, target).relative_to(ROOT))
    return 0


if __name__ == "__main__":
    sys.exit(main())
