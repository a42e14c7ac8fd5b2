"""Reads YAML 1.2 into a small tree in which everything knows where it was written.

Takes less than YAML allows: text, numbers, true/false, lists and mappings with text keys, anchors and merge
keys; no tags or second documents; bounded in bytes, depth and number of values, aliases expanded. Options
at the top that begin with `x-` are for anchors: they are left out. Knows nothing else of specs.
"""

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from repave_controller.spec.quantities import Unquoted
from repave_controller.spec.yaml_text import odd_characters, tab_reader

if TYPE_CHECKING:  # ruamel.yaml costs 140 ms: only those who read YAML import it
    from ruamel.yaml.error import MarkedYAMLError, StringMark
    from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

BYTES_MAX = 1024 * 1024
DEPTH_MAX = 20
VALUES_MAX = 100_000
NUMBER_LENGTH_MAX = 40
OWN_PREFIX = "x-"
DIRECTIVE = re.compile(r"^%[A-Z]", re.MULTILINE)
TAGS = "tag:yaml.org,2002:"

Path = tuple[str | int, ...]
Scalar = str | int | bool | None


@dataclass(frozen=True, slots=True)
class Place:
    """Where something was written; lines and columns count from 1. Line 0: the file as a whole."""

    file: str
    line: int = 0
    column: int = 0


@dataclass(frozen=True, slots=True)
class Written:
    """A value and where it was written."""

    place: Place
    value: Scalar | Unquoted | dict[str, "Written"] | list["Written"]

    def plain(self) -> object:
        """The value without places."""
        if isinstance(self.value, dict):
            return {name: each.plain() for name, each in self.value.items()}
        if isinstance(self.value, list):
            return [each.plain() for each in self.value]
        return self.value

    def find(self, path: Path) -> "Written | None":
        """What was written at `path`; None if nothing was."""
        found: Written | None = self
        for part in path:
            children = found.value if found is not None else None
            if isinstance(children, dict) and isinstance(part, str):
                found = children.get(part)
            elif isinstance(children, list) and isinstance(part, int) and part < len(children):
                found = children[part]
            else:
                return None
        return found


@dataclass(frozen=True, slots=True)
class Flaw:
    """Why something can't be read. `path` leads to it, as far as it is known."""

    place: Place
    path: Path
    message: str
    fix: str = ""


class UnreadableError(Exception):
    """The text can't be read. `flaws` has at least one entry."""

    def __init__(self, flaws: list[Flaw]) -> None:
        super().__init__("; ".join(flaw.message for flaw in flaws))
        self.flaws = flaws


def merge(base: Written, over: Written) -> Written:
    """`over` on top of `base`: mappings are merged, all else is replaced. Places stay true."""
    if not isinstance(base.value, dict) or not isinstance(over.value, dict):
        return over
    merged = dict(base.value)
    for name, each in over.value.items():
        merged[name] = merge(merged[name], each) if name in merged else each
    return Written(base.place, merged)


def read(content: str | bytes, file: str) -> Written:
    """The one document in `content`. Raises UnreadableError."""
    text = _decode(content, file)
    root = _compose(text, file)
    if root is None:
        raise _unreadable(Place(file, 1, 1), "the file is empty", "repave init writes one to begin with")
    reader = _Reader(file)
    written = reader.read(root, (), 0)
    if reader.flaws:
        raise UnreadableError(reader.flaws)
    return written


def _decode(content: str | bytes, file: str) -> str:
    try:
        if isinstance(content, str):
            size = len(content.encode())  # half a surrogate pair in a JSON body shows here
        else:
            size, content = len(content), content.decode()
    except UnicodeError as error:
        line = _count_lines(error.object[: error.start]) if isinstance(error, UnicodeDecodeError) else 1
        raise _unreadable(Place(file, line, 1), "is not valid UTF-8", "save the file as UTF-8") from None
    if size > BYTES_MAX:
        text = f"the file has {size:,} bytes, at most {BYTES_MAX:,} are read"
        raise _unreadable(Place(file), text, "a spec is text of a few kilobytes")
    directive = DIRECTIVE.search(content)
    if directive is not None:
        line = content.count("\n", 0, directive.start()) + 1
        raise _unreadable(Place(file, line, 1), "a directive is not taken", "remove it; this is YAML 1.2")
    return content.removeprefix("\ufeff")


