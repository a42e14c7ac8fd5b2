"""Which machines a pool has: the inventory file, read again whenever it has changed.

machines:
  - name: rack1-04
    address: 10.0.4.14
    host_key: ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA...
    variables: {bmc: 10.9.4.14}
"""

from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from repave_agent.clients.yaml_file import read_yaml
from repave_agent.core.ports import RefusedError
from repave_protos.daemon.settings import of_form

Name = Annotated[
    str, of_form("[A-Za-z0-9][A-Za-z0-9._-]{0,63}", "1 to 64 letters, digits, dots, _ and -, as in rack1-07")
]
Key = Annotated[
    str,
    of_form(
        "(ssh|ecdsa|sk-ssh|sk-ecdsa)[a-z0-9@.-]* [A-Za-z0-9+/=]+( .*)?",
        "a public key, as ssh-keyscan prints it after the machine's name",
    ),
]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Listed(_Strict):
    """One machine. `serves` is where clients reach it, when that is another address than SSH's."""

    name: Name
    address: Annotated[str, Field(min_length=1, max_length=255)]
    port: Annotated[int, Field(ge=1, le=65535)] | None = None
    user: Annotated[str, of_form("[a-z_][a-z0-9_-]{0,31}", "a name of a Linux user")] | None = None
    host_key: tuple[Key, ...] = ()
    serves: str = ""
    variables: dict[Annotated[str, of_form("[a-z][a-z0-9_]*", "a name such as rack_unit")], str] = {}

    @property
    def traffic_address(self) -> str:
        return self.serves or self.address


class _File(_Strict):
    machines: tuple[Listed, ...]


class Inventory:
    """The machines in the file, as it is now."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int] | None = None
        self._machines: dict[str, Listed] = {}

    def machines(self) -> dict[str, Listed]:
        """By name, in the file's order. Raises RefusedError, which names the field."""
        try:
            found = self._path.stat()
            if (found.st_mtime_ns, found.st_ino) != self._seen:
                self._machines = read(self._path)
                self._seen = (found.st_mtime_ns, found.st_ino)
        except OSError as error:
            raise RefusedError(f"ssh_pool.inventory: {self._path}: {error.strerror}") from error
        return self._machines


def read(path: Path) -> dict[str, Listed]:
    """Raises RefusedError, OSError."""
    try:
        listed = _File.model_validate(_with_lists(read_yaml(path))).machines
    except ValidationError as error:
        raise RefusedError(f"{path}: {_message(error)}") from error
    for field in ("name", "address"):
        values = [getattr(each, field) for each in listed]
        twice = sorted({value for value in values if values.count(value) > 1})
        if twice and (field == "name" or len({(each.address, each.port) for each in listed}) < len(listed)):
            raise RefusedError(f"{path}: machines: {field} {twice[0]} is there twice; each machine once")
    return {each.name: each for each in listed}


def _with_lists(raw: Any) -> Any:
    """One host key may stand without a list around it."""
    machines = raw.get("machines") if isinstance(raw, dict) else None
    for each in machines if isinstance(machines, list) else ():
        if isinstance(each, dict) and isinstance(each.get("host_key"), str):
            each["host_key"] = [each["host_key"]]
    return raw


def _message(error: ValidationError) -> str:
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"]) or "the file"
    given = f", not {first['input']!r}" if not isinstance(first["input"], dict | list) else ""
    said = first["msg"].removeprefix("Value error, ").replace("valid tuple", "list")
    return f"{place}: {said[0].lower()}{said[1:]}{given}"
