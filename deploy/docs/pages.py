"""Which pages the documentation has, in what order, and where each lies.

A document that no chapter names is still built: it stands in the last chapter.
"""

import posixpath
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
LAST = "More"
CHAPTERS: dict[str, tuple[str, ...]] = {
    "Start": (
        "README.md",
        "docs/first-steps.md",
        "docs/commands.md",
        "docs/install.md",
        "docs/dashboard.md",
        "docs/ci.md",
    ),
    "Releases": (
        "docs/spec.md",
        "docs/strategies.md",
        "docs/guards.md",
        "docs/metrics-sources.md",
        "docs/simulate.md",
        "docs/renewal.md",
        "docs/artifacts.md",
        "docs/images.md",
        "docs/secrets.md",
        "docs/adopt.md",
        "docs/promotion.md",
        "docs/gitops.md",
        "docs/notifications.md",
    ),
    "Hosts and traffic": (
        "docs/agent.md",
        "docs/fronts.md",
        "docs/balancers.md",
        "docs/operators-haproxy.md",
        "docs/on-prem.md",
        "docs/openstack.md",
        "docs/aws.md",
        "docs/gcp.md",
        "docs/azure.md",
        "docs/worlds.md",
        "docs/certificates.md",
        "docs/dns.md",
    ),
    "Operations": (
        "docs/deploy.md",
        "docs/security.md",
        "docs/login.md",
        "docs/threats.md",
        "docs/controllers.md",
        "docs/postgresql.md",
        "docs/backup.md",
        "docs/retention.md",
        "docs/monitoring.md",
        "docs/upgrade.md",
        "docs/troubles.md",
        "docs/benchmarks.md",
    ),
    "Programs": (
        "docs/api.md",
        "docs/hooks.md",
    ),
    LAST: ("ARCHITECTURE.md", "docs/decisions/README.md", "CONTRIBUTING.md", "CHANGELOG.md"),
}


@dataclass(frozen=True, slots=True)
class Page:
    """A document; `source` and `address` are relative to the repository and to the site."""

    source: str
    address: str
    chapter: str

    def text(self, root: Path) -> str:
        return (root / self.source).read_text()


def pages(root: Path) -> list[Page]:
    """Every document that there is, in the order of the navigation; decisions are in no chapter."""
    there = {str(path.relative_to(root)) for path in _documents(root)}
    named = {source for sources in CHAPTERS.values() for source in sources}
    found = [
        Page(source, address_of(source), chapter)
        for chapter, sources in CHAPTERS.items()
        for source in (*(source for source in sources if source in there), *_unnamed(there - named, chapter))
    ]
    decisions = sorted(source for source in there if _is_decision(source))
    return found + [Page(source, address_of(source), "") for source in decisions]


def address_of(source: str) -> str:
    """Where a document lies in the site: README.md opens its folder, and docs/ is the site itself."""
    folder, name = posixpath.split(source.removeprefix("docs/"))
    stem = "index" if name == "README.md" else name.removesuffix(".md").lower()
    return posixpath.join(folder, f"{stem}.html")


def _documents(root: Path) -> Iterator[Path]:
    yield from root.glob("*.md")
    yield from (root / "docs").rglob("*.md")


def _unnamed(sources: set[str], chapter: str) -> list[str]:
    return sorted(source for source in sources if not _is_decision(source)) if chapter == LAST else []


def _is_decision(source: str) -> bool:
    return source.startswith("docs/decisions/") and not source.endswith("README.md")
