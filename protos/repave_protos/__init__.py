"""What controller and agents must agree on: values, their wire form, the channel, and the package format."""

from importlib.metadata import version

__version__ = version("repave")