def _count_lines(before: bytes) -> int:
    return before.count(b"\n") + 1


def _compose(text: str, file: str) -> "Node | None":
    from ruamel.yaml import YAML
    from ruamel.yaml.composer import Composer, MaxDepthExceededError
    from ruamel.yaml.error import MarkedYAMLError, YAMLError
    from ruamel.yaml.reader import ReaderError

    class BoundedComposer(Composer):
        """Stops early: a megabyte of `[1,1,1,...` take seconds."""

        nodes = 0

        def compose_node(self, parent: object, index: object) -> object:
            self.nodes += 1
            if self.nodes > VALUES_MAX:
                raise _too_many(_place(self.parser.peek_event().start_mark, file))
            return super().compose_node(parent, index)

    yaml = YAML(typ="safe", pure=True)
    yaml.max_depth = DEPTH_MAX
    yaml.Composer = BoundedComposer
    yaml.Scanner = tab_reader()
    yaml.composer.warn_double_anchors = False
    try:
        root: Node | None = yaml.compose(text)
    except MaxDepthExceededError as error:
        raise _too_deep(_place(error.problem_mark, file)) from None
    except ReaderError as error:
        before = text[: error.position]
        place = Place(file, before.count("\n") + 1, len(before) - before.rfind("\n"))
        character = f"the character U+{ord(text[error.position]):04X} is not taken"
        raise _unreadable(place, character, "remove it") from None
    except MarkedYAMLError as error:
        raise _broken_yaml(error, file, text) from None
    except (YAMLError, ValueError, OverflowError) as error:  # also of "\\U00110000", which is no character
        raise _unreadable(Place(file, 1, 1), f"is not YAML: {error}") from None
    return root


def _too_deep(place: Place) -> UnreadableError:
    return _unreadable(place, f"is nested deeper than {DEPTH_MAX} levels")


def _too_many(place: Place) -> UnreadableError:
    return _unreadable(place, f"has more than {VALUES_MAX:,} values, aliases expanded")


def _broken_yaml(error: "MarkedYAMLError", file: str, text: str) -> UnreadableError:
    place = _place(error.problem_mark or error.context_mark, file)
    problem = error.problem or error.context or "is not YAML"
    if "'\\t'" in problem:
        return _unreadable(place, "a tab can't indent", "indent with spaces")
    if error.context == "expected a single document in the stream":
        return _unreadable(
            place, "a second document begins here", "one spec a file: remove the --- before it"
        )
    if "undefined alias" in problem:
        return _unreadable(place, problem, "name it with & before it is used")
    begun = error.context_mark
    lines = text.splitlines()
    for line in range(place.line, max(0, place.line - 2), -1):
        if line <= len(lines) and (odd := odd_characters(lines[line - 1])):
            return _unreadable(Place(file, line, 1), f"is not YAML: {problem}", f"the line holds {odd}")
    if begun is not None and begun.line + 1 < place.line - 1:  # a quote or bracket that is never closed
        fix = f"look at what begins on line {begun.line + 1}, column {begun.column + 1}"
        return _unreadable(place, f"is not YAML: {problem}", fix)
    return _unreadable(place, f"is not YAML: {problem}", "look at this line and the one before it")


def _unreadable(place: Place, message: str, fix: str = "") -> UnreadableError:
    return UnreadableError([Flaw(place, (), message, fix)])


def _place(mark: "StringMark | None", file: str) -> Place:
    return Place(file, mark.line + 1, mark.column + 1) if mark is not None else Place(file, 1, 1)


