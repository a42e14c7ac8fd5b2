"""machine.sh by itself, on this machine: who wins a lease, and that logs are bounded."""

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from repave_agent.providers.ssh_pool.bootstrap import SCRIPT, _joined, difference
from tests.fakes.waiting import until

TAKERS, ROUNDS = 6, 15


def ask(root: Path, verb: str, *words: str, script: Path = SCRIPT) -> subprocess.Popen[str]:
    return subprocess.Popen(
        ["sh", str(script), verb, str(root), *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("number", range(ROUNDS))
def test_of_many_who_take_a_machine_at_once_one_has_it_and_the_others_are_told_who(
    tmp_path: Path, number: int
) -> None:
    takers = {
        f"inst/region-{taker}/h": ask(tmp_path, "take", f"inst/region-{taker}/h") for taker in range(TAKERS)
    }
    told = {
        owner: (process.communicate(timeout=30)[1].strip(), process.returncode)
        for owner, process in takers.items()
    }
    (winner,) = [owner for owner, (_, code) in told.items() if code == 0]
    assert (tmp_path / "lease").read_text() == f"{winner}\n"
    assert {answer for owner, answer in told.items() if owner != winner} == {(winner, 75)}
    assert [path.name for path in tmp_path.iterdir()] == ["lease"]


def test_a_lease_that_is_taken_again_stays_and_goes_only_by_its_owner(tmp_path: Path) -> None:
    for _ in range(2):
        assert ask(tmp_path, "take", "a/b/c").wait(30) == 0
    assert ask(tmp_path, "give", "x/y/z").wait(30) == 0
    assert ask(tmp_path, "holder").communicate(timeout=30)[0] == "a/b/c\n"
    assert ask(tmp_path, "give", "a/b/c").wait(30) == 0
    assert ask(tmp_path, "holder").communicate(timeout=30)[0] == ""


async def test_a_log_that_grows_is_cut_and_its_end_is_still_told(tmp_path: Path) -> None:
    quick = tmp_path / "quick.sh"
    quick.write_text(SCRIPT.read_text().replace("sleep 5", "sleep 0.05").replace("8388608", "1000"))
    root, app = tmp_path / "root", tmp_path / "root" / "packages" / "d" / "app"
    app.mkdir(parents=True)

    def told(*words: str) -> str:
        command = ["sh", str(quick), words[0], str(root), *words[1:]]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout

    counts = "for number in $(seq 2000); do echo $number; done; exec sleep 60"
    told("start", "h", "d", "0", "sh", "-c", counts)
    try:
        await until(lambda: (root / "hosts" / "h" / "log.1").exists())
        await until(lambda: told("tail", "h", "1") == "2000\n")
        await until(lambda: (root / "hosts" / "h" / "log").stat().st_size < 2_000)
    finally:
        told("stop", "h", "0")
    assert not (root / "hosts" / "h").exists()


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("./a=b", "a=b|x y||$(id)"),  # env by itself would take it for a variable
        ("c=d", "c=d|x y||$(id)"),
        ("echo", "x y  $(id)"),  # a builtin of the shell is no program by itself
        ("/bin/echo", "x y  $(id)"),
    ],
)
async def test_what_a_host_runs_is_found_by_its_own_path(tmp_path: Path, word: str, told: str) -> None:
    root = tmp_path / "root"
    app = root / "packages" / "d" / "app"
    app.mkdir(parents=True)
    for name in ("a=b", "c=d"):
        (app / name).write_text('#!/bin/sh\nprintf "%s" "${0##*/}"; printf "|%s" "$@"; echo\n')
        (app / name).chmod(0o755)
    done = ask(root, "start", "h", "d", "2", "PATH=/usr/bin:/bin", "B=a b = c", word, "x y", "", "$(id)")
    try:
        assert done.wait(30) == 0, done.stderr and done.stderr.read()
        await until(lambda: ask(root, "state", "h").communicate(timeout=30)[0].startswith("exited 0 0."))
        assert ask(root, "tail", "h", "9").communicate(timeout=30)[0] == f"{told}\n"
    finally:
        assert ask(root, "stop", "h", "0").wait(30) == 0


async def test_a_host_that_does_not_end_has_its_grace_and_no_more_where_each_look_takes_long(
    tmp_path: Path,
) -> None:
    """A look at all processes of a machine takes longer, the more there are: here a second."""
    root, looks = tmp_path / "root", tmp_path / "looks"
    (root / "packages" / "d" / "app").mkdir(parents=True)
    slow = tmp_path / "slow.sh"
    slow.write_text(SCRIPT.read_text().replace("sleep 0.1", f"echo >>{looks}; sleep 1"))
    deaf = 'trap "" TERM; echo deaf; while :; do sleep 60; done'
    assert ask(root, "start", "h", "d", "0", "sh", "-c", deaf).wait(30) == 0
    await until(lambda: ask(root, "tail", "h", "1").communicate(timeout=30)[0] == "deaf\n")
    assert ask(root, "stop", "h", "2", script=slow).wait(60) == 0
    assert len(looks.read_text()) <= 4, "20 times a tenth of a second are 20 s here"


def test_many_files_are_looked_at_by_a_few_processes_whatever_they_are_called(tmp_path: Path) -> None:
    app, bin_ = tmp_path / "root" / "packages" / "d" / "app", tmp_path / "bin"
    bin_.mkdir()
    (app / "folder").mkdir(parents=True)
    odd = ("a b", "back\\slash", "-rf", "*", "new\nline", "  ", "ä")
    names = [*odd, *(f"folder/f{number}" for number in range(3_000))]
    for name in names:
        (app / name).write_text(name)
    (app / "link").symlink_to("folder/f1")
    for program in ("sha256sum", "sh", "cut"):
        real = shutil.which(program)
        (bin_ / program).write_text(
            f'#!{shutil.which("sh")}\necho x >>{tmp_path}/started\nexec {real} "$@"\n'
        )
        (bin_ / program).chmod(0o755)
    command = ["/bin/sh", str(SCRIPT), "contents", str(tmp_path / "root"), "d"]
    path = {"PATH": f"{bin_}:{os.environ['PATH']}"}
    listing = subprocess.run(command, env=path, capture_output=True, text=True, check=True, timeout=60).stdout
    assert len((tmp_path / "started").read_text().splitlines()) < 10
    contents = f"\n{_joined(listing)}"
    for name in set(names) - {"new\nline"}:
        digest = hashlib.sha256(name.encode()).hexdigest()
        assert f"\nf 644 {digest} {name}\n" in contents
    assert "\nl 777 folder/f1 link\n" in contents
    assert "\nd 755  folder\n" in contents
    (app / "new\nline").write_text("other")
    again = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    assert difference(contents, contents) == ""
    assert difference(contents, _joined(again)) != "", "also where a name has two lines"
