"""Which characters a terminal may be sent: those that show something, and in the order in which they stand.

Control characters move the cursor, recolour, set titles or end a line; direction and invisible ones make a
text look like another (CVE-2021-42574). JSON is never changed: it escapes them by itself.
"""

import unicodedata

HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Unicode categories: control, format (also direction), surrogate, private, unassigned, line, paragraph."""


def is_printable(text: str) -> bool:
    """Whether every character shows itself; a newline does not."""
    return (text.isascii() and text.isprintable()) or not any(map(_is_hidden, text))


def printable(text: str, keeps: str = "") -> str:
    r"""`text` with each hidden character as \x1b, \n, \u202e; those of `keeps` stay."""
    if is_printable(text):
        return text
    return "".join(_escaped(each) if each not in keeps and _is_hidden(each) else each for each in text)


def _is_hidden(character: str) -> bool:
    return unicodedata.category(character) in HIDDEN


def _escaped(character: str) -> str:
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")
