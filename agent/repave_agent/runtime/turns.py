"""Which of several controllers is dialled: another one than last time, and those after it while none answers.

An agent begins at any of them, so that a fleet is spread, and goes back to none in particular.
"""

from collections.abc import Awaitable, Callable, Sequence

from repave_protos.protocol.channel import Late, Link

DialOne = Callable[[str], Awaitable[Link]]
"""Dials one address. Raises ConnectionError."""


class Turns:
    """`chance` is a number in 0..1."""

    def __init__(self, addresses: Sequence[str], chance: float) -> None:
        self._addresses = tuple(addresses)
        self._next = int(chance * len(self._addresses)) % len(self._addresses)
        self.at = self._addresses[self._next]  # that was reached last

    async def dial(self, dial_one: DialOne, *, again: bool = False) -> Link:
        """A link to the next one that answers; `again`: to the one that was reached last, if it does. Raises
        ConnectionError, in the words of each."""
        if again:
            self._next = self._addresses.index(self.at)
        failures: list[OSError] = []
        for _ in self._addresses:
            address = self._addresses[self._next]
            self._next = (self._next + 1) % len(self._addresses)
            try:
                link = await dial_one(address)
            except OSError as error:
                failures.append(error)
            else:
                self.at = address
                return link
        if len(failures) == 1:
            raise failures[0]
        kind = Late if any(isinstance(each, Late) for each in failures) else ConnectionError
        raise kind("; ".join(map(str, failures)))
