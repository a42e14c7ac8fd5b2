"""What controller and agents must agree on: values, their wire form, the channel, and the package format."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    __version__: str


def __getattr__(name: str) -> str:
    """`__version__`, looked up when it is asked for: that takes a command of the CLI a fifth of its time."""
    if name == "__version__":
        from importlib.metadata import version

        return version("repave")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
