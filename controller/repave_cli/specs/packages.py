"""Which package does a command mean: by a path, a digest, a baked image's name, or what the spec says?"""

import posixpath
import string
import tempfile
from pathlib import Path
from typing import NamedTuple

from repave_cli.specs.secrets import tell_secrets
from repave_cli.transport.errors import CliError
from repave_cli.transport.exit_codes import USAGE
from repave_cli.transport.terminal import Terminal
from repave_client.places import quoted
from repave_controller.spec.outline import Outline
from repave_controller.spec.places import is_remote

DIGEST_LENGTH = 64
NAMED_MAX = 8
SIGNATURES = {".minisig": b"untrusted comment:", ".sig": b"untrusted comment:", ".sigstore.json": b"{"}
"""What a signature's file is called after its package, and how it begins."""

SIGNATURE_LENGTH_MAX = 65_536


class Package(NamedTuple):
    """What is released: its digest, and the text of its signature, if there is one."""

    digest: str
    signature: str = ""


def package_for(terminal: Terminal, spec: Outline, spec_file: Path, *, push: bool) -> Package:
    """The package that an option or the spec names, or that of what artifact.uri names: stored if `push`, and
    fetched by the controller where it is an address."""
    if is_remote(spec.uri) and not terminal.arguments.baked:
        return _fetched(terminal, spec, spec_file)
    digest = _digest(terminal, spec, spec_file, push=push)
    return Package(digest, _signature_for(terminal, spec, spec_file))


def _fetched(terminal: Terminal, spec: Outline, spec_file: Path) -> Package:
    """Waits until the controller has it, and says how far it is."""
    arguments = terminal.arguments
    given = sha256("--sha256", arguments.sha256) if arguments.sha256 else ""
    body = {
        "spec": spec.text,
        "filename": str(spec_file),
        "version": arguments.version or "",
        "digest": given,
    }
    path = f"applications/{quoted(spec.application)}/artifacts"
    found, shown = terminal.client.post(path, body), -1
    while not found["is_stored"]:
        if found["received_bytes"] != shown:
            shown = found["received_bytes"]
            whole = f" of {found['total_bytes']:,}" if found["total_bytes"] is not None else ""
            terminal.say(f"fetching {found['uri']}: {shown:,}{whole} bytes ...")
        found = terminal.client.get(f"{path}/{found['id']}")
    if found["is_new"]:
        terminal.say(f"stored {found['uri']} ({found['received_bytes']:,} bytes) as {found['digest']}")
    own = arguments.signature
    return Package(found["digest"], _signature(own, "--signature") if own is not None else "")


def _digest(terminal: Terminal, spec: Outline, spec_file: Path, *, push: bool) -> str:
    arguments = terminal.arguments
    if arguments.baked:
        return digest_named(terminal, arguments.baked, list(spec.sizes))
    if arguments.sha256 is not None:
        return sha256("--sha256", arguments.sha256)
    if spec.sha256 == "required":
        raise CliError("artifact.sha256: this spec wants the package's digest as --sha256", USAGE)
    if "{version}" in spec.uri and not arguments.version:
        raise CliError(f"artifact.uri is {spec.uri}: say which version with --version", USAGE)
    path = spec_file.resolve().parent / spec.package
    if not path.exists():
        raise CliError(f"artifact.uri: {path} is not there", USAGE)
    with tempfile.TemporaryDirectory(prefix="repave-") as place:
        tarball, digest = packed(terminal, path, Path(place))
        _check_program(spec, tarball, path)
        if push and not terminal.client.exists(f"images/{digest}"):
            terminal.say(f"storing {path.name} ({tarball.stat().st_size:,} bytes) ...")
            terminal.client.upload("images", tarball, path.name)
    return digest


def _signature_for(terminal: Terminal, spec: Outline, spec_file: Path) -> str:
    """The text of the package's signature: of the option, of what the spec names, or beside the package."""
    arguments = terminal.arguments
    if arguments.signature is not None:
        return _signature(arguments.signature, "--signature")
    if is_remote(spec.uri):
        return ""
    folder = spec_file.resolve().parent
    if spec.signature:
        return _signature(folder / spec.signature, "artifact.signature")
    if arguments.sha256 or arguments.baked:
        return ""
    package = folder / spec.package
    for suffix, begins in SIGNATURES.items():
        path = package.with_name(package.name + suffix)
        if path.is_file() and path.read_bytes().startswith(begins):
            return _signature(path, "the signature beside the package")
    return ""


