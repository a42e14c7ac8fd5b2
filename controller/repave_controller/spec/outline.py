"""What the command line has to know of a spec before it can ask for a release: of what, where, which package.

The controller tells it, for reading YAML takes more imports than all else that such a command does. Imports
nothing that is slow: the command line keeps the value, too.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from repave_controller.spec.spec import Spec

SPEC_NAME = "repave.yaml"


class Outline(NamedTuple):
    """`text`: to keep with the release. `uri` is as written; `package` and `signature` are the same with
    version and application put in, and "" where the spec says nothing. `sha256` may be `required`. `scaled`:
    regions whose number of hosts is chosen within bounds; `sizes` has the least of them."""

    application: str
    sizes: dict[str, int]
    program: str
    uri: str
    package: str
    signature: str
    sha256: str
    text: str
    scaled: Sequence[str] = ()


def outline(spec: "Spec", text: str, version: str) -> Outline:
    """Without a version "0" stands for it in names. Raises OrderError."""
    from repave_controller.spec.spec import artifact_path, signature_path

    return Outline(
        application=spec.application,
        sizes={region.name: region.hosts for region in spec.regions},
        program=spec.command[0],
        uri=spec.artifact.address,
        package=artifact_path(spec, version or "0"),
        signature=signature_path(spec, version or "0"),
        sha256=spec.artifact.sha256 or "",
        text=text,
        scaled=[region.name for region in spec.regions if region.size.is_range],
    )


def nearest_spec(start: Path) -> Path | None:
    """The repave.yaml in `start` or the nearest folder above it, up to the git root."""
    for folder in (start, *start.parents):
        if (folder / SPEC_NAME).is_file():
            return folder / SPEC_NAME
        if (folder / ".git").exists():
            break
    return None
