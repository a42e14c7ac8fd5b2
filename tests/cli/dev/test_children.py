"""The processes of `repave dev`: restarted within bounds, ended by their ids, without the user's settings."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from repave_cli.dev.children import RESTARTS_MAX, Child, Children, clean
from repave_cli.transport.errors import CliError
from tests.fakes.waiting import DEADLINE_SECONDS, POLL_SECONDS

MODULE = "a_module_for_this_test"


@pytest.fixture
def child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Child]:
    """A child that runs this program."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    def make(program: str) -> Child:
        (tmp_path / f"{MODULE}.py").write_text(program)
        return Child("paris", MODULE, {"REPAVE_AGENT_REGION": "paris"})

    return make


def test_what_dies_again_and_again_is_given_up_with_its_last_words(
    child: Callable[[str], Child], tmp_path: Path
) -> None:
    said: list[str] = []
    children = Children(tmp_path, said.append, [child("raise SystemExit('no such region')")])
    children.start()
    with pytest.raises(CliError, match=r"(?s)paris keeps ending; its log .*paris\.log:\n.*no such region"):
        _forever(children.restart_ended)
    assert len(said) == RESTARTS_MAX
    assert said[0] == f"paris ended with 1; starting it again (log: {tmp_path / 'paris.log'})"


def test_what_does_not_heed_sigterm_is_killed(
    child: Callable[[str], Child], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("repave_cli.dev.children.STOP_SECONDS", 0.1)
    deaf = child(
        "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "print('deaf', flush=True)\ntime.sleep(60)\n"
    )
    children = Children(tmp_path, print, [deaf])
    children.start()
    _until(lambda: "deaf" in children.tail(deaf))
    children.end()
    assert deaf.process is not None
    assert deaf.process.returncode == -signal.SIGKILL


def test_children_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    (tmp_path / f"{MODULE}.py").write_text("import time\ntime.sleep(60)\n")
    program = (
        "import sys, time; from pathlib import Path; from repave_cli.dev.children import Child, Children; "
        f"one = Child('paris', '{MODULE}', {{}}); Children(Path('.'), print, [one]).start(); "
        "print(one.process.pid, flush=True); time.sleep(60)"
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    with subprocess.Popen(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert _runs(pid)
        parent.kill()
    _until(lambda: not _runs(pid))


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_child_has_its_own_settings_and_none_of_the_users(
    child: Callable[[str], Child], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REPAVE_URL", "http://elsewhere")
    monkeypatch.setenv("REPAVE_AGENT_STATE", "/elsewhere")
    program = "import os, sys\nprint(sys.argv[1:], sorted(n for n in os.environ if 'REPAVE' in n))\n"
    assert list(clean([child(program)])) == [(True, "['clean'] ['REPAVE_AGENT_REGION']")]


def test_a_region_that_is_not_clean_says_why(child: Callable[[str], Child]) -> None:
    assert list(clean([child("raise SystemExit('the disk is full')")])) == [(False, "the disk is full")]


def test_the_log_of_the_last_time_is_kept_once(child: Callable[[str], Child], tmp_path: Path) -> None:
    quiet = child("print('second', flush=True)")
    (tmp_path / "paris.log").write_text("first\n")
    children = Children(tmp_path, print, [quiet])
    children.start()
    _until(lambda: quiet.has_ended)
    assert (tmp_path / "paris.log").read_text() == "second\n"
    assert (tmp_path / "paris.log.1").read_text() == "first\n"


def _forever(action: Callable[[], object]) -> None:
    """Until it raises."""

    def never() -> bool:
        action()
        return False

    _until(never)


def _until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(POLL_SECONDS)
