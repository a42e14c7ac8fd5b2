"""The package of an application that is an OCI image: a program that runs the image on its host, by podman.

So a release of an image is a release like any other: hosts prove the digest of the package, the package has
that of the image, and podman takes no image of another.
"""

import tempfile
from collections.abc import AsyncIterator
from importlib.resources import files
from pathlib import Path

from repave_controller.spec.places import CONTAINER
from repave_protos.package.archive import pack

PROGRAM = "container.sh"


def package_of(image: str) -> bytes:
    """A `.tar.gz`, the same for the same image. Blocks shortly; raises OSError."""
    with tempfile.TemporaryDirectory(prefix="repave-") as place:
        folder = Path(place) / "app"
        folder.mkdir()
        program = folder / CONTAINER.removeprefix("./")
        program.write_bytes(files(__package__).joinpath(PROGRAM).read_bytes())
        program.chmod(0o755)
        (folder / "image").write_text(f"{image}\n")
        tarball = Path(place) / "package.tar.gz"
        pack(folder, tarball)
        return tarball.read_bytes()


async def in_one(whole: bytes) -> AsyncIterator[bytes]:
    yield whole
