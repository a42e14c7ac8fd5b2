"""Generates the protobuf modules of protos/repave_protos at build time; they are never committed."""

import shutil
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


def _program(name: str) -> str:
    """Of this environment, or of the one that pip makes for a build: it puts programs on PATH only."""
    found = shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)
    if found is None:
        raise RuntimeError(f"{name} is not installed; build with pip or uv, which install it")
    return found


class ProtobufBuildHook(BuildHookInterface[Any]):
    """Runs grpcio-tools with mypy-protobuf over every .proto of the package."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        from grpc_tools import protoc

        source = Path(self.root) / "protos"
        plugin, plugin_grpc = _program("protoc-gen-mypy"), _program("protoc-gen-mypy_grpc")
        for proto in sorted(source.rglob("*.proto")):
            arguments = [
                "protoc",
                f"-I{source}",
                f"--python_out={source}",
                f"--grpc_python_out={source}",
                f"--plugin=protoc-gen-mypy={plugin}",
                f"--mypy_out=quiet:{source}",
                f"--plugin=protoc-gen-mypy_grpc={plugin_grpc}",
                f"--mypy_grpc_out=quiet:{source}",
                str(proto),
            ]
            if protoc.main(arguments) != 0:
                raise RuntimeError(f"protoc failed on {proto}")
