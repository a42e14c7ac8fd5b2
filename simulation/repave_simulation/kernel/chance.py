"""Chance that depends on names, not on the order in which it is asked: taking one fault out of a run leaves
all other draws as they were, so that a failing run can be made smaller."""

import hashlib
from collections.abc import Sequence
from typing import TypeVar

Chosen = TypeVar("Chosen")


class Chance:
    """Draws of one seed. Each draw is named by what it is for."""

    def __init__(self, seed: int | str) -> None:
        self._root = hashlib.blake2b(str(seed).encode(), digest_size=16).digest()

    def of(self, *names: object) -> float:
        """Evenly in 0..1; the same names give the same number."""
        text = "/".join(map(str, names)).encode()
        return int.from_bytes(hashlib.blake2b(text, digest_size=7, key=self._root).digest()) / 2**56

    def happens(self, probability: float, *names: object) -> bool:
        return probability > 0 and self.of(*names) < probability

    def between(self, low: float, high: float, *names: object) -> float:
        return low + (high - low) * self.of(*names)

    def number(self, low: int, high: int, *names: object) -> int:
        """Both ends included."""
        return low + int(self.of(*names) * (high - low + 1))

    def one_of(self, options: Sequence[Chosen], *names: object) -> Chosen:
        return options[int(self.of(*names) * len(options))]
