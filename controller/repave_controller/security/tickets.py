"""What agents show to fetch packages. A controller process gives one to each region's agent over its stream,
and knows it again until the process ends; none is kept anywhere.
"""

import hashlib
import hmac
import re

from repave_controller.security.principals import Principal, agent

SHAPE = re.compile(r"rpa_([0-9a-f]{64})_([a-z0-9-]{1,100})")
KEY_BYTES = 32


class Tickets:
    """One for a controller process; `key` is random."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def of(self, region: str) -> str:
        return f"rpa_{hmac.digest(self._key, region.encode(), hashlib.sha256).hex()}_{region}"

    def recognise(self, shown: str) -> Principal | None:
        """The agent that was given it."""
        found = SHAPE.fullmatch(shown)
        if found is None or not hmac.compare_digest(shown.encode(), self.of(found[2]).encode()):
            return None
        return agent(found[2])
