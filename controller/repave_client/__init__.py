"""A client of repave's HTTP API, with nothing to install beside it.

    from repave_client import Client

    repave = Client("https://repave.example:7400", token="...")
    for application in repave.applications():
        print(application["name"], application["version"])

Nothing is imported before it is named: the command line has use for a part of it.
"""

from typing import TYPE_CHECKING, Any

from repave_client.errors import NeverBegun, NotAController, Problem, RepaveError, Unreachable

if TYPE_CHECKING:
    from repave_client.client import Client
    from repave_client.connection import Connection

__all__ = ["Client", "Connection", "NeverBegun", "NotAController", "Problem", "RepaveError", "Unreachable"]


def __getattr__(name: str) -> Any:
    if name == "Client":
        from repave_client.client import Client

        return Client
    if name == "Connection":
        from repave_client.connection import Connection

        return Connection
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
