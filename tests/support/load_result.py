"""What came of a load (see load.py): every request, and what tests, benchmarks and the demo ask of them."""

import json
import math
from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple


class Request(NamedTuple):
    """One request. `version` is the first line of the body of a good answer; `failure` is "" then."""

    begun: float  # just before it was written, or before its connection was opened
    ended: float
    status: int
    version: str
    failure: str


class Recording:
    """All requests, 22 bytes each."""

    def __init__(self) -> None:
        self._begun, self._ended = array("d"), array("d")
        self._status, self._text = array("H"), array("I")
        self._texts: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._begun)

    def add(self, begun: float, ended: float, status: int, text: str) -> None:
        self._begun.append(begun)
        self._ended.append(ended)
        self._status.append(status)
        self._text.append(self._texts.setdefault(text, len(self._texts)))

    def __iter__(self) -> Iterator[Request]:
        texts = list(self._texts)
        for begun, ended, status, number in zip(
            self._begun, self._ended, self._status, self._text, strict=True
        ):
            is_good = 100 <= status < 400
            text = texts[number]
            yield Request(begun, ended, status, text if is_good else "", "" if is_good else text)


@dataclass(frozen=True, slots=True)
class LoadResult:
    """What came of a load, in the order in which the answers came."""

    requests: tuple[Request, ...]
    given_up: int  # due but never sent: all connections were busy for too long

    @property
    def failures(self) -> tuple[Request, ...]:
        return tuple(request for request in self.requests if request.failure)

    def answered_by(self, version: str, after: float = -math.inf, before: float = math.inf) -> int:
        """How many requests begun later than `after` and earlier than `before` this version answered."""
        return sum(request.version == version and after < request.begun < before for request in self.requests)

    def first_answer(self, version: str, after: float = -math.inf) -> float | None:
        """When the first answer of this version came to a request begun later than `after`."""
        return min((each.ended for each in self._by(version) if each.begun > after), default=None)

    def last_answer(self, version: str) -> float | None:
        return max((each.ended for each in self._by(version)), default=None)

    def latency_ms(self, share: float) -> float:
        """The latency that this share (0..1) of the good answers kept."""
        spent = sorted(each.ended - each.begun for each in self.requests if not each.failure)
        return spent[min(len(spent) - 1, int(share * len(spent)))] * 1000 if spent else math.nan

    def summary(self) -> dict[str, object]:
        """The whole as plain values, for JSON."""
        failed = Counter(request.failure for request in self.failures)
        versions = sorted({request.version for request in self.requests} - {""})
        return {
            "requests": len(self.requests),
            "failed": sum(failed.values()),
            "failures": dict(failed),
            "given_up": self.given_up,
            "versions": {version: self._summary_of(version) for version in versions},
            "latency_ms": {
                name: round(self.latency_ms(share), 3)
                for name, share in (("p50", 0.5), ("p99", 0.99), ("max", 1.0))
                if sum(failed.values()) < len(self.requests)
            },
        }

    def write(self, path: Path) -> None:
        """A line of JSON per request; `read` is the inverse."""
        with path.open("w") as file:
            file.write(json.dumps({"given_up": self.given_up}) + "\n")
            file.writelines(json.dumps(request) + "\n" for request in self.requests)

    @classmethod
    def read(cls, path: Path) -> "LoadResult":
        with path.open() as file:
            given_up = json.loads(next(file))["given_up"]
            return cls(tuple(Request(*json.loads(line)) for line in file), given_up)

    def _by(self, version: str) -> Iterator[Request]:
        return (request for request in self.requests if request.version == version)

    def _summary_of(self, version: str) -> dict[str, float]:
        own = list(self._by(version))
        return {
            "requests": len(own),
            "first": min(request.begun for request in own),
            "last": max(request.ended for request in own),
        }
