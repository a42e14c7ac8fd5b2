"""What each kind of place where secrets are kept has: how it is asked, and which rules hold for it."""

from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Found:
    """A value as it is kept, and which version of it, where there are any."""

    value: bytes = field(repr=False)
    version: str = ""


class Source(Protocol):
    """One kind of place."""

    name: str
    rules: tuple[str, ...]

    def ruled(self, where: str) -> str:
        """The part of `where` that rules are about. Raises SecretError: it is out of reach for all."""

    async def find(self, where: str) -> Found:
        """Reads it anew. Raises SecretError."""

    def trouble(self) -> str:
        """Why hosts can get nothing from it now, as far as is known; "" when they can."""

    async def run(self) -> None:
        """What must go on meanwhile, such as the renewal of a token; returns at once where nothing must."""

    async def close(self) -> None: ...
