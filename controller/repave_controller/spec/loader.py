"""Turns the text of a repave.yaml into a Spec, or into errors with file, line, column, field and fix.

The CLI uses it for files and the API for the same text in a request. Reading a megabyte of YAML may take a
second of CPU: a server does it in a thread.
"""

import difflib
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from repave_controller.spec import yaml_tree
from repave_controller.spec.outline import SPEC_NAME, nearest_spec
from repave_controller.spec.quantities import Unquoted
from repave_controller.spec.spec import Spec
from repave_controller.spec.unsupported import LATER, later_option, options
from repave_controller.spec.yaml_text import odd_characters
from repave_controller.spec.yaml_tree import Flaw, Place, UnreadableError, Written, merge, read

SPEC_BYTES_MAX = yaml_tree.BYTES_MAX
PROBLEMS_MAX = 50
_ADDED: Mapping[yaml_tree.Path, str] = {
    (
        "traffic",
    ): "add it: {port: 8000} says where clients connect; traffic: none makes it a worker, without requests",
}
"""What may be added, where that has to be chosen."""

Source = tuple[str, str | bytes]
"""Name of a file for errors, and what it holds."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with a spec. `field` is a path: regions.0.size. Line 0: the whole file."""

    file: str
    line: int
    column: int
    field: str
    message: str
    fix: str = ""

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        field = f"{self.field}: " if self.field else ""
        return f"{place}: {field}{self.message}" + (f"; {self.fix}" if self.fix else "")


