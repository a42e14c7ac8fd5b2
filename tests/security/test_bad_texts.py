"""Whatever a file or an answer holds, its reader takes or refuses it in words: no crash, no endless work."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from repave_agent.clients.openstack.login import load_cloud
from repave_agent.core.ports import RefusedError
from repave_agent.identity import identity
from repave_agent.identity.identity import IdentityError
from repave_agent.identity.joining import _read as read_answer
from repave_agent.providers.ssh_pool import inventory
from repave_agent.settings import AgentSettings
from repave_cli.commands.audit import _rows_of
from repave_cli.specs.starters import UnclearError, found_in, hints
from repave_cli.transport import context, credentials
from repave_cli.transport.client import Client, _error
from repave_cli.transport.errors import CliError
from repave_controller.settings import ControllerSettings
from repave_controller.spec.loader import SpecError, load_files
from repave_protos.daemon.settings import SettingsError, load_settings
from tests.security import bad_texts

SECONDS_MAX = 20.0
"""Of CPU, on a machine that does much else; endless work would be minutes."""

Reader = Callable[[Path], object]


def check(reading: Callable[[], object], *refusals: type[Exception]) -> None:
    """It is taken, or refused in words. Anything else that is raised fails the test."""
    began = time.process_time()
    with suppress(*refusals):
        reading()
    assert time.process_time() - began < SECONDS_MAX


def edges() -> Iterator[tuple[str, str, Reader, tuple[type[Exception], ...]]]:
    """(edge, which texts, how it reads a file, how it refuses)."""
    yield "spec", "YAML", lambda file: load_files([file]), (SpecError,)
    yield "a spec on top", "YAML", _on_top, (SpecError,)
    yield "inventory of a pool", "YAML", inventory.read, (RefusedError,)
    yield "clouds.yaml", "YAML", _cloud, (RefusedError,)
    yield "controller's settings", "TOML", _controller, (SettingsError,)
    yield "agent's settings", "TOML", _agent, (SettingsError,)
    yield "contexts", "TOML", _context, (CliError,)
    yield "pyproject.toml", "TOML", _project("pyproject.toml"), (UnclearError,)
    yield "package.json", "JSON", _project("package.json"), (UnclearError,)
    yield "credentials", "JSON", _credentials, (CliError,)
    yield "an agent's identity", "JSON", _identity, (IdentityError,)
    yield "answer to a machine that joins", "JSON", _joining, (IdentityError,)
    yield "answer to the CLI", "JSON", _answer, (CliError,)
    yield "refusal to the CLI", "JSON", lambda file: _error(409, file.read_bytes()), ()
    yield "exported audit log", "JSON", lambda file: list(_rows_of(file)), (CliError,)


def _on_top(file: Path) -> object:
    base = file.with_name("base.yaml")
    base.write_text("repave: 1\napp: hello\n")
    return load_files([base, file])


def _cloud(file: Path) -> object:
    return load_cloud("hello", {"OS_CLIENT_CONFIG_FILE": str(file)})


def _controller(file: Path) -> object:
    return load_settings(ControllerSettings, file, {}, "REPAVE_CONTROLLER_")


def _agent(file: Path) -> object:
    return load_settings(AgentSettings, file, {}, "REPAVE_AGENT_", {"region": "paris"})


def _context(file: Path) -> object:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REPAVE_CONFIG", str(file))
        return context.read()


def _project(name: str) -> Reader:
    def look(file: Path) -> object:
        file.rename(file.with_name(name))
        hints(file.parent)
        return found_in(file.parent)

    return look


def _credentials(file: Path) -> object:
    folder = file.with_name("repave")
    folder.mkdir()
    file.rename(folder / "credentials").chmod(0o600)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CONFIG_HOME", str(file.parent))
        return credentials.credentials_for("https://repave.example:7400")


def _identity(file: Path) -> object:
    file.rename(file.with_name(identity.FILE))
    return identity.read(file.parent)


def _joining(file: Path) -> object:
    return read_answer("https://repave.example:7444", 200, file.read_bytes())


def _answer(file: Path) -> object:
    return Client("http://127.0.0.1:7400", is_for_people=True)._read(file.read_bytes())


CASES = [
    pytest.param(name, reader, refusals, getattr(bad_texts, kind), id=name)
    for name, kind, reader, refusals in edges()
]


@pytest.mark.parametrize(("edge", "reader", "refusals", "texts"), CASES)
def test_a_reader_takes_a_text_or_refuses_it_in_words(
    edge: str, reader: Reader, refusals: tuple[type[Exception], ...], texts: dict[str, bytes], tmp_path: Path
) -> None:
    for number, (name, text) in enumerate(texts.items()):
        folder = tmp_path / str(number)
        folder.mkdir()
        file = folder / "file"
        file.write_bytes(text)
        try:
            check(lambda file=file: reader(file), *refusals)  # type: ignore[misc]
        except BaseException as error:
            error.add_note(f"{edge}: {name}")
            raise


def test_a_file_that_is_a_pipe_holds_up_no_agent(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pool.yaml")
    with pytest.raises(OSError, match="no plain file"):
        inventory.read(tmp_path / "pool.yaml")
