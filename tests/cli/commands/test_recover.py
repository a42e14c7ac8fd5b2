"""`repave controller recover` over a controller whose store is an older copy than what its regions run."""

import copy
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.controller.command_line import CommandLine
from tests.fakes.controller.scheduler import ServedController, served


@pytest.fixture
def restored(run: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ServedController]:
    """v1 was released, the backup taken, v2 released; then the backup was put back."""
    with served(tmp_path / "controller") as former:
        monkeypatch.setenv("REPAVE_URL", former.url)
        assert run.release("1.0").code == 0
        backup = former.in_loop(lambda: copy.deepcopy(former.store.shelf))
        assert run.release("2.0").code == 0
    with served(tmp_path / "controller", former=former, backup=backup) as controller:
        yield controller


def test_it_shows_what_would_be_adopted_and_changes_nothing(
    run: CommandLine, restored: ServedController
) -> None:
    shown = run("controller", "recover", "--dry-run")
    assert shown.code == 0
    header, *lines = shown.out.splitlines()
    titles = " ".join(header.split())
    assert titles == "APPLICATION REGION GROUP BECOMES HOSTS TRAFFIC VERSION PACKAGE"
    assert [line.split()[1:6] for line in lines] == [
        ["oslo", "hello-v001", "warm", "3", "0"],
        ["oslo", "hello-v002", "serving", "3", "100"],
        ["paris", "hello-v001", "warm", "2", "0"],
        ["paris", "hello-v002", "serving", "2", "100"],
    ]
    assert "hello: the store did not know hello-v002" in shown.err
    assert restored.store.shelf.incarnation == 1


def test_without_a_terminal_it_needs_a_yes(run: CommandLine, restored: ServedController) -> None:
    ran = run("controller", "recover")
    assert ran.code == 2
    assert ran.err.endswith("nothing was changed: there is no terminal to confirm it at; --yes adopts it\n")
    assert restored.store.shelf.incarnation == 1


@pytest.mark.parametrize(("said", "code"), [("y", 0), ("no", 2), ("", 2)])
def test_a_person_is_asked(
    run: CommandLine,
    restored: ServedController,
    monkeypatch: pytest.MonkeyPatch,
    said: str,
    code: int,
) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("repave_cli.commands.recover.answered", lambda _: said)
    assert run("controller", "recover").code == code
    assert restored.store.shelf.incarnation == (2 if code == 0 else 1)


def test_after_it_everything_goes_on(run: CommandLine, restored: ServedController) -> None:
    ran = run("controller", "recover", "--yes")
    assert ran.code == 0
    assert "adopted hello: hello-v002 serves, as it is in oslo, paris" in ran.err
    again = run("controller", "recover", "--yes")
    assert again.code == 0
    assert "nothing needs recovery" in again.err
    assert run("doctor").out.count("ahead") == 0
    assert run.release("3.0").code == 0
    assert "hello-v003 (3.0) serves" in run("status", "hello").out


def test_programs_get_one_object_with_the_new_life(run: CommandLine, restored: ServedController) -> None:
    answer = run("controller", "recover", "--yes", "-o", "json").json
    assert answer["incarnation"] == 2
    (item,) = answer["items"]
    assert (item["application"], item["serving"], item["adopted"]) == ("hello", "hello-v002", True)
    assert json.loads(run("controller", "recover", "-o", "json").out)["items"] == []


def test_until_then_every_command_says_what_is_so(run: CommandLine, restored: ServedController) -> None:
    regions = run("regions")
    assert regions.out.count("connected, AHEAD") == 2
    assert "repave controller recover" in regions.err
    assert "AHEAD OF THE STORE" in run("status", "hello").out
    why = run("why", "hello").out
    assert "regions are ahead of this store, so it cannot say" in why
    assert "the store was restored from an older backup, or lost; nothing is sent there" in why
    doctor = run("doctor")
    assert doctor.code == 1
    assert doctor.out.count("-> repave controller recover") == 2
    assert run.release("3.0").code == 5
    assert "adopt it with: repave controller recover" in run("plan").err


def test_who_disagrees_is_refused_and_a_person_chooses(run: CommandLine, restored: ServedController) -> None:
    restored.connect("oslo", False)
    refused = run("controller", "recover", "--application", "hello", "--serving", "hello-v009", "--yes")
    assert refused.code == 5
    assert "NOT ADOPTED: hello: --serving hello-v009: it has no hosts in paris" in refused.err
    assert run("controller", "recover", "--serving", "hello-v001", "--yes").code == 2
    chosen = run("controller", "recover", "--application", "hello", "--serving", "hello-v002", "--yes")
    assert chosen.code == 0
    assert "oslo still waits: it has accepted epoch" in chosen.err
