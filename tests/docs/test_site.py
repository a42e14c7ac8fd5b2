"""The documentation as a site: every link in it leads somewhere, and it needs nothing from elsewhere."""

import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest

from deploy.docs.__main__ import build
from deploy.docs.markup import render, slug
from deploy.docs.pages import CHAPTERS, Page, address_of, pages
from deploy.docs.reference import reference
from repave_controller.api.app import Api
from repave_controller.api.web.openapi import document
from tests.docs.markdown import DOCUMENTS
from tests.support.paths import ROOT


class Seen(HTMLParser):
    """What a page names: its anchors, what it links to, and what a browser would load with it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.inline: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        if "id" in found:
            assert found["id"] not in self.anchors, f"two of #{found['id']}"
            self.anchors.add(found["id"])
        if tag == "a":
            self.links.append(found["href"])
        else:
            self.loaded.extend(found[name] for name in ("src", "href", "srcset") if name in found)
        if (tag == "script" and "src" not in found) or "style" in found or any(n[:2] == "on" for n in found):
            self.inline.append(self.get_starttag_text() or tag)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("site")
    build(place)
    return place


@pytest.fixture(scope="module")
def seen(site: Path) -> dict[Path, Seen]:
    return {path: Seen(path.read_text()) for path in site.rglob("*.html")}


def targets(page: Path, links: list[str]) -> Iterator[tuple[Path, str]]:
    for link in links:
        path, _, anchor = link.partition("#")
        if "://" not in link and not link.startswith("mailto:"):
            yield ((page.parent / unquote(path)).resolve() if path else page), unquote(anchor)


def test_every_document_is_a_page(site: Path) -> None:
    for path in DOCUMENTS:
        assert (site / address_of(str(path.relative_to(ROOT)))).is_file(), path


def test_every_link_leads_somewhere(seen: dict[Path, Seen]) -> None:
    broken = [
        f"{page.name}: {target.name}#{anchor}"
        for page, each in seen.items()
        for target, anchor in targets(page, each.links)
        if not target.is_file()
        or (anchor and target.suffix == ".html" and anchor not in seen[target].anchors)
    ]
    assert broken == []


def test_nothing_is_loaded_from_elsewhere_and_nothing_is_inline(seen: dict[Path, Seen]) -> None:
    for page, each in seen.items():
        assert not [loaded for loaded in each.loaded if "//" in loaded], page.name
        assert all(target.is_file() for target, _ in targets(page, each.loaded)), page.name
        assert each.inline == [], page.name


def test_it_looks_as_the_dashboard_does(site: Path) -> None:
    defined = set(re.findall(r"(--[a-z-]+):", (site / "tokens.css").read_text()))
    used = set(re.findall(r"var\((--[a-z-]+)", (site / "site.css").read_text()))
    assert used <= defined
    for name in re.findall(r"url\(([^)]+)\)", (site / "tokens.css").read_text()):
        assert (site / name).is_file()


def test_the_search_finds_a_heading_and_its_text(site: Path, seen: dict[Path, Seen]) -> None:
    text = (site / "search-index.js").read_text()
    index = json.loads(text.removeprefix("window.searchIndex = ").removesuffix(";\n"))
    assert all(anchor in seen[site / address].anchors for address, _, _, anchor, _ in index)
    address, title, _, anchor, words = next(each for each in index if each[2] == "What it shows")
    assert (address, title, anchor) == ("simulate.html", "Rehearse a release", "what-it-shows")
    assert "Capacity" in words


def test_pages_say_where_they_are_in_the_navigation(seen: dict[Path, Seen], site: Path) -> None:
    assert 'href="spec.html" aria-current="page"' in (site / "spec.html").read_text()
    assert 'href="../spec.html"' in (site / "decisions" / "index.html").read_text()


def test_a_document_without_a_chapter_is_in_the_last_one(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    for name in ("README.md", "docs/brand-new.md", "docs/spec.md"):
        (tmp_path / name).write_text(f"# {name}\n")
    assert [(page.address, page.chapter) for page in pages(tmp_path)] == [
        ("index.html", "Start"),
        ("spec.html", "Releases"),
        ("brand-new.html", "More"),
    ]


def test_no_document_is_in_two_chapters() -> None:
    named = [source for sources in CHAPTERS.values() for source in sources]
    assert len(set(named)) == len(named)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[spec](spec.md#one)", 'href="spec.html#one"'),
        ("[read](../README.md)", 'href="index.html"'),
        ("[why](decisions/0001-decide-in-two-pure-functions.md)", 'href="decisions/0001-'),
        ("[code](../deploy/set-up)", 'href="files/deploy/set-up.txt"'),
        ("[web](https://example.com/a.md)", 'href="https://example.com/a.md"'),
        ("![fleet](screens/fleet.png)", 'src="files/docs/screens/fleet.png"'),
        ('<img src="screens/fleet.png" alt="">', 'src="files/docs/screens/fleet.png"'),
        ("a <!-- run in: hello --> b", "<p>a  b</p>"),
        ("<!-- run in: hello -->\n```sh\nls\n```", '<pre tabindex="0" data-language="sh">ls\n</pre>'),
        ("```text\n<b>\n```", "&lt;b&gt;"),
    ],
)
def test_links_and_code_become_html(text: str, expected: str) -> None:
    page = Page("docs/some.md", "some.html", "")
    assert expected in render(page, text, ROOT).body


def test_two_equal_headings_have_anchors_as_on_github() -> None:
    parts = render(Page("docs/some.md", "some.html", ""), "# A `b`: c_d!\n\n## E\n\n## E\n", ROOT).parts
    assert [part.heading.anchor for part in parts] == ["a-b-c_d", "e", "e-1"]
    assert slug("In 2.4, or newer?") == "in-24-or-newer"


def test_the_reference_has_every_route_and_schema() -> None:
    described = document(Api(None, None, None, None, None).routes(), "1.2.3")  # type: ignore[arg-type]  # the table alone
    text = reference(described)
    for path, methods in described["paths"].items():
        for method in methods:
            assert f"### {method.upper()} {path}\n" in text
    rendered = render(Page("docs/openapi.json", "reference.html", ""), text, ROOT)
    anchors = {part.heading.anchor for part in rendered.parts}
    assert {name.lower() for name in described["components"]["schemas"]} <= anchors
    assert {link[1:] for link in Seen(rendered.body).links} <= anchors
