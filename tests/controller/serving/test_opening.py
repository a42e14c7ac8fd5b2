"""What a controller needs to have its store in PostgreSQL, and one without does not."""

import os
import subprocess
import sys
from pathlib import Path

WITHOUT = """
import sys
sys.modules["asyncpg"] = None
from repave_controller.__main__ import main
sys.exit(main({}))
"""


def started_without_the_extra(state: Path, *words: str, url: str = "") -> subprocess.CompletedProcess[str]:
    settings = {"REPAVE_CONTROLLER_STATE": str(state), "REPAVE_CONTROLLER_STORE__URL": url}
    command = [sys.executable, "-c", WITHOUT.format(list(words))]
    return subprocess.run(
        command, env={**os.environ, **settings}, capture_output=True, text=True, timeout=60, check=False
    )


def test_without_the_extra_a_database_is_refused_with_what_to_install(tmp_path: Path) -> None:
    done = started_without_the_extra(tmp_path, "run", url="postgresql://repave@localhost/repave")
    assert done.returncode == 1
    assert "asyncpg is not installed" in done.stderr
    assert "pip install 'repave[postgres]'" in done.stderr


def test_a_store_in_a_file_needs_no_extra(tmp_path: Path) -> None:
    done = started_without_the_extra(tmp_path, "admin-token")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "controller.db").exists()
