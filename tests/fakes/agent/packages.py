"""Packages without a controller: every digest that is not said to be missing is an empty file."""

from pathlib import Path

from repave_agent.core.ports import PackageError
from repave_protos.protocol.values import Digest


class FakePackages:
    """Implements ports.Packages below `directory`. `missing` maps digests to the error that they give."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.missing: dict[Digest, str] = {}
        self.fetched: list[Digest] = []

    async def fetch(self, digest: Digest) -> Path:
        self.fetched.append(digest)
        if digest in self.missing:
            raise PackageError(self.missing[digest])
        path = self.directory / f"{digest}.tar.gz"
        path.touch()
        return path
