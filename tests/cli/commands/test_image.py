"""image push and list; and which package a release takes, from a folder, a tarball or a digest."""

import hashlib
import io
import tarfile
from pathlib import Path

import pytest

from repave_protos.package.archive import pack
from tests.fakes.controller.command_line import SPEC, CommandLine
from tests.fakes.controller.scheduler import ServedController

pytestmark = pytest.mark.usefixtures("controller")


def test_push_prints_only_the_digest_of_what_is_stored(repave: CommandLine, tmp_path: Path) -> None:
    ran = repave("image", "push", "app")
    assert (ran.code, ran.out) == (0, f"{_packed(repave, tmp_path)[1]}\n")
    assert ran.err.startswith("stored app: 1 files, ")
    (image,) = repave("image", "list", "-o", "json").json["items"]
    assert (image["digest"], image["name"], image["files"]) == (ran.out.strip(), "app", 1)


def test_a_tarball_is_stored_as_it_is(repave: CommandLine, tmp_path: Path) -> None:
    tarball, digest = _packed(repave, tmp_path)
    assert hashlib.sha256(tarball.read_bytes()).hexdigest() == digest
    ran = repave("image", "push", str(tarball), "--name", "build 7")
    assert (ran.code, ran.out) == (0, f"{digest}\n")
    assert repave("image", "list", "-o", "json").json["items"][0]["name"] == "build 7"


def test_pushing_twice_stores_once(repave: CommandLine) -> None:
    assert repave("image", "push", "app").out == repave("image", "push", "app").out
    assert len(repave("image", "list", "-o", "json").json["items"]) == 1


def test_a_pushed_package_comes_in_the_formats_of_programs(repave: CommandLine) -> None:
    image = repave("image", "push", "app", "-o", "json").json
    assert {"digest", "name", "size_bytes", "files", "pushed_at"} <= set(image)
    assert repave("image", "push", "app", "-o", "name").out == f"{image['digest']}\n"
    assert repave("image", "list", "-o", "name").out.strip() in (image["digest"], image["name"])
    assert image["digest"][:12] in repave("image", "list").out
    assert image["digest"] in repave("image", "list", "-o", "wide").out


def test_an_empty_list_is_data_for_programs_and_a_hint_for_people(repave: CommandLine) -> None:
    assert repave("image", "list", "-o", "json").json == {"items": []}
    ran = repave("image", "list")
    assert (ran.code, ran.out) == (0, "")
    assert "repave image push DIRECTORY stores one" in ran.err


def test_what_can_not_be_packed_is_refused_before_anything_is_sent(
    repave: CommandLine, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "noise.tar.gz").write_bytes(b"noise")
    for path, said in (
        ("nowhere", "No such file or directory"),
        (str(tmp_path / "empty"), "holds no files"),
        (str(tmp_path / "noise.tar.gz"), "is no gzip file"),
        (str(_tarball(tmp_path, "../../etc/cron.d/mine")), "../../etc/cron.d/mine"),
    ):
        ran = repave("image", "push", path)
        assert (ran.code, ran.out) == (2, ""), path
        assert said in ran.err
    assert repave("image", "list", "-o", "json").json == {"items": []}


def test_a_spec_may_name_a_tarball_beside_it(repave: CommandLine, tmp_path: Path) -> None:
    tarball, digest = _packed(repave, tmp_path)
    tarball.rename(repave.folder / "app-1.0.tar.gz")
    _spec(repave, "{uri: './app-{version}.tar.gz'}")
    assert repave("release", "--version", "1.0").code == 0
    assert repave("groups", "hello", "-o", "json").json["items"][0]["digest"] == digest
    ran = repave("release")
    assert ran.code == 2
    assert "say which version with --version" in ran.err


def test_a_path_is_seen_from_the_spec_not_from_here(
    repave: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    below = repave.folder / "below"
    below.mkdir()
    monkeypatch.chdir(below)
    assert repave("release", "--version", "1.0").code == 0
    assert repave("release", "-f", "../repave.yaml", "--version", "1.1").code == 0


def test_a_digest_needs_no_files(repave: CommandLine) -> None:
    digest = repave("image", "push", "app").out.strip()
    _spec(repave, "{uri: ./gone}")
    ran = repave("release", "--version", "1.0", "--sha256", f"sha256:{digest.upper()}")
    assert ran.code == 0
    assert "storing" not in ran.err
    assert repave("groups", "hello", "-o", "json").json["items"][0]["digest"] == digest


def test_a_package_that_is_not_stored_is_refused(repave: CommandLine) -> None:
    ran = repave("release", "--version", "1.0", "--sha256", "a" * 64)
    assert ran.code == 2
    assert ran.err == f"repave: no package {'a' * 64} is stored here; repave image push adds one\n"
    assert repave("apps", "-o", "json").json == {"items": []}


@pytest.mark.parametrize("given", ["v1.0", "", "a" * 63, "g" * 64, "md5:" + "a" * 60])
@pytest.mark.parametrize("command", ["plan", "release"])
def test_a_digest_that_is_none_is_refused(repave: CommandLine, command: str, given: str) -> None:
    ran = repave(command, "--version", "1.0", "--sha256", given)
    assert (ran.code, ran.out, ran.err) == (
        2,
        "",
        f"repave: --sha256: {given!r} is no SHA-256, which has 64 digits 0-9 and a-f; "
        "repave image push prints it, and so does sha256sum\n",
    )


@pytest.mark.parametrize(
    ("artifact", "said"),
    [
        ("{uri: ./gone}", "gone is not there"),
        ("{uri: ./app, sha256: required}", "this spec wants the package's digest as --sha256"),
    ],
)
def test_a_spec_without_its_package_says_what_is_missing(
    repave: CommandLine, artifact: str, said: str
) -> None:
    _spec(repave, artifact)
    for command in ("plan", "release"):
        ran = repave(command, "--version", "1.0")
        assert ran.code == 2
        assert said in ran.err


def test_a_plan_stores_nothing(repave: CommandLine, controller: ServedController) -> None:
    assert repave("plan").code == 0
    assert repave("release", "--dry-run").code == 0
    assert repave("image", "list", "-o", "json").json == {"items": []}


def _packed(repave: CommandLine, tmp_path: Path) -> tuple[Path, str]:
    """The application of the folder as a tarball, elsewhere, and its digest."""
    tarball = tmp_path / "packed.tar.gz"
    return tarball, pack(repave.folder / "app", tarball)


def _tarball(tmp_path: Path, member: str) -> Path:
    path = tmp_path / "hostile.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        entry = tarfile.TarInfo(member)
        entry.size = 1
        archive.addfile(entry, io.BytesIO(b"x"))
    return path


def _spec(repave: CommandLine, artifact: str) -> None:
    old = "artifact: {uri: ./app}"
    assert old in SPEC
    (repave.folder / "repave.yaml").write_text(SPEC.replace(old, f"artifact: {artifact}"))