@dataclass(slots=True)
class _Reader:
    """Turns nodes into Written, collecting all that is wrong."""

    file: str
    flaws: list[Flaw] = field(default_factory=list)
    values: int = 0

    def read(self, node: "Node", path: Path, depth: int) -> Written:
        from ruamel.yaml.nodes import MappingNode, ScalarNode, SequenceNode

        place = _place(node.start_mark, self.file)
        self._count(node)
        if depth > DEPTH_MAX:
            raise _too_deep(place)
        if isinstance(node, MappingNode):
            self._check_tag(node, "map", place, path)
            return Written(place, dict(self._pairs(node, path, depth)))
        if isinstance(node, SequenceNode):
            self._check_tag(node, "seq", place, path)
            items = enumerate(node.value)
            return Written(place, [self.read(each, (*path, index), depth + 1) for index, each in items])
        assert isinstance(node, ScalarNode)
        return Written(place, self._scalar(node, place, path))

    def _count(self, node: "Node") -> None:
        """Each look at a value, at a name that is refused, and at a mapping that is merged in: an alias costs
        a few characters, and may stand for all of them again."""
        self.values += 1
        if self.values > VALUES_MAX:
            raise _too_many(_place(node.start_mark, self.file))

    def _pairs(self, node: "MappingNode", path: Path, depth: int) -> Iterator[tuple[str, Written]]:
        """Its own options, then those that it merges in (<<), the first of each name."""
        first: dict[str, int] = {}
        merged: list[MappingNode] = []
        for key, value in node.value:
            self._count(key)
            place = _place(key.start_mark, self.file)
            name = key.value
            if key.tag == f"{TAGS}merge":
                merged += self._merged(value, path)
            elif not path and isinstance(name, str) and name.startswith(OWN_PREFIX):
                continue  # on purpose: a place for anchors
            elif key.tag != f"{TAGS}str" or not isinstance(name, str):
                self._complain(place, path, "the name of an option must be text", "put it in quotes")
            elif name in first:
                fix = f"it was on line {first[name]}; remove one of them"
                self._complain(place, (*path, name), "is there twice", fix)
            else:
                first[name] = place.line
                written = self.read(value, (*path, name), depth + 1)
                yield name, written if written.value is not None else Written(place, None)
        for each in merged:
            if depth >= DEPTH_MAX:
                raise _too_deep(_place(each.start_mark, self.file))
            for name, found in self._pairs(each, path, depth + 1):
                if name not in first:
                    first[name] = found.place.line
                    yield name, found

    def _merged(self, value: "Node", path: Path) -> "list[MappingNode]":
        """The mappings behind `<<: *one` or `<<: [*one, *other]`."""
        from ruamel.yaml.nodes import MappingNode, SequenceNode

        listed = value.value if isinstance(value, SequenceNode) else [value]
        for each in listed:
            self._count(each)
            if not isinstance(each, MappingNode):
                place = _place(each.start_mark, self.file)
                self._complain(place, path, "<< takes a mapping, or a list of them", "write <<: *NAME")
        return [each for each in listed if isinstance(each, MappingNode)]

    def _scalar(self, node: "ScalarNode", place: Place, path: Path) -> Scalar | Unquoted:
        text = str(node.value)
        match str(node.tag).removeprefix(TAGS):
            case "str":
                return text
            case "bool":
                return text.lower() == "true"
            case "null":
                return None
            case "int":
                return self._integer(text, place, path)
            case "float" | "timestamp" | "merge" | "value":
                return Unquoted(text)
        self._refuse_tag(node, place, path)
        return None

    def _integer(self, text: str, place: Place, path: Path) -> int | None:
        digits = text.lower()
        if re.fullmatch(r"[-+]?0[0-9_]+", digits) or "_" in digits:
            fix = "write decimal digits alone, such as 8000"
            self._complain(
                place, path, f"{text[:NUMBER_LENGTH_MAX]} means another number to other readers", fix
            )
            return None
        base = {"0x": 16, "0o": 8, "0b": 2}.get(digits.lstrip("+-")[:2], 10)
        with contextlib.suppress(ValueError):
            if len(digits) <= NUMBER_LENGTH_MAX:
                return int(digits, base)
        self._complain(place, path, f"{text[:NUMBER_LENGTH_MAX]} is no whole number that repave reads")
        return None

    def _check_tag(self, node: "MappingNode | SequenceNode", kind: str, place: Place, path: Path) -> None:
        if node.tag != f"{TAGS}{kind}":
            self._refuse_tag(node, place, path)

    def _refuse_tag(self, node: "Node", place: Place, path: Path) -> None:
        tag = str(node.tag).replace(TAGS, "!!")
        self._complain(place, path, f"the tag {tag[:80]!a} is not taken", "write a plain value")

    def _complain(self, place: Place, path: Path, message: str, fix: str = "") -> None:
        self.flaws.append(Flaw(place, path, message, fix))
