"""What each gRPC method asks for. A method that is not named here is refused, and a test fails."""

from collections.abc import Mapping
from typing import Final

from repave_controller.security.principals import Permission

METHODS: Final[Mapping[str, Permission]] = {
    "/repave.fleet.v1.Fleet/Connect": Permission.AGENT,
}
