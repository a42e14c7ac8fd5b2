"""What does a YAML file of the operator say? Read within bounds, and nothing in it is ever run.

Aliases cost a few characters and can stand for millions of values: they are counted expanded, before anything
is made of them.
"""

from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.nodes import CollectionNode, Node

from repave_agent.core.ports import RefusedError
from repave_protos.daemon.files import read_file

BYTES_MAX = 4 << 20
DEPTH_MAX = 20
VALUES_MAX = 200_000
TAGS = "tag:yaml.org,2002:"
KINDS = ("map", "seq", "str", "int", "float", "bool", "null", "timestamp", "merge")


def read_yaml(path: Path) -> Any:
    """Plain values. Raises RefusedError, which names the file; OSError."""
    content = read_file(path)
    if len(content) > BYTES_MAX:
        raise RefusedError(f"{path} has {len(content):,} bytes, at most {BYTES_MAX:,} are read")
    return parse_yaml(content, path)


def parse_yaml(content: bytes, path: Path, more_kinds: tuple[str, ...] = ()) -> Any:
    """Of what was read from the file. `more_kinds` of values are taken. Raises RefusedError."""
    kinds = (*KINDS, *more_kinds)
    yaml = YAML(typ="safe", pure=True)
    yaml.max_depth = DEPTH_MAX
    yaml.composer.warn_double_anchors = False
    try:
        root = yaml.compose(content.decode())
        if root is not None:
            _check(root, 0, path, kinds)
        return None if root is None else yaml.constructor.construct_document(root)
    except (YAMLError, ValueError, OverflowError, RecursionError) as error:  # also of dates that are none
        raise RefusedError(f"{path} is no YAML: {error}") from error


def _check(node: Node, counted: int, path: Path, kinds: tuple[str, ...]) -> int:
    """How many values there are, aliases expanded. Raises RefusedError: too many, or one with a tag."""
    if counted >= VALUES_MAX:
        raise RefusedError(f"{path} has more than {VALUES_MAX:,} values, aliases expanded")
    kind = str(node.tag).removeprefix(TAGS)
    if kind not in kinds:
        raise RefusedError(f"{path}: line {node.start_mark.line + 1}: the tag {kind[:80]!a} is not taken")
    counted += 1
    for each in node.value if isinstance(node, CollectionNode) else ():
        for part in each if isinstance(each, tuple) else (each,):
            counted = _check(part, counted, path, kinds)
    return counted