class SpecError(Exception):
    """The spec is wrong and nothing was done. `problems` are in the order of the file."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))


def load(content: str | bytes, filename: str, overrides: Sequence[Source] = ()) -> tuple[Spec, str]:
    """The Spec, and the text to keep with the release: the exact one of a single file, or the merged YAML.

    `overrides` are further files on top: mappings are merged, lists replaced. Raises SpecError.
    """
    sources = [(filename, content), *overrides]
    written = _read_all(sources)
    root = written[0]
    for each in written[1:]:
        root = merge(root, each)
    try:
        spec = Spec.model_validate(root.plain())
    except ValidationError as error:
        raise SpecError(_with_odd_characters(_problems(error, root), sources)) from None
    return spec, _text(content) if len(sources) == 1 else _dump(root)


def load_files(paths: Sequence[Path]) -> tuple[Spec, str]:
    """The same for files; the later ones on top of the first. Raises SpecError."""
    sources = [(str(path), _read_file(path)) for path in paths]
    (name, content), *overrides = sources
    return load(content, name, overrides)


def find_spec(start: Path) -> Path:
    """The repave.yaml in `start` or the nearest folder above it, up to the git root. Raises SpecError."""
    found = nearest_spec(start)
    if found is not None:
        return found
    fix = "repave init writes one, -f names another"
    raise SpecError([Problem(SPEC_NAME, 0, 0, "", f"is neither in {start} nor above it", fix)])


def _read_all(sources: Sequence[Source]) -> list[Written]:
    written, problems = [], []
    for name, content in sources:
        try:
            root = read(content, name)
        except UnreadableError as error:
            problems += [_problem(flaw) for flaw in error.flaws[:PROBLEMS_MAX]]
            continue
        if not isinstance(root.value, dict):
            fix = "begin with repave: 1 and app: NAME"
            problems.append(_problem(Flaw(root.place, (), "must be a mapping of options", fix)))
        written.append(root)
    if problems:
        raise SpecError(problems)
    return written


def _with_odd_characters(problems: list[Problem], sources: Sequence[Source]) -> list[Problem]:
    """A no-break space or a curly quote is seen in no editor, and often what is wrong with its line."""
    lines = {name: _text(content).splitlines() for name, content in sources}
    told = []
    for each in problems:
        there = lines.get(each.file, [])
        odd = odd_characters(there[each.line - 1]) if 0 < each.line <= len(there) else ""
        fix = "; ".join(filter(None, (each.fix, f"the line holds {odd}" if odd else "")))
        told.append(replace(each, fix=fix))
    return told


def _problem(flaw: Flaw) -> Problem:
    place = flaw.place
    field = ".".join(map(str, flaw.path))
    return Problem(place.file, place.line, place.column, field, flaw.message, flaw.fix)


def _read_file(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(SPEC_BYTES_MAX + 1)
    except OSError as error:
        raise SpecError([Problem(str(path), 0, 0, "", f"can't be read: {error.strerror}")]) from error


def _text(content: str | bytes) -> str:
    return content if isinstance(content, str) else content.decode()


def _dump(root: Written) -> str:
    from ruamel.yaml import YAML

    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]  # declared as None there
    yaml.representer.add_representer(Unquoted, lambda made, written: made.represent_str(written.text))
    sink = io.StringIO()
    yaml.dump(root.plain(), sink)
    return sink.getvalue()


# -------------------------------------------------------------------------------------- validation errors


def _problems(error: ValidationError, root: Written) -> list[Problem]:
    details = error.errors(include_url=False)
    deepest = [each["loc"] for each in details]
    found = [
        _explain(each, root)
        for each in details
        if not (each["type"] == "too_short" and _has_deeper(each["loc"], deepest))
    ]
    found.sort(key=lambda each: (each.line, each.column, each.field))
    return found[:PROBLEMS_MAX]


def _has_deeper(path: yaml_tree.Path, others: Iterable[yaml_tree.Path]) -> bool:
    """A list whose entries are wrong also counts as too short, for pydantic."""
    return any(len(other) > len(path) and other[: len(path)] == path for other in others)


def _explain(error: ErrorDetails, root: Written) -> Problem:
    path = error["loc"]
    context: Mapping[str, object] = error.get("ctx", {})
    if error["type"] == "contradiction":
        path = _last_written(path, context["fields"], root)
    message, fix = _words(error, path, context, root.find(path))
    place = _nearest(path, root)
    return Problem(place.file, place.line, place.column, ".".join(map(str, path)), message, fix)


def _last_written(section: yaml_tree.Path, fields: object, root: Written) -> yaml_tree.Path:
    """Of the fields that contradict each other the one that comes last in the file; defaults come first."""
    assert isinstance(fields, tuple)
    paths = [(*section, *field) for field in fields]

    def order(path: yaml_tree.Path) -> tuple[bool, int, int]:
        found = root.find(path)
        return (True, found.place.line, found.place.column) if found else (False, 0, 0)

    return max(paths, key=order)


def _nearest(path: yaml_tree.Path, root: Written) -> Place:
    """Where `path` was written, or the section that lacks it."""
    for length in range(len(path), 0, -1):
        found = root.find(path[:length])
        if found is not None:
            return found.place
    return root.place


def _words(
    error: ErrorDetails, path: yaml_tree.Path, context: Mapping[str, object], found: Written | None
) -> tuple[str, str]:
    """(what is wrong, what to do), in words for a reader who knows only the file."""
    match error["type"]:
        case "wrong" | "contradiction":
            return str(context["text"]), ""
        case "string_type" | "int_type" if _is_none(found):
            return "has no value", "add one, or leave the option out"
        case "extra_forbidden":
            return _unknown(path)
        case "missing":
            return "is missing", _ADDED.get(path, "add it")
        case "string_type":
            return "must be text", "put it in quotes"
        case "int_type":
            return "must be a whole number", "write it without quotes and units"
        case "model_type" | "model_attributes_type" | "dict_type":
            known = options(path)
            instead = f"there are: {', '.join(known)}" if known else ""
            return "must be a mapping of options", "write {} for the defaults" if _is_none(found) else instead
        case "tuple_type" | "list_type":
            return "must be a list", "write [a, b], or one - entry a line"
        case "greater_than_equal":
            return f"must be at least {context['ge']}", ""
        case "less_than_equal":
            return f"must be at most {context['le']}", ""
        case "string_too_long" | "too_long":
            return f"is too long: at most {context['max_length']}", ""
        case "string_too_short" | "too_short":
            return "must not be empty", ""
        case "literal_error":
            return f"must be {context['expected']}", ""
        case "string_pattern_mismatch":
            return _pattern_words(path), ""
    return error["msg"], ""


def _is_none(found: Written | None) -> bool:
    return found is not None and found.value is None


def _pattern_words(path: yaml_tree.Path) -> str:
    words = {
        "sha256": "must be required, or 64 lower-case hexadecimal digits",
    }
    return words[str(path[-1])]


def _unknown(path: yaml_tree.Path) -> tuple[str, str]:
    instead = later_option(path)
    if instead:
        return f"this version of repave {instead}", "leave it out"
    *section, name = path
    known = options(section)
    prefix = [part for part in section if isinstance(part, str)]
    later = [each.rpartition(".")[2] for each in LATER if each.split(".")[:-1] == prefix]
    near = difflib.get_close_matches(str(name), [*known, *later], n=1)
    return "unknown option", f"did you mean {near[0]}?" if near else f"there are: {', '.join(known)}"
