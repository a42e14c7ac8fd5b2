"""A controller that is served, for the client."""

from tests.controller.api.conftest import api, controller

__all__ = ["api", "controller"]