def _signature(path: Path, what: str) -> str:
    try:
        with path.open("rb") as file:
            text = file.read(SIGNATURE_LENGTH_MAX + 1).decode()
    except OSError as error:
        raise CliError(f"{what}: {path}: {error.strerror or error}", USAGE) from error
    except UnicodeDecodeError:
        text = ""
    if not text.encode().startswith(tuple(SIGNATURES.values())) or len(text) > SIGNATURE_LENGTH_MAX:
        raise CliError(
            f"{what}: {path} is no signature of minisign or signify, what minisign -S or signify -S writes, "
            "nor a bundle of sigstore",
            USAGE,
        )
    return text


def _check_program(spec: Outline, tarball: Path, path: Path) -> None:
    """Raises CliError where host.run names a file of the package that it has not, or none that can be run."""
    import tarfile  # slow to import

    program = spec.program
    if "/" not in program or program.startswith("/") or "$" in program or "{" in program:
        return  # on the host's PATH, on its disk, or known to the host alone
    with tarfile.open(tarball) as archive:
        members = {posixpath.normpath(member.name): member for member in archive}
    name = posixpath.normpath(program)
    found = members.get(name)
    if any(each.issym() for part, each in members.items() if f"{name}/".startswith(f"{part}/")):
        return  # below a link: the host looks
    if found is None or found.isdir():
        there = ", ".join(sorted(part for part in members if "/" not in part and part != ".")[:NAMED_MAX])
        holds = f"which is made of {path} and holds: {there or 'nothing'}"
        raise CliError(f"host.run: {program} is not in the package, {holds}", USAGE)
    if not found.mode & 0o111:
        raise CliError(f"host.run: {program} is not executable; chmod +x it in {path}", USAGE)


def stored(terminal: Terminal, package: str) -> tuple[str, str]:
    """What people call a package, and its digest: one that lies at a path, which is pushed, or is stored."""
    path = Path(package)
    if not path.exists():
        digest = sha256("PACKAGE: there is no such path, and as a digest", package)
        known = {each["digest"]: each["name"] for each in terminal.client.get("images")["items"]}
        if digest not in known:
            raise CliError(f"PACKAGE: no package {digest} is stored; repave image list shows them", USAGE)
        return known[digest], digest
    with tempfile.TemporaryDirectory(prefix="repave-") as place:
        tarball, digest = packed(terminal, path, Path(place))
        if not terminal.client.exists(f"images/{digest}"):
            terminal.client.upload("images", tarball, path.resolve().name)
    return path.resolve().name.removesuffix(".tar.gz"), digest


def digest_named(terminal: Terminal, name: str, regions: list[str]) -> str:
    """The package of a baked image, for a release that names one. Every region must have it."""
    items = terminal.client.get("baked-images")["items"]
    named = [each for each in items if name in (each["name"], each["image"])]
    digests = {each["digest"] for each in named}
    if len(digests) != 1:
        known = ", ".join(sorted({each["name"] for each in items})) or "none"
        problem = (
            "images of several packages are called so"
            if digests
            else f"no region has one; there are: {known}"
        )
        raise CliError(f"--baked {name}: {problem}", USAGE)
    missing = set(regions) - {each["region"] for each in named if each["is_current"]}
    if missing:
        raise CliError(
            f"--baked {name}: {', '.join(sorted(missing))} has no usable one: repave image bake "
            f"{digests.pop()} --region REGION makes it",
            USAGE,
        )
    return str(digests.pop())


def packed(terminal: Terminal, path: Path, place: Path) -> tuple[Path, str]:
    """A tarball of the directory, or the tarball itself once it was looked through; and its digest. Warns of
    what looks like a secret in it."""
    tell_secrets(terminal, path)
    # Late, for most commands need none of it: tarfile and what it imports are slow.
    from repave_protos.package.archive import PackageFormatError, inspect, pack, sha256_of

    try:
        if path.is_dir():
            tarball = place / "package.tar.gz"
            return tarball, pack(path, tarball)
        inspect(path)
        return path, sha256_of(path)
    except PackageFormatError as error:
        raise CliError(str(error), USAGE) from error
    except OSError as error:
        raise CliError(f"{path}: {error.strerror or error}", USAGE) from error


def sha256(where: str, given: str) -> str:
    """As people copy it: also in capitals or with `sha256:` before it."""
    digest = given.lower().removeprefix("sha256:")
    if len(digest) != DIGEST_LENGTH or not set(digest) <= set(string.hexdigits):
        raise CliError(
            f"{where}: {given[: 2 * DIGEST_LENGTH]!a} is no SHA-256, which has {DIGEST_LENGTH} digits 0-9 "
            "and a-f; repave image push prints it, and so does sha256sum",
            USAGE,
        )
    return digest
