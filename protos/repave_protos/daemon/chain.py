"""A chain of texts in which none can be changed, left out or moved without a trace: each has a hash over
itself and the hash before it.

Who can write to the whole chain can make it anew from some place on. So its end has to be kept elsewhere too.
"""

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Link:
    """One text of a chain; the first has number 1."""

    number: int
    text: str
    hash: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """`fault` is "" where the chain holds. `end`: the last link that it holds for. `trimmed_through`: rows up
    to this one are no longer kept. `is_compared`: False where the known one is among these."""

    count: int
    end: Link | None
    fault: str = ""
    trimmed_through: int = 0
    is_compared: bool = True


def first_hash(name: str) -> str:
    """What stands before the first link of the chain called `name`."""
    return hashlib.sha256(f"repave audit {name}".encode()).hexdigest()


def link(number: int, text: str, former: str) -> Link:
    return Link(number, text, hashlib.sha256(f"{former}\n{number}\n{text}".encode()).hexdigest())


Told = Callable[[Link], tuple[int, str] | None]
"""What a row tells of a trimming: the number and the hash of the last row that was taken away."""


def verify(
    links: Iterable[Link], name: str, known: Link | None = None, told: Told = lambda _: None
) -> Verdict:
    """Whether each follows from the one before. `known`: number and hash of a link that was seen before. The
    first ones may be gone where a later one tells of it, with the hash that the chain goes on from."""
    first, end, count = None, None, 0
    gone: dict[int, str] = {}
    for each in links:
        count += 1
        if first is None:
            first = each
            former = first_hash(name) if each.number == 1 else None
        else:
            assert end is not None
            former = end.hash
            if each.number != end.number + 1:
                text = f"row {end.number + 1} is missing: after it comes row {each.number}"
                return Verdict(count - 1, end, text)
        if former is not None and each != link(each.number, each.text, former):
            return Verdict(count - 1, end, f"row {each.number} was changed, or a row before it")
        if known is not None and known.number == each.number and known.hash != each.hash:
            return Verdict(count - 1, end, f"row {each.number} is not the one that was seen before")
        trimmed = told(each)
        if trimmed is not None:
            gone[trimmed[0]] = trimmed[1]
        end = each
    if known is not None and known.number > (end.number if end is not None else 0):
        text = f"the log ends at row {end.number if end else 0}; row {known.number} was seen before"
        return Verdict(count, end, text)
    return _of_trimmed(Verdict(count, end), first, gone, known)


def _of_trimmed(verdict: Verdict, first: Link | None, gone: dict[int, str], known: Link | None) -> Verdict:
    """The same, or what is wrong with where the chain begins."""
    if first is None or first.number == 1:
        return verdict
    last = first.number - 1
    if last not in gone:
        text = f"row 1 is missing: the log begins with row {first.number}, and no row tells of a trimming"
        return replace(verdict, fault=text)
    if first != link(first.number, first.text, gone[last]):
        return replace(verdict, fault=f"row {first.number} was changed, or a row before it")
    if known is not None and known.number in gone and gone[known.number] != known.hash:
        return replace(verdict, fault=f"row {known.number} is not the one that was seen before")
    is_compared = known is None or known.number > last or known.number in gone
    return replace(verdict, trimmed_through=last, is_compared=is_compared)
