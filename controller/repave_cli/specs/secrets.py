"""Files in a package that look like secrets: every host gets them, and all who can read the package store.

By their names, as a warning: what is secret only its owner knows.
"""

import fnmatch
import os
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from repave_cli.transport.terminal import Terminal

NAMES = (
    ".env", ".env.*", "*.env", ".envrc", "*.pem", "*.key", "*.p12", "*.pfx", "*.jks", "*.keystore",
    "*.kdbx", "*.ppk", "id_rsa", "id_dsa", "id_ecdsa", "id_ed25519", "credentials", "credentials.*",
    "*credentials*.json", "client_secret*.json", "service-account*.json", "service_account*.json",
    "secrets.*", "secret.*", ".secrets", ".netrc", "_netrc", ".pypirc", ".npmrc", ".yarnrc.yml",
    ".git-credentials", ".pgpass", ".my.cnf", ".htpasswd", ".vault-token", ".boto", "clouds.yaml",
    "clouds.yml", "secure.yaml", "kubeconfig", "*.tfstate", "*.tfvars", ".dockercfg",
    ".dockerconfigjson", "master.key", "*.ovpn",
)  # fmt: skip
HARMLESS = (
    "*.example",
    "*.sample",
    "*.template",
    "*.dist",
    "*.pub",
    ".env.defaults",
    "*.crt.pem",
    "cacert.pem",
)
CODE = (".py", ".pyc", ".js", ".ts", ".go", ".rb", ".java", ".class", ".h", ".c", ".md", ".html", ".css")
FOLDERS = (".ssh", ".aws", ".gnupg", ".kube", ".docker")
SKIPPED = (".git",)
NAMED_MAX = 5
FILES_MAX = 200_000
TARBALL_BYTES_MAX = 200 * 1024**2
"""A larger one is not read through once more."""
PRIVATE_KEY = b"PRIVATE KEY-----"


def tell_secrets(terminal: Terminal, package: Path) -> None:
    """Warns of what a folder or tarball holds."""
    found = list(secrets_in(package))
    if not found:
        return
    more = f" and {len(found) - NAMED_MAX} more" if len(found) > NAMED_MAX else ""
    terminal.say(
        f"warning: the package holds what looks like secrets: {', '.join(found[:NAMED_MAX])}{more}. Every "
        "host gets them. Keep them out of the folder that artifact.uri names"
    )


def secrets_in(package: Path) -> Iterator[str]:
    """Their names in the package; in order. Nothing of what can't be read: packing tells that."""
    try:
        if package.is_dir():
            yield from (name for name in suspicious(_names_below(package)) if _is_one(package / name))
        elif package.stat().st_size <= TARBALL_BYTES_MAX:
            with tarfile.open(package, "r:gz") as archive:
                yield from suspicious(member.name.removeprefix("./") for member in archive if member.isfile())
    except (OSError, tarfile.TarError, EOFError, ValueError):
        return


def suspicious(names: Iterable[str]) -> Iterator[str]:
    """Those that are called as secrets are."""
    for number, name in enumerate(names):
        if number == FILES_MAX:
            return
        *folders, last = name.lower().split("/")
        if _any(last, HARMLESS) or last.endswith(CODE):
            continue
        if _any(last, NAMES) or (set(folders) & set(FOLDERS) and last not in ("known_hosts", "config")):
            yield name


def _any(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def _names_below(folder: Path) -> Iterator[str]:
    for top, folders, files in os.walk(folder):
        folders[:] = sorted(each for each in folders if each not in SKIPPED)
        place = Path(top).relative_to(folder)
        yield from (str(place / each) for each in sorted(files))


def _is_one(path: Path) -> bool:
    """A *.pem may hold certificates alone."""
    if path.suffix.lower() != ".pem":
        return True
    try:
        return PRIVATE_KEY in path.read_bytes()[: 1 << 20]
    except OSError:
        return True
