"""Makes HTML of one document: headings with the anchors that GitHub gives them, links that lead within the
site, code in colours. Needs nothing but markdown-it and Pygments, which come with rich."""

import html
import posixpath
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.token import Token
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import get_lexer_by_name
from pygments.util import ClassNotFound

from deploy.docs.pages import Page, address_of

FILES = "files"
"""Where files of the repository lie that documents link to."""


@dataclass(frozen=True, slots=True)
class Heading:
    level: int
    text: str
    anchor: str


@dataclass(slots=True)
class Part:
    """What stands below one heading, for the search."""

    heading: Heading
    words: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Rendered:
    """A document as HTML; `files` are those of the repository that it needs beside it."""

    title: str
    body: str
    parts: list[Part]
    files: set[str]


def render(page: Page, text: str, root: Path) -> Rendered:
    markdown = _markdown()
    tokens = markdown.parse(text)
    parts = _give_anchors(tokens)
    files: set[str] = set()
    for token in (each for block in tokens for each in (block, *(block.children or ()))):
        files |= _relink(token, page, root)
        if token.type in ("html_block", "html_inline"):
            token.content = re.sub(r"<!--.*?-->\n?", "", token.content, flags=re.DOTALL)
            token.content = _relink_pictures(token.content, page, root, files)
    title = parts[0].heading.text if parts else page.source
    return Rendered(title, markdown.renderer.render(tokens, markdown.options, {}), parts, files)


def slug(heading: str) -> str:
    """The anchor that GitHub gives a heading."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


def relative(target: str, page: Page) -> str:
    """The way from a page to another address of the site."""
    return posixpath.relpath(target, posixpath.dirname(page.address) or ".")


def coloured(code: str, language: str) -> str:
    """Code as HTML, in classes of Pygments where it knows the language."""
    try:
        lexer = get_lexer_by_name(language)
    except ClassNotFound:
        return html.escape(code)
    return str(highlight(code, lexer, HtmlFormatter(nowrap=True)))


def _markdown() -> MarkdownIt:
    markdown = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
    markdown.add_render_rule("fence", _fence)
    markdown.add_render_rule("table_open", lambda *_: '<div class="wide"><table>')
    markdown.add_render_rule("table_close", lambda *_: "</table></div>")
    return markdown


def _fence(renderer: Any, tokens: Sequence[Token], index: int, options: Any, environment: Any) -> str:
    token = tokens[index]
    language = token.info.strip().split(" ")[0]
    code = coloured(token.content, language)
    return f'<pre tabindex="0" data-language="{html.escape(language)}">{code}</pre>\n'


def _give_anchors(tokens: Sequence[Token]) -> list[Part]:
    parts: list[Part] = []
    taken: dict[str, int] = {}
    for index, token in enumerate(tokens):
        if token.type == "heading_open":
            inline = tokens[index + 1]
            text = "".join(child.content for child in inline.children or ())
            anchor = slug(text)
            taken[anchor] = taken.get(anchor, -1) + 1
            anchor += f"-{taken[anchor]}" if taken[anchor] else ""
            token.attrSet("id", anchor)
            parts.append(Part(Heading(int(token.tag[1:]), text, anchor)))
        elif parts and token.type in ("inline", "fence") and tokens[index - 1].type != "heading_open":
            parts[-1].words.append(_plain(token))
    return parts


def _plain(token: Token) -> str:
    return " ".join(child.content for child in token.children or (token,) if child.content)


def _relink(token: Token, page: Page, root: Path) -> set[str]:
    """Turns a link or a picture to where its target lies in the site; returns the files that this needs."""
    name = {"link_open": "href", "image": "src"}.get(token.type)
    target = str(token.attrGet(name) or "") if name else ""
    if not name or not target or "://" in target or target.startswith("#"):
        return set()
    address, files = _address(target, page, root)
    token.attrSet(name, address)
    return files


def _address(target: str, page: Page, root: Path) -> tuple[str, set[str]]:
    path, _, anchor = target.partition("#")
    source = posixpath.normpath(posixpath.join(posixpath.dirname(page.source), path))
    anchor = f"#{anchor}" if anchor else ""
    if source.endswith(".md"):
        return relative(address_of(source), page) + anchor, set()
    if (root / source).is_dir():
        inside = sorted(str(each.relative_to(root)) for each in (root / source).iterdir() if each.is_file())
        return relative(file_address(inside[0]), page), set(inside)
    return relative(file_address(source), page) + anchor, {source}


def file_address(source: str) -> str:
    """Pictures keep their names; of all else browsers show the text, whatever its kind."""
    is_picture = source.endswith((".png", ".svg"))
    return f"{FILES}/{source}" if is_picture else f"{FILES}/{source}.txt"


def _relink_pictures(text: str, page: Page, root: Path, files: set[str]) -> str:
    def turned(found: re.Match[str]) -> str:
        if "://" in found["target"]:
            return found[0]
        address, needed = _address(found["target"], page, root)
        files.update(needed)
        return f'{found["name"]}="{address}"'

    return re.sub(r'(?P<name>src|srcset|href)="(?P<target>[^"#]+)"', turned, text)
