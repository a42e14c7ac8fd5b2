"""The writer of a host's log reads to the end, whatever becomes of the folder, and then ends."""

import os
import shutil
from pathlib import Path

import pytest

from repave_agent.providers.local.logs import NEWEST, tail, written
from tests.fakes.waiting import until


@pytest.mark.parametrize("is_gone", [False, True], ids=["folder there", "folder gone"])
async def test_the_writer_ends_when_the_pipe_is_closed(tmp_path: Path, is_gone: bool) -> None:
    folder = tmp_path / "host"
    folder.mkdir()
    with written(folder) as (output, writer):
        os.write(output, b"begun\n")
        await until(lambda: (folder / NEWEST).exists())
        if is_gone:
            shutil.rmtree(folder)
        os.write(output, b"a line\n" * 2_000_000)
    await until(lambda: writer.poll() is not None)
    assert is_gone or tail(folder, 1) == "a line"
