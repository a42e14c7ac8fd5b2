"""A chain of texts in which none can be changed, left out or moved without a trace: each has a hash over
itself and the hash before it.

Who can write to the whole chain can make it anew from some place on. So its end has to be kept elsewhere too.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Link:
    """One text of a chain; the first has number 1."""

    number: int
    text: str
    hash: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """`fault` is "" where the chain holds. `end`: the last link that it holds for."""

    count: int
    end: Link | None
    fault: str = ""


def first_hash(name: str) -> str:
    """What stands before the first link of the chain called `name`."""
    return hashlib.sha256(f"repave audit {name}".encode()).hexdigest()


def link(number: int, text: str, former: str) -> Link:
    return Link(number, text, hashlib.sha256(f"{former}\n{number}\n{text}".encode()).hexdigest())


def verify(links: Iterable[Link], name: str, known: Link | None = None) -> Verdict:
    """Whether each follows from the one before. `known`: number and hash of a link that was seen before."""
    former, end, count = first_hash(name), None, 0
    for each in links:
        count += 1
        if each.number != count:
            return Verdict(count - 1, end, f"row {count} is missing: after it comes row {each.number}")
        if each != link(each.number, each.text, former):
            return Verdict(count - 1, end, f"row {each.number} was changed, or a row before it")
        if known is not None and known.number == each.number and known.hash != each.hash:
            return Verdict(count - 1, end, f"row {each.number} is not the one that was seen before")
        former, end = each.hash, each
    if known is not None and known.number > count:
        return Verdict(count, end, f"the log ends at row {count}; row {known.number} was seen before")
    return Verdict(count, end)
