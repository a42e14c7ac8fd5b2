"""`make docs`: the documentation as a site in dist/docs, which needs no server and nothing from elsewhere.

Open dist/docs/index.html, or serve the folder. The pages are those of the repository; the API reference
is made of docs/openapi.json.
"""

import html
import json
import shutil
import sys
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from deploy.docs.markup import Rendered, file_address, relative, render
from deploy.docs.pages import ROOT, Page, pages
from deploy.docs.reference import reference

THEME = Path(__file__).parent / "theme"
DASHBOARD = ROOT / "controller" / "repave_controller" / "dashboard" / "files"
FONTS = ("vendor/geist.woff2", "vendor/geist-mono.woff2")
OPENAPI = "docs/openapi.json"
REFERENCE = Page(OPENAPI, "reference.html", "Programs")
DEEPEST = 3
"""Headings below this level are not in a page's table of contents."""


def build(target: Path, root: Path = ROOT) -> list[Page]:
    """Writes the whole site into an empty folder; returns its pages."""
    built = [(page, render(page, page.text(root), root)) for page in pages(root)]
    if (root / OPENAPI).is_file():
        text = reference(json.loads((root / OPENAPI).read_text()))
        built.append((REFERENCE, render(REFERENCE, text, root)))
    listed = [(page, rendered.title) for page, rendered in built if page.chapter]
    template = (THEME / "page.html").read_text()
    for page, rendered in built:
        place = target / page.address
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(_page(template, page, rendered, listed))
    for source in sorted(set().union(*(rendered.files for _, rendered in built))):
        place = target / file_address(source)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(root / source, place)
    _assets(target, built)
    return [page for page, _ in built]


def _page(template: str, page: Page, rendered: Rendered, listed: Sequence[tuple[Page, str]]) -> str:
    values = {
        "title": html.escape(rendered.title),
        "root": relative(".", page),
        "navigation": _navigation(page, listed),
        "contents": _contents(rendered),
        "body": rendered.body,
    }
    for name, value in values.items():
        template = template.replace(f"@{name}@", value)
    return template


def _navigation(page: Page, listed: Sequence[tuple[Page, str]]) -> str:
    order = list(dict.fromkeys(each.chapter for each, _ in listed))
    sorted_pages = sorted(listed, key=lambda each: order.index(each[0].chapter))
    lines = []
    for chapter, members in groupby(sorted_pages, key=lambda each: each[0].chapter):
        lines.append(f"<h2>{html.escape(chapter)}</h2>\n<ul>")
        for each, title in members:
            current = ' aria-current="page"' if each == page else ""
            lines.append(
                f'<li><a href="{relative(each.address, page)}"{current}>{html.escape(title)}</a></li>'
            )
        lines.append("</ul>")
    return "\n".join(lines)


def _contents(rendered: Rendered) -> str:
    headings = [part.heading for part in rendered.parts if 1 < part.heading.level <= DEEPEST]
    return "\n".join(
        f'<li class="level-{heading.level}"><a href="#{heading.anchor}">{html.escape(heading.text)}</a></li>'
        for heading in headings
    )


def _assets(target: Path, built: Sequence[tuple[Page, Rendered]]) -> None:
    """The theme, and what the search reads: a script, for a page opened as a file may fetch nothing."""
    for name in ("site.css", "site.js"):
        shutil.copyfile(THEME / name, target / name)
    for name in ("mark.svg", *FONTS):
        (target / name).parent.mkdir(exist_ok=True)
        shutil.copyfile(DASHBOARD / name, target / name)
    (target / "tokens.css").write_text(tokens((DASHBOARD / "app.css").read_text()))
    index = [
        [page.address, rendered.title, part.heading.text, part.heading.anchor, " ".join(part.words)]
        for page, rendered in built
        for part in rendered.parts
    ]
    (target / "search-index.js").write_text(
        f"window.searchIndex = {json.dumps(index, ensure_ascii=False)};\n"
    )


def tokens(css: str) -> str:
    """The dashboard's typefaces and colours: what its style sheet begins with."""
    begun, ended = css.index("@font-face"), css.index("/* ---")
    return css[begun:ended]


def main() -> int:
    target = ROOT / "dist" / "docs"
    shutil.rmtree(target, ignore_errors=True)
    print(f"{len(build(target))} pages: {(target / 'index.html').relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
