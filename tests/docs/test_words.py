"""Keeps words out of the documents that readers stop at; what repave itself prints is another matter."""

import re
from pathlib import Path

import pytest

from tests.docs.markdown import CODE, DOCUMENTS, prose
from tests.support.paths import ROOT

INSTEAD = {
    r"the line(?! and column)": "freeze",
    r"(?:some|no|any)body|who(?:so)?ever": "the person or part that is meant",
    r"is (?:told|said)|was told": "reported, requested, shown",
    r"made anew": "reset, rebuilt",
    r"holds? in place": "paused",
    r"unborn|overslept|surroundings": "never released, after a suspension, constraints",
}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: str(document.relative_to(ROOT)))
def test_a_document_uses_the_words_of_the_field(document: Path) -> None:
    text = " ".join(CODE.sub("", prose(document)).split())
    for pattern, instead in INSTEAD.items():
        found = re.search(rf"(?i)\b(?:{pattern})\b", text)
        assert found is None, f"...{text[max(found.start() - 40, 0) : found.end() + 20]}... ({instead})"
