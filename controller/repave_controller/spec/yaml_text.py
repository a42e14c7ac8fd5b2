"""Where YAML's text is not what people see: tabs that only separate, characters that look like others.

The scanner takes tabs where YAML 1.2 does, which ruamel's own does not: between a value and its comment,
behind a colon, within text. None of them indents.
"""

import unicodedata
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # ruamel.yaml costs 140 ms: only those who read YAML import it
    from ruamel.yaml.scanner import Scanner

BLANK = " \t"
BREAKS = "\r\n\x85\u2028\u2029"
END = f"\0{BREAKS}"
END_OR_BLANK = f"{END}{BLANK}"
LOOK_LIKE_QUOTES = "\u2018\u2019\u201a\u201c\u201d\u201e\u00ab\u00bb"
LOOK_LIKE_OTHERS = {"\uff1a": ":", "\u2013": "-", "\u2014": "-", "\u2212": "-", "\uff0c": ",", "\uff03": "#"}
ODD_NAMED_MAX = 3


def tab_reader() -> "type[Scanner]":
    """The class of the scanner, made when ruamel is imported at last."""
    from ruamel.yaml.scanner import Scanner, ScannerError

    class TabScanner(Scanner):
        def scan_to_next_token(self) -> None:
            while True:
                self._pass_blanks()
                if self.reader.peek() == "#":
                    while self.reader.peek() not in END:
                        self.reader.forward()
                if not self.scan_line_break():
                    return
                if not self.flow_level:
                    self.allow_simple_key = True

        def _pass_blanks(self) -> None:
            """Tabs that begin a line would indent it, unless nothing but a comment follows."""
            reader, length = self.reader, 0
            if reader.index == 0 and reader.peek() == "\ufeff":
                reader.forward()
            while reader.peek(length) in BLANK:
                length += 1
            blanks = reader.prefix(length)
            line = reader.buffer[reader.pointer - reader.column : reader.pointer]
            indents = not self.flow_level and not line.strip(BLANK) and reader.peek(length) not in f"#{END}"
            reader.forward(len(blanks) - len(blanks.lstrip(" ")) if indents else length)

        def scan_plain_spaces(self, indent: Any, start_mark: Any) -> Any:
            reader, length = self.reader, 0
            while reader.peek(length) in BLANK:
                length += 1
            blanks = reader.prefix(length)
            reader.forward(length)
            if reader.peek() not in BREAKS:
                return [blanks] if blanks else []
            first = self.scan_line_break()
            self.allow_simple_key = True
            breaks: list[str] = []
            while True:
                if reader.prefix(3) in ("---", "...") and reader.peek(3) in END_OR_BLANK:
                    return None
                while reader.peek() == " " or (reader.peek() == "\t" and reader.column >= indent):
                    reader.forward()
                if reader.peek() not in BREAKS:
                    break
                breaks.append(self.scan_line_break())
            folded = [first] if first != "\n" else [] if breaks else [" "]
            return [*folded, *breaks]

        def scan_block_scalar_indicators(self, start_mark: Any) -> tuple[bool | None, int | None]:
            keeps: bool | None = None
            increment: int | None = None
            while (char := self.reader.peek()) in "+-123456789":
                if (char in "+-" and keeps is not None) or (char not in "+-" and increment is not None):
                    break
                if char in "+-":
                    keeps = char == "+"
                else:
                    increment = int(char)
                self.reader.forward()
            if self.reader.peek() not in END_OR_BLANK:
                problem = f"expected chomping or indentation indicators, but found {self.reader.peek()!r}"
                mark = self.reader.get_mark()
                raise ScannerError("while scanning a block scalar", start_mark, problem, mark)
            return keeps, increment

        def scan_block_scalar_ignored_line(self, start_mark: Any) -> Any:
            while self.reader.peek() == "\t":
                self.reader.forward()
            return super().scan_block_scalar_ignored_line(start_mark)

    return TabScanner


def odd_characters(line: str) -> str:
    """What in a line only looks like something else, with code points and columns; "" when nothing does."""
    found = [
        f"U+{ord(char):04X} {unicodedata.name(char, 'without a name')} at column {column}{_not_a(char)}"
        for column, char in enumerate(line, start=1)
        if _is_odd(char)
    ]
    more = f" and {len(found) - ODD_NAMED_MAX} more" if len(found) > ODD_NAMED_MAX else ""
    return ", ".join(found[:ODD_NAMED_MAX]) + more


def _is_odd(char: str) -> bool:
    if char.isascii():
        return False
    is_invisible = unicodedata.category(char) in ("Zs", "Zl", "Zp", "Cf", "Cc", "Co", "Cn")
    return is_invisible or char in LOOK_LIKE_QUOTES or char in LOOK_LIKE_OTHERS


def _not_a(char: str) -> str:
    if char in LOOK_LIKE_QUOTES:
        return ", which is no quote to YAML"
    if char in LOOK_LIKE_OTHERS:
        return f", which is no {LOOK_LIKE_OTHERS[char]}"
    return ", which is no space to YAML" if unicodedata.category(char) == "Zs" else ", which can't be seen"
