"""One process per directory; the lock ends with its process, whatever becomes of it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from repave_protos.daemon.lock import AlreadyRunningError, own

HOLDER = """
import sys
from pathlib import Path
from repave_protos.daemon.lock import own
held = own(Path(sys.argv[1]), "agent of paris")
print("held", flush=True)
sys.stdin.read()
"""


def hold(directory: Path) -> "subprocess.Popen[bytes]":
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(directory)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"held\n"
    return process


def test_a_second_owner_is_refused_and_told_who_the_first_is(tmp_path: Path) -> None:
    with own(tmp_path, "agent of paris"), pytest.raises(AlreadyRunningError) as refused:
        own(tmp_path, "agent of paris")
    assert str(refused.value) == (
        f"another agent of paris (process {os.getpid()}) already uses {tmp_path}; end it, or choose another "
        "directory"
    )


def test_the_lock_ends_with_its_owner_even_by_kill_9(tmp_path: Path) -> None:
    with hold(tmp_path) as process:
        with pytest.raises(AlreadyRunningError, match=f"process {process.pid}"):
            own(tmp_path, "agent of paris")
        process.kill()
        process.wait()
    own(tmp_path, "agent of paris").close()


def test_a_child_of_the_owner_does_not_keep_the_lock(tmp_path: Path) -> None:
    held = own(tmp_path, "agent of paris")
    with subprocess.Popen(["sleep", "60"]) as child:
        try:
            held.close()
            own(tmp_path, "agent of paris").close()
        finally:
            child.kill()


def test_directories_are_apart(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    with own(tmp_path, "agent of paris"), own(other, "agent of oslo"):
        pass


def test_what_an_earlier_owner_left_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text("123456789 and more")
    with own(tmp_path, "agent of paris"):
        assert (tmp_path / "lock").read_text() == str(os.getpid())
