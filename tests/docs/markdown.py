"""Reads the documents: fenced blocks with what stands before them, tables, links, headings."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.paths import ROOT

DECISIONS = tuple(sorted((ROOT / "docs" / "decisions").glob("[0-9]*.md")))
DOCUMENTS = (
    *(ROOT / name for name in ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted((ROOT / "docs").glob("*.md")),
    ROOT / "docs" / "decisions" / "README.md",
    *DECISIONS,
)
PACKAGES = (
    "controller/repave_controller",
    "controller/repave_cli",
    "controller/repave_client",
    "agent/repave_agent",
    "protos/repave_protos",
    "simulation/repave_simulation",
)
RUN = re.compile(r"<!-- run in: (?P<where>[a-z]+) -->")
ON = re.compile(r"<!-- on: (?P<machine>[a-z]+) -->")
LINK = re.compile(r"\[[^\]]*\]\((?P<target>[^)\s]+)\)")
CODE = re.compile(r"`([^`]+)`")


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block. `runs_in` names what it is run beside, `machine` the one of an installation that it is
    run on; "" when it is not."""

    document: str
    line: int
    language: str
    text: str
    runs_in: str = ""
    machine: str = ""

    def __str__(self) -> str:
        return f"{self.document}:{self.line}"


def blocks() -> list[Block]:
    """Every fenced block of every document."""
    return [block for document in DOCUMENTS for block in _blocks_of(document)]


def _blocks_of(document: Path) -> Iterator[Block]:
    lines = document.read_text().splitlines()
    begun, before = None, ""
    for number, line in enumerate(lines, start=1):
        if not line.startswith("```"):
            before = line if begun is None else before
        elif begun is None:
            begun = number
        else:
            marked, placed = RUN.fullmatch(before), ON.fullmatch(before)
            text = "\n".join(lines[begun : number - 1]) + "\n"
            where = marked["where"] if marked else ""
            machine = placed["machine"] if placed else ""
            yield Block(document.name, begun, lines[begun - 1][3:], text, where, machine)
            begun, before = None, ""
    assert begun is None, f"{document.name}:{begun}: the block is never closed"


def section(document: str, heading: str) -> str:
    """What stands below a heading, up to the next one of the same or a higher level."""
    level = len(heading) - len(heading.lstrip("#"))
    text = (ROOT / document).read_text()
    assert f"\n{heading}\n" in text, f"{document} has no heading {heading!r}"
    rest = text.split(f"\n{heading}\n", 1)[1]
    return re.split(rf"^#{{1,{level}}} ", rest, maxsplit=1, flags=re.MULTILINE)[0]


def rows(text: str) -> list[list[str]]:
    """The cells of every table's rows, heads left out."""
    found: list[list[str]] = []
    for line in text.splitlines():
        if re.fullmatch(r"\|[-|: ]+\|", line):
            del found[-1]  # the line above was a head
        elif line.startswith("|"):
            found.append([cell.strip() for cell in line.strip("|").split("|")])
    return found


def code_in(cell: str) -> list[str]:
    """What is written as code in it."""
    return CODE.findall(cell)


def prose(document: Path) -> str:
    """The document without its blocks."""
    return re.sub(r"^```.*?^```$", "", document.read_text(), flags=re.MULTILINE | re.DOTALL)


def links() -> list[tuple[Path, str]]:
    """(document, target) of every link that is not to the web."""
    return [
        (document, found["target"])
        for document in DOCUMENTS
        for found in LINK.finditer(prose(document))
        if "://" not in found["target"]
    ]


def anchors(document: Path) -> set[str]:
    """What GitHub makes of its headings."""
    headings = re.findall(r"^#+ (.+)$", prose(document), flags=re.MULTILINE)
    return {re.sub(r"[^a-z0-9 _-]", "", heading.lower()).replace(" ", "-") for heading in headings}


def sources() -> list[Path]:
    """Every module of the three packages that people write."""
    found = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
    return [path for path in found if "_pb2" not in path.name]
